"""The content hash of the code behind a rule: it changes where what is computed may change, and nowhere else.

What counts is the script, and every module of engram or of the user that it imports, directly or not. Comments, docstrings,
layout and what is only said (`raise` and log calls, and what serves them alone) do not count, nor do modules that declare or
say things. It is the same on every Python from 3.11 on.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

import engram

PACKAGE = Path(engram.__file__).parent
# What these say changes no artifact. A rule's hash takes the modules that the registries name, where a config uses them.
DECLARE_OR_SAY = {
    "engram.catalogue",
    "engram.errors",
    "engram.datasets.known",
    "engram.lazy",
    "engram.models.known",
    "engram.runtime.jobs",
}
SPEAKERS = {"log", "logger", "logging", "warnings"}


class Module(NamedTuple):
    """A module's name and file."""

    name: str
    path: Path


def source_digest(script: str | Path, *named: str) -> str:
    """Hash of a script, of what a config names ("my_models" or "my_models:Tiny"), and of all engram or local code they import.

    Snakemake reruns a stage when this value changes; a touched or freshly cloned file has the same value. A module that
    cannot be found counts by its name alone: the job will say that it is missing.
    """
    waiting = [Module("", Path(script)), *filter(None, (find(name.partition(":")[0]) for name in named))]
    essences: dict[Path, str] = {}
    while waiting:
        module = waiting.pop()
        if module.path not in essences:
            essences[module.path] = _essence_of(module.path, *_version(module.path))
            waiting += _imports(module)
    return hashlib.sha256(json.dumps([*named, *sorted(essences.values())]).encode()).hexdigest()[:16]


def find(name: str) -> Module | None:
    """The module called `name` as Python would import it from here, without running anything of it; None if there is none.

    Only a source file counts: what is compiled or built in belongs to the environment.
    """
    if name == "engram" or name.startswith("engram."):
        stem = PACKAGE.joinpath(*name.split(".")[1:])
        candidates = [stem.with_suffix(".py"), stem / "__init__.py"]
        return next((Module(name, path) for path in candidates if path.exists()), None)
    folders = None
    for length in range(1, name.count(".") + 2):
        spec = PathFinder.find_spec(".".join(name.split(".")[:length]), folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    is_source = spec.has_location and str(spec.origin).endswith(".py")
    return Module(name, Path(spec.origin)) if is_source else None


def _imports(module: Module) -> Iterator[Module]:
    """The modules of engram and, of a user's module, those of its folder or package, imported anywhere in `module`."""
    is_engrams = not module.name or module.name.split(".")[0] == "engram"
    for name in _imported_names(module, *_version(module.path)):
        if name.startswith("engram."):
            imported = None if name in DECLARE_OR_SAY else find(name)
        else:
            imported = None if is_engrams else find(name)
            if imported and not _is_local(imported, module):
                imported = None
        if imported:
            yield imported


@cache
def _imported_names(module: Module, *_version: int) -> list[str]:
    """What is imported, by full name: of `from a import b` both a and a.b; of a user's a.b.c also the packages a and a.b."""
    is_package = module.path.name == "__init__.py"
    package = module.name.split(".") if is_package else module.name.split(".")[:-1]
    names = []
    for node in ast.walk(_WithoutTypes().visit(ast.parse(module.path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            within = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*within, *filter(None, [node.module])])
            names += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    for name in [module.name, *names]:
        if name.split(".")[0] != "engram":  # engram's own packages only pass names on
            parts = name.split(".")
            names += [".".join(parts[:length]) for length in range(1, len(parts))]
    return [*dict.fromkeys(filter(None, names))]


def _is_local(imported: Module, module: Module) -> bool:
    """Whether a module lies in the folder of the user's `module`, or in the same package."""
    if "site-packages" in imported.path.parts or "dist-packages" in imported.path.parts:
        return imported.name.split(".")[0] == module.name.split(".")[0]
    return _root(module) in imported.path.parents


def _root(module: Module) -> Path:
    """The folder from which a module is imported."""
    return module.path.parents[module.name.count(".") + (module.path.name == "__init__.py")]


def _version(path: Path) -> tuple[int, int]:
    """Time stamp and size, by which a process that hashes many rules knows a file it has read."""
    return path.stat().st_mtime_ns, path.stat().st_size


@cache
def _essence_of(path: Path, *_version: int) -> str:
    return essence(path.read_text(encoding="utf-8"))


def essence(source: str) -> str:
    """What a source computes, as text: without comments, docstrings, layout and what is only said."""
    tree = _Silence().visit(ast.parse(source))
    while _sweep(tree):
        pass
    return json.dumps(_plain(tree))


class _WithoutTypes(ast.NodeTransformer):
    """Takes out what only type checkers read, which is never run."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        is_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if is_for_types and not node.orelse else self.generic_visit(node)


class _Silence(_WithoutTypes):
    """Takes docstrings, log calls and the arguments of `raise` out of a tree."""

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        exception = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=exception, cause=None)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant):
            return None  # a docstring, or text in a docstring's place
        function = node.value.func if isinstance(node.value, ast.Call) else None
        speaks = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
        return None if speaks and function.value.id in SPEAKERS else node


def _sweep(tree: ast.AST) -> bool:
    """Take out what nothing left in the module reads: private functions, and texts under a local name. Whether any was."""
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    swept = False
    for node in ast.walk(tree):
        for body in [node.body] if isinstance(getattr(node, "body", None), list) else []:
            at_top = isinstance(node, ast.Module)
            kept = [child for child in body if not _is_unread(child, read, at_top)]
            swept |= len(kept) < len(body)
            body[:] = kept
    return swept


def _is_unread(node: ast.AST, read: set[str], at_top: bool) -> bool:
    if isinstance(node, ast.FunctionDef):
        is_private = node.name.startswith("_") and not node.name.endswith("__")
        return is_private and not node.decorator_list and node.name not in read
    is_text = isinstance(node, ast.Assign) and _is_text(node.value)
    return is_text and not at_top and all(isinstance(t, ast.Name) and t.id not in read for t in node.targets)


def _is_text(node: ast.AST) -> bool:
    """Whether an expression is text whatever its names hold: a literal, an f-string, or a choice or sum of such."""
    match node:
        case ast.JoinedStr() | ast.Constant(value=str()):
            return True
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, op=ast.Add(), right=other):
            return _is_text(one) and _is_text(other)
    return False


def _plain(node: Any) -> Any:
    """A syntax tree as nested lists, the same from every Python: ast.dump and ast.unparse differ between versions."""
    match node:
        case ast.Constant(value=value):
            return ["Constant", type(value).__name__, repr(value)]
        case ast.JoinedStr(values=values):  # from 3.12 on, nested format specifications hold empty texts
            parts = [part for part in values if not (isinstance(part, ast.Constant) and part.value == "")]
            return ["JoinedStr", *map(_plain, parts)]
        case ast.AST():
            fields = sorted((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
            left_out = ("ctx", "type_comment", "type_ignores")
            return [type(node).__name__, *([name, _plain(value)] for name, value in fields if name not in left_out)]
        case list():
            return [*map(_plain, node)]
    return node
