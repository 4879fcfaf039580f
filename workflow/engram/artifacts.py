"""Reading and writing engram's HDF5 artifacts: labelled, checksummed, written whole or not at all.

Every file opens in h5py, `h5ls` and `xarray.open_dataset(path, engine="h5netcdf")`. A variable is a tuple
`variable(dims, values, units, long_name)`; the named axes get a dimension scale of their own.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from engram.errors import UserError

FORMAT_VERSION = 1

AXES = {
    "model": "index of the trained model; its repeat and fold are variables over this axis",
    "epoch": "number of passes over the training data",
    "draw": "index of the draw of the observation x from the grey image",
    "sample": "index of the image in the data set's own order: training images, then test images",
    "pixel": "index into the flattened image (channel, row, column)",
}


def variable(dims: tuple[str, ...], values: Any, units: str, long_name: str, may_be_undefined: bool = False) -> tuple:
    """One variable as xarray takes it: axis names, array, attributes.

    `may_be_undefined` says that NaN or infinity has a meaning in it; elsewhere `read` refuses them.
    """
    attributes = {"units": units, "long_name": long_name}
    return dims, np.asarray(values), attributes | ({"may_be_undefined": 1} if may_be_undefined else {})


def write(path: str | Path, kind: str, variables: Mapping[str, tuple], attributes: Mapping[str, Any]) -> None:
    """Write an artifact under a temporary name, flush it to disk, and rename it: `path` is whole or absent.

    `kind` is the artifact's stage ("dataset", "membership", ...), which `read` checks. Axes named in AXES that have no
    variable of their own are numbered from 0.
    """
    dataset = xr.Dataset(dict(variables))
    for axis in set(dataset.sizes) & set(AXES):
        values = dataset[axis].values
        dataset = dataset.assign_coords({axis: (axis, values, {"units": "1", "long_name": AXES[axis]})})
    dataset.attrs = {"format_version": FORMAT_VERSION, "kind": kind, **attributes}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        dataset.to_netcdf(temporary, engine="h5netcdf", encoding=_encoding(dataset))
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: could not be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


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

    Raises UserError, naming the file and how to rebuild it, if it is unreadable, of another kind or format, or holds
    non-finite numbers where only finite ones have a meaning.
    """
    rebuild = f"delete it and run `snakemake --cores all {path}` to make it again"
    if not Path(path).exists():
        raise UserError(f"{path}: no such file; run `snakemake --cores all {path}` to make it")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            found = dataset.attrs.get("kind"), dataset.attrs.get("format_version")
            if found != (kind, FORMAT_VERSION):
                raise UserError(
                    f"{path}: is {found[0]!r}, format {found[1]}, not {kind!r}, format {FORMAT_VERSION}; {rebuild}"
                )
            dataset = dataset if variables is None else dataset[variables]
            dataset = dataset.sel(selection).load()
    except UserError:
        raise
    except Exception as error:  # a damaged HDF5 file can fail anywhere in three libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: is damaged or not an engram artifact ({reason}); {rebuild}") from error
    _require_finite(dataset, path, rebuild)
    return dataset


def _require_finite(dataset: xr.Dataset, path: str | Path, rebuild: str) -> None:
    for name, values in dataset.data_vars.items():
        if values.attrs.get("may_be_undefined", 0) or values.dtype.kind != "f":
            continue
        if not np.isfinite(values.values).all():
            raise UserError(f"{path}: {name} has values that are not finite; {rebuild}")
