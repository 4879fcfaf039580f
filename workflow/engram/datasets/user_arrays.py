"""The user's own images as arrays: an .npz or an HDF5 file with `images`, and perhaps `labels` and `split`."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from engram.datasets.image_set import TEST, TRAIN, ImageSet, from_source
from engram.datasets.sampling import split_by_fraction
from engram.errors import UserError
from engram.randomness import Name

MOST_LABELS = 2**15


def load(name: str, definition: dict[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """images: uint8 (n, H, W) or (n, H, W, C) with C = 1 or 3; labels: integers (n,), -1 = none; split: (n,), 1 = test.

    Without `split`, a share `test_fraction` (0.1) is drawn by class as the test set.
    """
    kind = "npz" if "npz" in definition else "hdf5"
    path = Path(definition[kind])
    if not path.is_file():
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
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: is not an .npz file, or is truncated")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in ("images", "labels", "split") if key in file}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as an .npz file of plain arrays ({_first_line(error)})") from error


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    try:
        with h5py.File(path) as file:
            return {key: np.asarray(file[key]) for key in ("images", "labels", "split") if key in file}
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as an HDF5 file of plain arrays ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
