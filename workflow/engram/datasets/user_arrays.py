"""The user's own images as arrays: an .npz or an HDF5 file with `images`, and perhaps `labels` and `split`."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from engram.datasets.image_set import ImageSet, from_source
from engram.datasets.sampling import split_by_fraction
from engram.errors import UserError, first_line
from engram.files.artifacts import TEST, TRAIN
from engram.files.untrusted import require_plain_arrays, require_room
from engram.randomness import Name

ARRAYS = ("images", "labels", "split")
MOST_LABELS = 2**15


def load(name: str, definition: dict[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """images: uint8 (n, H, W) or (n, H, W, C) with C = 1 or 3; labels: integers (n,), -1 = none; split: (n,), 1 = test.

    Without `split`, a share `test_fraction` (0.1) is drawn by class as the test set.
    """
    kind = "npz" if "npz" in definition else "hdf5"
    path = Path(definition[kind])
    if not os.path.isfile(path):  # unlike Path's, it does not raise on a name too long
        raise UserError(f"datasets.{name}.{kind}: file '{path}' does not exist")
    arrays = _read_npz(path) if kind == "npz" else _read_hdf5(path)
    images, shape = _images(path, arrays)
    labels = _labels(path, arrays, len(images))
    split = _split(path, arrays, len(images))
    label_names = [str(label) for label in range(labels.max() + 1)]
    given = np.full(len(images), TRAIN) if split is None else split
    whole = from_source(images, shape, labels, given, label_names, f"{len(images)} images of the file {path}")
    return whole if split is not None else split_by_fraction(whole, name, definition.get("test_fraction", 0.1), stream)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path}: is not an .npz file, or is truncated")
        with zipfile.ZipFile(path) as file:
            require_room("it", sum(member.file_size for member in file.infolist()))
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in ARRAYS if key in file}
    except UserError:
        raise
    except Exception as error:  # zip, zlib and numpy's own reader each raise their own
        raise UserError(f"{path}: cannot be read as an .npz file of plain arrays ({first_line(error)})") from error


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    try:
        with h5py.File(path) as file:
            names = [key for key in ARRAYS if file.get(key, getlink=True) is not None]
            require_plain_arrays(file, names)
            return {key: np.asarray(file[key]) for key in names}
    except Exception as error:  # a damaged file can fail anywhere in two libraries
        raise UserError(f"{path}: cannot be read as an HDF5 file of plain arrays ({first_line(error)})") from error


def _images(path: Path, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Images (n, C, H, W) and (C, H, W)."""
    if "images" not in arrays:
        raise UserError(f"{path}: has no array 'images'")
    images = arrays["images"]
    if images.dtype != np.uint8:
        raise UserError(f"{path}: images are {images.dtype}, must be uint8 grey levels from 0 to 255")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)) or images.size == 0:
        raise UserError(f"{path}: images have the shape {images.shape}, must be (n, H, W) or (n, H, W, 1 or 3)")
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), images.shape[1:]


def _labels(path: Path, arrays: dict[str, np.ndarray], n: int) -> np.ndarray:
    labels = arrays.get("labels", np.full(n, -1))
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: labels are {labels.dtype} {labels.shape}, must be integers ({n},), one an image")
    if labels.min() < -1 or labels.max() >= MOST_LABELS:
        found = f"{labels.min()} to {labels.max()}"
        raise UserError(f"{path}: labels run from {found}, must lie between -1 (none) and {MOST_LABELS - 1}")
    return labels


def _split(path: Path, arrays: dict[str, np.ndarray], n: int) -> np.ndarray | None:
    """None if the file has no split."""
    split = arrays.get("split")
    if split is None:
        return None
    if split.shape != (n,) or set(np.unique(split).tolist()) != {TRAIN, TEST}:
        raise UserError(f"{path}: split {split.shape} must be ({n},) and hold both 0 (training) and 1 (test)")
    return split
