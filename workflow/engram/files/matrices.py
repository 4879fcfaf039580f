"""Matrices from files that a user names, on the command line or in config.yaml: .npy, .npz, .csv, and HDF5."""

import csv
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engram.errors import UserError, first_line
from engram.files.untrusted import require_plain_arrays, require_room

if TYPE_CHECKING:
    import pandas as pd


def read(source: str) -> "np.ndarray | pd.DataFrame":
    """The array of a file, "log_px.npy", or one of several by its name, "likelihood.h5:log_px".

    A .csv is a table of numbers without a name for each row, or one as pandas writes it: a first line of labels, and, where
    that line begins with an empty field, a first column of labels. Raises UserError, naming the file, if it cannot be read.
    """
    path, name = _path_and_name(source)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: is no {', '.join(READERS)} file")
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file")
    try:
        require_room("it", path.stat().st_size)
        return reader(path, name)
    except UserError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in numpy, zlib, h5py and pandas
        raise UserError(f"{path}: cannot be read as {path.suffix} ({first_line(error)})") from error


def read_vector(source: str) -> "np.ndarray | pd.Series":
    """As `read`, of a file with one number or name a row, or in one row."""
    return read(source).squeeze()


def path_of(source: str) -> Path:
    """The file of "log_px.npy" or "likelihood.h5:log_px"."""
    return _path_and_name(source)[0]


def _path_and_name(source: str) -> tuple[Path, str | None]:
    """A colon belongs to the path where a file is called so."""
    stem, colon, name = source.rpartition(":")
    return (Path(stem), name) if colon and not os.path.exists(source) else (Path(source), None)


def _npy(path: Path, name: str | None) -> np.ndarray:
    _require_no_name(path, name)
    return np.load(path, allow_pickle=False)


def _npz(path: Path, name: str | None) -> np.ndarray:
    with zipfile.ZipFile(path) as file:
        require_room("it", sum(member.file_size for member in file.infolist()))
    with np.load(path, allow_pickle=False) as file:
        return file[_choose(path, name, list(file))]


def _hdf5(path: Path, name: str | None) -> np.ndarray:
    import h5py

    with h5py.File(path) as file:
        name = _choose(path, name, list(file))
        require_plain_arrays(file, [name])
        return np.asarray(file[name])


def _csv(path: Path, name: str | None) -> "pd.DataFrame":
    import pandas as pd

    _require_no_name(path, name)
    with path.open(newline="") as file:
        first = next(csv.reader(file), [])
    labelled_rows = bool(first) and not first[0].strip()
    header = 0 if labelled_rows or not all(map(_is_number, first)) else None
    return pd.read_csv(path, header=header, index_col=0 if labelled_rows else None)


def _choose(path: Path, name: str | None, names: list[str]) -> str:
    if name in names or (name is None and len(names) == 1):
        return name or names[0]
    wanted = "which array" if name is None else f"no array {name!r}"
    raise UserError(f"{path}: {wanted}; write {path}:NAME with one of {', '.join(names) or 'none: it is empty'}")


def _require_no_name(path: Path, name: str | None) -> None:
    if name is not None:
        raise UserError(f"{path}: holds a single array; leave out ':{name}'")


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable] = {".npy": _npy, ".npz": _npz, ".csv": _csv, ".h5": _hdf5, ".hdf5": _hdf5}
