"""The house of engram: its rooms stand on floors, and imports run downwards only."""

import ast
from pathlib import Path

import pytest

import engram

PACKAGE = Path(engram.__file__).parent

# From the top. A room imports from rooms on lower floors, and from itself.
FLOORS = [
    ["cli"],
    ["results"],
    ["report"],
    ["audit"],
    ["figures"],
    ["neighbors"],  # the public name of one analysis
    ["analyses", "paper"],
    ["prevention"],
    ["geometry"],
    ["scores"],
    ["checks"],
    ["likelihood"],
    ["training"],
    ["config"],
    ["config_experiment"],
    ["config_given"],
    ["config_audited"],
    ["config_file"],
    ["designs", "models"],
    ["datasets", "catalogue"],
    ["files"],
    ["runtime"],
    ["tensors"],
    ["arrays"],
    ["randomness", "lazy", "conventions", "errors"],
]
FLOOR = {room: -height for height, floor in enumerate(FLOORS) for room in floor}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    """Full names of the engram modules that a file imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.module == "engram":
                names |= {f"engram.{alias.name}" for alias in node.names}
            elif node.module:
                names.add(node.module)
    return {name for name in names if name.startswith("engram.") and room_of(name) in FLOOR}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_imports_run_downwards(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in FLOOR, f"{room} stands on no floor of this list"
    upwards = [name for name in imported(path) if room_of(name) != room and FLOOR[room_of(name)] >= FLOOR[room]]
    assert not upwards, f"{path.relative_to(PACKAGE)} stands on floor {FLOOR[room]} and imports {upwards}"


def test_every_room_says_what_it_is_for():
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
