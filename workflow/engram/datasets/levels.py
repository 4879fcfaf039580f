"""From numbers of any range to grey levels from 0 (black) to 255 (white)."""

import numpy as np

COMMON = [
    (0, 1),
    (-1, 1),
    (0, 15),
    (0, 16),
    (0, 31),
    (0, 63),
    (0, 100),
    (0, 127),
    (0, 255),
    (0, 1023),
    (0, 4095),
    (0, 65535),
]
BRIGHT = 128  # bytes that stay below are not taken for levels of 255
AT_ONCE = 1 << 22  # numbers, so that memory stays bounded


def to_levels(values: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """round(255 (v - black) / (white - black)) as uint8, in the shape of `values`; value_range: (black, white).

    Raises ValueError for a value outside of the range, or none.

    >>> to_levels(np.array([0.0, 0.5, 1.0]), (0, 1)).tolist()
    [0, 128, 255]
    """
    black, white = value_range
    flat = np.ascontiguousarray(values).reshape(-1)
    levels = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), AT_ONCE):
        part = flat[start : start + AT_ONCE].astype(np.float64)
        if not ((part >= black) & (part <= white)).all():  # NaN is neither
            raise ValueError(f"{words(values)}, outside of value_range {[black, white]}")
        levels[start : start + AT_ONCE] = np.rint(255 * ((part - black) / (white - black)))
    return levels.reshape(values.shape)


def words(values: np.ndarray) -> str:
    """The range of some numbers: "they run from 0 to 1", or that there is none."""
    low, high = values.min(), values.max()
    return (
        f"they run from {low:g} to {high:g}" if np.isfinite(low) and np.isfinite(high) else "they hold NaN or infinity"
    )


def mend(values: np.ndarray) -> str:
    """Which range to state for some numbers."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return "replace such values"
    fitting = [pair for pair in COMMON if pair[0] <= low and high <= pair[1]] or [(low, high)]
    return f"say which number is black and which is white, such as value_range: {list(fitting[0])}"
