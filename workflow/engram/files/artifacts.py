"""Reading and writing engram's HDF5 artifacts: labelled, checksummed, written whole or not at all.

Every file opens in h5py, `h5ls` and `xarray.open_dataset(path, engine="h5netcdf")`. A variable is a tuple
`variable(dims, values, units, long_name)`; the named axes get a dimension scale of their own.

Behind the HDF5 content, where its readers do not look, a file carries its seal: the SHA-256 of everything before it. So any
flipped bit, in a name or a shape too, and any later edit is an error and never a number.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from engram.errors import UserError, first_line, make_again
from engram.files import atomic
from engram.files.untrusted import require_plain_arrays

FORMAT_VERSION = 1
TRAIN, TEST = 0, 1  # values of the variable `split`
SEAL = b"engram sha256 "
SEAL_LENGTH = len(SEAL) + hashlib.sha256().digest_size

AXES = {
    "model": "index of the trained model; its repeat and fold are variables over this axis",
    "epoch": "number of passes over the training data",
    "draw": "index of the draw of the observation x from the grey image",
    "sample": "index of the image in the data set's own order: training images, then test images",
    "pixel": "index into the flattened image (channel, row, column)",
}

# Variables that stages rely on, and their axes.
LAYOUT = {
    "dataset": {"images": ("sample", "pixel"), "label": ("sample",), "split": ("sample",)},
    "membership": {
        **dict.fromkeys(("in_training", "counted_as_in"), ("model", "sample")),
        **dict.fromkeys(("repeat", "fold"), ("model",)),
        **dict.fromkeys(("split", "label"), ("sample",)),
    },
    "models": {"fold": ("model",), **dict.fromkeys(("loss_train", "loss_held_out"), ("epoch_trained", "model"))},
    "likelihood": {"log_px": ("model", "draw", "sample"), **dict.fromkeys(("repeat", "fold"), ("model",))},
    "scores": {
        **dict.fromkeys(("score", "log_p_in", "log_p_out", "standard_error"), ("epoch", "sample")),
        **dict.fromkeys(("label", "p_value", "q_value"), ("sample",)),
    },
}


def variable(dims: tuple[str, ...], values: Any, units: str, long_name: str, may_be_undefined: bool = False) -> tuple:
    """One variable as xarray takes it: axis names, array, attributes.

    `may_be_undefined` says that NaN or infinity has a meaning in it; elsewhere `read` refuses them.
    """
    attributes = {"units": units, "long_name": long_name}
    return dims, np.asarray(values), attributes | ({"may_be_undefined": 1} if may_be_undefined else {})


def write(path: str | Path, kind: str, variables: Mapping[str, tuple], attributes: Mapping[str, Any]) -> None:
    """Write an artifact: `path` is whole or absent. Raises UserError, naming it, if it cannot be written.

    `kind` is the artifact's stage ("dataset", "membership", ...), which `read` checks. Axes named in AXES that have no
    variable of their own are numbered from 0.
    """
    dataset = xr.Dataset(dict(variables))
    for axis in set(dataset.sizes) & set(AXES):
        values = dataset[axis].values
        dataset = dataset.assign_coords({axis: (axis, values, {"units": "1", "long_name": AXES[axis]})})
    dataset.attrs = {"format_version": FORMAT_VERSION, "kind": kind, "sealed": 1, **attributes}
    content = io.BytesIO()  # h5py itself does not survive a full disk
    dataset.to_netcdf(content, engine="h5netcdf", encoding=_encoding(dataset))
    atomic.write(path, content.getbuffer(), SEAL + hashlib.sha256(content.getbuffer()).digest())


def _encoding(dataset: xr.Dataset) -> dict[str, dict]:
    """A Fletcher-32 checksum on every array, so that a flipped bit is an error and not a number; gzip where it pays."""
    encoding = {}
    for name, values in dataset.variables.items():
        if values.ndim and values.size and values.dtype.kind in "iufb":
            encoding[name] = {"fletcher32": True}
            if values.dtype.kind == "b" or values.dtype == np.uint8:
                encoding[name] |= {"compression": "gzip", "compression_opts": 1}
    return encoding


def read(path: str | Path, kind: str, variables: list[str] | None = None, **selection: Any) -> xr.Dataset:
    """Load an artifact (or some `variables`, at some coordinates, as in `epoch=20`) into memory.

    Raises UserError, naming the file and how to rebuild it, if it is unreadable or was changed since it was written, is of
    another kind or format, refers to other files, or holds non-finite numbers where only finite ones have a meaning.
    """
    if not Path(path).exists():
        raise UserError(_missing(path))
    try:
        _require_plain_and_unharmed(path)
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            _require_kind(dataset.attrs, kind, path)
            dataset = dataset if variables is None else dataset[variables]
            _require_layout(dataset, kind, variables)
            dataset = dataset.sel(selection).load()
        dataset.attrs.pop("sealed", None)  # true of the file only, not of what others write of these values
    except UserError:
        raise
    except Exception as error:  # a damaged HDF5 file can fail anywhere in three libraries
        raise UserError(_damaged(path, error)) from error
    _require_finite(dataset, path)
    return dataset


def attributes(path: str | Path, kind: str) -> dict[str, Any]:
    """What an artifact says of itself, without reading its arrays, and so without comparing them with the seal.

    Raises UserError, naming the file and how to rebuild it, if it is unreadable, or of another kind or format.
    """
    if not Path(path).exists():
        raise UserError(_missing(path))
    try:
        with h5py.File(path) as file:
            # netCDF keeps a number as an array of one.
            stored = {name: value[0] if np.shape(value) == (1,) else value for name, value in file.attrs.items()}
            _require_kind(stored, kind, path)
    except UserError:
        raise
    except Exception as error:  # a damaged HDF5 file can fail anywhere
        raise UserError(_damaged(path, error)) from error
    return stored


def _missing(path: str | Path) -> str:
    return f"{path}: no such file; run `snakemake --cores all {path}` to make it"


def _damaged(path: str | Path, error: Exception) -> str:
    return f"{path}: is damaged or not an engram artifact ({first_line(error)}); {make_again(path)}"


def _require_kind(stored: Mapping[str, Any], kind: str, path: str | Path) -> None:
    stated = stored.get("kind"), stored.get("format_version")
    if stated != (kind, FORMAT_VERSION):
        raise UserError(
            f"{path}: is {stated[0]!r}, format {stated[1]}, not {kind!r}, format {FORMAT_VERSION}; {make_again(path)}"
        )


def _require_plain_and_unharmed(path: str | Path) -> None:
    """Raise ValueError if the content does not match its seal, or is more than arrays. Files from before seals have none."""
    seal_holds = _seal_holds(path)
    with h5py.File(path) as file:
        if seal_holds is False or (seal_holds is None and "sealed" in file.attrs):
            raise ValueError("it was changed since it was written")
        require_plain_arrays(file)


def _seal_holds(path: str | Path) -> bool | None:
    """Whether the SHA-256 at the end of the file is that of what is before; None if there is none."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size - SEAL_LENGTH
        while left > 0:
            part = file.read(min(left, 1 << 20))
            digest.update(part)
            left -= len(part)
        seal = file.read()
    return seal == SEAL + digest.digest() if seal.startswith(SEAL) else None


def _require_layout(dataset: xr.Dataset, kind: str, wanted: list[str] | None) -> None:
    for name, dims in LAYOUT.get(kind, {}).items():
        if wanted is None or name in wanted:
            values = dataset[name]
            if values.dims != dims or values.dtype.kind not in "iufb":
                raise ValueError(f"{name} is {values.dtype} over {values.dims}, not numbers over {dims}")


def _require_finite(dataset: xr.Dataset, path: str | Path) -> None:
    for name, values in dataset.data_vars.items():
        if values.attrs.get("may_be_undefined", 0) or values.dtype.kind != "f":
            continue
        if not np.isfinite(values.values).all():
            raise UserError(f"{path}: {name} has values that are not finite; {make_again(path)}")
