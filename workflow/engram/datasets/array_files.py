""".npz and HDF5 files of plain arrays: what they hold, and the arrays that are asked for. Neither is trusted."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from engram.datasets.paths import absent, expanded, printable
from engram.errors import UserError, first_line
from engram.files.untrusted import require_plain_arrays, require_room

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
NPY_MAGIC = b"\x93NUMPY"
IN_WORDS = {"npz": "an .npz file", "hdf5": "an HDF5 file"}


class ArrayFile:
    """An .npz or HDF5 file that a user named in the config under `datasets.NAME.KIND`.

    Raises UserError, at once or when arrays are read, naming the data set and the file.
    """

    def __init__(self, name: str, kind: str, written: str):
        self.kind, self.path, self.where = kind, expanded(written), f"datasets.{name}.{kind}: {expanded(written)}"
        if os.path.isdir(self.path):
            raise UserError(f"datasets.{name}.{kind}: '{written}' is a folder; write folder: {written}")
        if not os.path.isfile(self.path):  # unlike Path's, it does not raise on a name too long
            raise UserError(f"datasets.{name}.{kind}: file '{written}' does not exist{absent(written)}")
        if other := _other_kind(self.path, kind):
            raise self.fault(f"is not {IN_WORDS[kind]}{other}")
        self.names = self._safely(lambda: _names(self.path, kind))

    def fault(self, text: str) -> UserError:
        """What is wrong with the file, as an error that names it."""
        return UserError(printable(f"{self.where}: {text}"))

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Some of its arrays, as they are stored."""
        names = list(names)
        return self._safely(lambda: (_read_npz if self.kind == "npz" else _read_hdf5)(self.path, names))

    def described(self) -> str:
        """Every array with its shape and type, for messages: "images (60, 32, 32) uint8, ..."."""
        try:
            shapes = _npz_shapes(self.path) if self.kind == "npz" else _hdf5_shapes(self.path, self.names)
        except Exception:  # a header beyond reading is no reason to hide the names
            shapes = dict.fromkeys(self.names, "")
        words = [f"{name} {shapes.get(name, '')}".strip() for name in self.names[:20]]
        return ", ".join(words) + (f" and {len(self.names) - 20} more" if len(self.names) > 20 else "") or "no arrays"

    def _safely(self, read):
        try:
            return read()
        except Exception as error:  # zip, zlib, numpy and HDF5 each raise their own
            detail = first_line(error)
            if "Object arrays" in detail:
                detail += "; save words as np.array(words, dtype=str)"
            words = IN_WORDS[self.kind]
            raise self.fault(f"cannot be read as {words} of plain arrays ({detail})") from error


def _other_kind(path: Path, kind: str) -> str:
    """What the file is instead, and what to write; "" if it is what it should be."""
    with open(path, "rb") as file:
        start = file.read(8)
    if kind == "npz" and start == HDF5_MAGIC:
        return f": it is an HDF5 file; write hdf5: {path}"
    if kind == "hdf5" and zipfile.is_zipfile(path):
        return f": it is a zip file; if it holds arrays, write npz: {path}"
    if start.startswith(NPY_MAGIC):
        return ": it is a single array; save it with np.savez(path, images=array)"
    return (
        ", or is truncated; save arrays with np.savez(path, images=...)"
        if kind == "npz" and not zipfile.is_zipfile(path)
        else ""
    )


def _names(path: Path, kind: str) -> list[str]:
    if kind == "npz":
        with np.load(path, allow_pickle=False) as file:
            return list(file.files)
    import h5py

    with h5py.File(path) as file:
        return _hdf5_names(file)


def _hdf5_names(group, above: str = "") -> list[str]:
    """Arrays of a file and of its groups. What is a link is named, too, so that reading refuses it."""
    import h5py

    below = []
    for name in group:
        hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        if hard and isinstance(group[name], h5py.Group) and above.count("/") < 3:
            below += _hdf5_names(group[name], f"{above}{name}/")
        else:
            below.append(above + name)
    return below


def _read_npz(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as file:
        require_room("it", sum(member.file_size for member in file.infolist()))
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names}


def _read_hdf5(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    import h5py

    with h5py.File(path) as file:
        arrays = {}
        for name in names:
            group, _, last = name.rpartition("/")  # groups on the way are no links: `_hdf5_names` enters none
            place = file[group] if group else file
            require_plain_arrays(place, [last])
            arrays[name] = np.asarray(place[last])
        return arrays


def _npz_shapes(path: Path) -> dict[str, str]:
    shapes = {}
    with zipfile.ZipFile(path) as file:
        for member in file.namelist():
            with file.open(member) as array:
                version = np.lib.format.read_magic(array)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(array)
                shapes[member.removesuffix(".npy")] = f"{shape} {dtype}"
    return shapes


def _hdf5_shapes(path: Path, names: list[str]) -> dict[str, str]:
    import h5py

    with h5py.File(path) as file:
        return {
            name: f"{file[name].shape} {file[name].dtype}" for name in names if isinstance(file.get(name), h5py.Dataset)
        }
