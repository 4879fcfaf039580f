"""Limits on files that may come from elsewhere: nothing that points out of the file, nothing that would fill the memory."""

from collections.abc import Iterable

import h5py

from engram.runtime.machine import installed_memory

GIB = 2**30


def require_plain_arrays(file: h5py.File, names: Iterable[str] | None = None) -> None:
    """Raise ValueError unless `names` (default: all there is) are arrays held by this very file that fit into the memory.

    HDF5 can stand in for an array with a link, or with parts of other files: then whoever wrote the file would choose which
    of the reader's files are read.
    """
    for name in file if names is None else names:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link, not an array")
        array = file[name]
        if not isinstance(array, h5py.Dataset):
            raise ValueError(f"{name} is no array")
        if array.is_virtual or array.external:
            raise ValueError(f"{name} lies in another file")
        require_room(name, array.nbytes)


def require_room(name: str, size: int) -> None:
    """Raise ValueError if `size` bytes are more than half of this machine's memory."""
    memory = installed_memory()
    if size > memory / 2:
        raise ValueError(f"{name} claims {size / GIB:.0f} GiB; this machine has {memory / GIB:.0f} GiB of memory")
