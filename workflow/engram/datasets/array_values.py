"""Arrays as people save them, turned into images, labels, groups and a split. What cannot be told is asked for.

Functions raise ValueError with what is wrong and what would be right; the caller knows the file.
"""

import math

import numpy as np

from engram.datasets.levels import BRIGHT, mend, to_levels, words
from engram.datasets.paths import readable
from engram.datasets.split_names import PARTS
from engram.files.artifacts import TEST, TRAIN

CHANNELS = (1, 3)
MOST_LABELS = 2**15
CHANNELS_FIRST = "NCHW"
_TRANSPARENT = "; leave out a channel of transparency"


def channels_first(images: np.ndarray, axes: str | None, labelled: int | None) -> np.ndarray:
    """A view (n, C, H, W) of images whose axes are `axes`, such as "HWN", or else the ones that their shape leaves no doubt of.

    labelled: number of labels, which tells n from height and width.
    """
    shape = images.shape
    if images.dtype.kind not in "biuf":
        raise ValueError(f"images are {images.dtype}, must be numbers")
    if 0 in shape:
        raise ValueError(f"images have the shape {shape}, which holds nothing")
    if images.ndim == 2:
        raise ValueError(
            f"images have the shape {shape}: rows of pixels; save them with the shape {_unflattened(*shape)}"
        )
    if images.ndim not in (3, 4):
        raise ValueError(f"images have the shape {shape}, must be (n, H, W) or (n, H, W, 1 or 3)")
    axes = axes.upper() if axes else _axes(shape, labelled)
    if len(axes) != images.ndim or sorted(axes) != sorted("NHWC"[:3] if images.ndim == 3 else "NHWC"):
        raise ValueError(f"images have the shape {shape}, which the {len(axes)} axes {axes} do not name")
    if "C" not in axes:
        images, axes = images[..., None], axes + "C"
    images = images.transpose([axes.index(axis) for axis in CHANNELS_FIRST])
    if images.shape[1] not in CHANNELS:
        extra = " (transparency?)" if images.shape[1] in (2, 4) else ""
        raise ValueError(
            f"images have the shape {shape}: {images.shape[1]} channels{extra}; must be 1 (grey) or 3 (RGB)"
        )
    return images


