"""What is finished of an audit, block after block, so that one that was ended goes on where it was."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engram.errors import UserError, first_line
from engram.files import atomic
from engram.runtime.jobs import Progress

Compute = Callable[[slice], Mapping[str, np.ndarray]]


def require_same(folder: Path, made_by: Mapping[str, Any], replaces: bool = False) -> None:
    """Note in a folder of blocks by what they are made. Blocks made by something else are deleted if this audit `replaces` them.

    Otherwise raises UserError, naming what differs.
    """
    path = folder / "made_by.json"
    wanted = json.loads(json.dumps(dict(made_by)))
    there = _made_by(path)
    differs = [key for key, value in wanted.items() if there is not None and there.get(key) != value]
    if differs and not replaces:
        key = differs[0]
        raise UserError(
            f"{folder}: holds blocks of another audit, whose {key} is {there.get(key)!r} and not {wanted[key]!r}; "
            "write to another folder, or delete this one"
        )
    for block in folder.glob("*.npz") if differs else ():
        block.unlink()
    if differs or there is None:
        atomic.write(path, json.dumps(wanted, indent=1).encode())


def _made_by(path: Path) -> dict[str, Any] | None:
    """None where nothing is noted; what cannot be read is like nothing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def computed(folder: Path, name: str, number: int, size: int, compute: Compute, unit: str) -> dict[str, np.ndarray]:
    """Arrays of all `number` things, from `compute` of `size` at a time: read where a block is kept, else computed and kept."""
    parts = []
    with Progress(number, name, unit) as progress:
        for start in range(0, number, size):
            here = slice(start, min(start + size, number))
            path = folder / f"{name}-{start:07}.npz"
            if not path.exists():
                atomic.write(path, _packed(compute(here)))
            parts.append(_read(path))
            progress.update(here.stop - here.start)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # a damaged archive can fail anywhere in two libraries
        raise UserError(f"{path}: is damaged ({first_line(error)}); delete it, and it is computed again") from error
