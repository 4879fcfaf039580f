"""Arrays of any framework, taken in once: lists, NumPy, tensors (on a GPU and with a gradient, too), pandas and xarray.

Out comes a NumPy array of plain numbers, or one UserError. Public functions begin here; behind them nothing is checked again.
"""

import numbers
from typing import Any, NamedTuple

import numpy as np

from engram.errors import UserError, first_line

AXES = {2: ("model", "sample"), 3: ("model", "draw", "sample")}  # the names of engram's own files


class Labelled(NamedTuple):
    """An array, and the labels of its models and images; None where what was given has none."""

    values: np.ndarray
    models: np.ndarray | None = None
    images: np.ndarray | None = None


def array(values: Any, name: str) -> np.ndarray:
    """A NumPy array of booleans, integers or floats (at least float32) from what `values` holds.

    Raises UserError where that is no rectangular array of numbers.
    """
    converted = _converted(values, name)
    if isinstance(converted, np.ma.MaskedArray):
        if np.ma.is_masked(converted):
            place = first_place(np.ma.getmaskarray(converted))
            raise UserError(f"{name}: has masked values, of which the first is at {place}")
        converted = converted.data
    if converted.dtype == object:
        converted = _from_objects(converted, name)
    if converted.dtype.kind not in "biuf":
        raise UserError(f"{name}: holds {converted.dtype}, not numbers")
    if converted.dtype.kind == "f" and converted.dtype not in (np.float32, np.float64):
        return converted.astype(np.float64)
    return converted.astype(converted.dtype.newbyteorder("="), copy=False)


def whole_number(value: Any, name: str, least: int) -> int:
    """`value` as an int. Raises UserError if it is none, or below `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise UserError(f"{name}: is {value!r}, must be a whole number of at least {least}")
    return int(value)


def labelled(values: Any, name: str, numeric: bool = True) -> Labelled:
    """An array with the labels that pandas and xarray give its first and last axis."""
    if hasattr(values, "dims") and hasattr(values, "to_dataset"):
        axes = AXES.get(values.ndim, ())
        values = values.transpose(*axes) if set(axes) == set(values.dims) else values
        labels = [values.indexes.get(axis) for axis in values.dims]
        values = values.values
    elif hasattr(values, "iloc"):
        labels = list(values.axes)
    else:
        labels = []
    labels = [None if label is None else np.asarray(label) for label in labels]
    converted = array(values, name) if numeric else _converted(values, name)
    return Labelled(converted, labels[0] if labels else None, labels[-1] if len(labels) > 1 else None)


def first_place(wrong: np.ndarray) -> tuple[int, ...]:
    """Index of the first true value of a mask."""
    return tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))


def _converted(values: Any, name: str) -> np.ndarray:
    try:
        converted = _to_numpy(values)
    except Exception as error:  # every framework has errors of its own
        raise UserError(f"{name}: is no rectangular array of numbers ({first_line(error)})") from error
    if not converted.ndim:
        raise UserError(f"{name}: is a single {type(values).__name__}, not an array")
    return converted


def _to_numpy(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        return (values.float() if values.is_floating_point() and values.element_size() < 4 else values).numpy()
    if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values):
        return np.stack([_to_numpy(value) for value in values])
    return np.asanyarray(values) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)


def _from_objects(values: np.ndarray, name: str) -> np.ndarray:
    wrong = np.array([not isinstance(value, numbers.Real | np.bool) for value in values.flat], dtype=bool)
    if wrong.any():
        place = first_place(wrong.reshape(values.shape))
        raise UserError(f"{name}: holds {str(values[place])!r} at {place}, which is not a number")
    return values.astype(np.float64)
