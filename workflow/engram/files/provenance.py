"""Where a number came from: the code that made it, and the attributes written into every artifact."""

import ast
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import engram

PACKAGE = Path(engram.__file__).parent


def importable_by_scripts() -> None:
    """Let the processes started from here import this very package, also inside a conda environment that lacks it."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])


def source_digest(script: str | Path) -> str:
    """Hash of a script and of every engram module it imports, directly or not.

    Comments, docstrings and layout do not count, so explaining code better does not retrain a hundred models. Snakemake
    reruns a stage when this value changes; a touched or freshly cloned file has the same value.
    """
    digest = hashlib.sha256()
    for path in sorted(_reachable(Path(script))):
        digest.update(_essence(path).encode())
    return digest.hexdigest()[:16]


def _reachable(script: Path) -> set[Path]:
    found, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return found


def _imported(path: Path) -> list[Path]:
    """Files of the engram modules imported anywhere in `path`."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return [file for name in names if name.startswith("engram.") for file in _files(name)]


def _files(module: str) -> list[Path]:
    stem = PACKAGE.joinpath(*module.split(".")[1:])
    return [file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.exists()]


def _essence(path: Path) -> str:
    """The source without comments, docstrings and layout."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def attributes(experiment: str, seed: int, values: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Attributes that every artifact carries beside its format version and kind.

    `values` are the settings that made the artifact (stored as JSON); `more` adds dataset_sha256, wall_seconds and the like,
    and the device where it is not the CPU. A stage that uses no torch is not made to import it.
    """
    torch = sys.modules.get("torch")
    return {
        "experiment": experiment,
        "seed": seed,
        "values": json.dumps(values, sort_keys=True),
        "engram_version": engram.__version__,
        "git_commit": _git_commit(),
        "torch_version": importlib.metadata.version("torch"),
        "cuda_version": (torch.version.cuda or "none") if torch else "not used",
        "threads": torch.get_num_threads() if torch else 1,
        "device": "cpu",
        **more,
    }


def _git_commit() -> str:
    """The commit the code came from, with "-dirty" when the tree differs from it; "unknown" outside git."""
    command = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