def _unflattened(n: int, pixels: int) -> str:
    """Which shape n rows of so many pixels may have had."""
    grey, rgb = math.isqrt(pixels), math.isqrt(pixels // 3)
    if grey**2 == pixels:
        return f"({n}, {grey}, {grey})"
    return f"({n}, 3, {rgb}, {rgb}) or ({n}, {rgb}, {rgb}, 3)" if 3 * rgb**2 == pixels else "(n, height, width)"


def _axes(shape: tuple[int, ...], labelled: int | None) -> str:
    if len(shape) == 3:
        n, height, width = shape
        if n == labelled != width or height == width != n or (n != height and labelled != width):
            return "NHW"
        raise ValueError(_ask(shape, "NHW (images first) or HWN (images last)"))
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first != last and (labelled == shape[0] or labelled not in shape):
        return CHANNELS_FIRST if first else "NHWC"
    if first or last or shape[0] in CHANNELS or shape[2] in CHANNELS:
        raise ValueError(_ask(shape, "NHWC, NCHW, HWCN or CHWN"))
    raise ValueError(f"images have the shape {shape}: no axis is of 1 (grey) or 3 (RGB) channels{_TRANSPARENT}")


def _ask(shape: tuple[int, ...], choices: str) -> str:
    return f"images have the shape {shape}, whose axes cannot be told apart; write axes: {choices}, whichever is right"


def grey_levels(images: np.ndarray, value_range: list[float] | None) -> np.ndarray:
    """Grey levels of 255, uint8. Without a stated range only bytes (or whole numbers up to 255) that use it are such levels."""
    if images.dtype == bool:
        return images.astype(np.uint8) * 255
    if value_range is not None:
        try:
            return to_levels(images, tuple(value_range))
        except ValueError as error:
            raise ValueError(f"images: {error}") from error
    low, high = images.min(), images.max()
    plain = images.dtype.kind in "iu" and low >= 0 and high <= 255
    if plain and (high >= BRIGHT or (images.dtype == np.uint8 and high == 0)):
        return images.astype(np.uint8)
    if plain:
        raise ValueError(
            f"images are {images.dtype}, but {words(images)}: these may not be levels of 255; {mend(images)}"
        )
    raise ValueError(
        f"images are {images.dtype}, must be uint8 grey levels from 0 to 255; {words(images)}: {mend(images)}"
    )


def class_labels(values: np.ndarray, n: int) -> np.ndarray | list[str]:
    """One label an image: whole numbers (n,), or words. Columns (n, 1) and one-hot rows (n, classes) count as well."""
    values = _line(values, n)
    if values.dtype.kind in "USO" and values.shape == (n,):
        return texts(values)
    if values.dtype.kind == "b" or (values.dtype.kind == "f" and _are_whole(values)):
        values = values.astype(np.int64)
    if values.ndim == 2 and values.dtype.kind in "iu" and len(values) == n:
        return _from_one_hot(values)
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise ValueError(f"labels are {values.dtype} {values.shape}, must be integers ({n},), one an image, or words")
    if values.min() < -1 or values.max() >= MOST_LABELS:
        extent = f"{values.min()} to {values.max()}"
        raise ValueError(
            f"labels run from {extent}, must lie between -1 (none) and {MOST_LABELS - 1}; number the classes, or save words"
        )
    return values


def _line(values: np.ndarray, n: int) -> np.ndarray:
    """A column (n, 1) or a row (1, n) as (n,)."""
    return values.reshape(-1) if values.ndim == 2 and 1 in values.shape and values.size == n else values


def _are_whole(values: np.ndarray) -> bool:
    wide = values.astype(np.float64)
    return bool((np.abs(wide) < 2**53).all()) and np.array_equal(wide, np.rint(wide))


def _from_one_hot(values: np.ndarray) -> np.ndarray:
    if not np.isin(values, (0, 1)).all() or not (values.sum(axis=1) == 1).all():
        raise ValueError(
            f"labels are {values.shape} and not one-hot (each row a single 1); give one label an image, or labels: null"
        )
    return values.argmax(axis=1)


def texts(values: np.ndarray) -> list[str]:
    """Words of a text, bytes or object array."""
    if not all(isinstance(value, str | bytes) for value in values.flat):
        raise ValueError(f"an array of {values.dtype} {values.shape} must hold words or whole numbers")
    decoded = (
        value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value) for value in values.flat
    )
    return [readable(word) for word in decoded]


def groups(values: np.ndarray, n: int) -> np.ndarray:
    """(n,) int64; -1 = none. Words are numbered in alphabetical order."""
    values = _line(values, n)
    if values.dtype.kind == "f" and _are_whole(values):
        values = values.astype(np.int64)
    if values.shape == (n,) and values.dtype.kind in "USO":
        return np.unique(texts(values), return_inverse=True)[1].astype(np.int64)
    if values.shape != (n,) or values.dtype.kind not in "iu" or values.min() < -1 or values.max() >= 2**62:
        raise ValueError(
            f"group is {values.dtype} {values.shape}, must be ({n},) whole numbers from -1 (none), or words"
        )
    return values.astype(np.int64)


def parts(values: np.ndarray, n: int) -> np.ndarray:
    """The split, (n,): 0 and 1, or the words train and test (or val); "val" beside "test" is -1."""
    values = _line(values, n)
    if values.shape == (n,) and values.dtype.kind in "USO":
        named = [PARTS.get(word.lower(), word) for word in texts(values)]
        validation = -1 if "test" in named else TEST
        numbers = {"train": TRAIN, "test": TEST, "val": validation}
        values = np.array([numbers.get(name, 9) for name in named])
    if values.dtype == bool or (values.dtype.kind == "f" and _are_whole(values)):
        values = values.astype(np.int64)
    if values.shape != (n,) or values.dtype.kind not in "iu" or set(np.unique(values).tolist()) - {-1} != {TRAIN, TEST}:
        raise ValueError(
            f"split {values.shape} must be ({n},) and hold both 0 (training) and 1 (test), or train and test"
        )
    return values
