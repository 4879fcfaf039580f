"""log p for readers: in nats, and, where a pixel is more than a bit, in bits per dimension too, as is usual for colour images."""

import math
from collections.abc import Mapping
from typing import Any

import xarray as xr

from engram.files.inputs import last
from engram.models.building import build


def bits_per_dimension(log_px: float, dimensions: int) -> float:
    """-log p / (D log 2): bits that log p (nats, of an 8-bit image) costs for each of the D values of an image."""
    return -log_px / (dimensions * math.log(2))


def dimensions(model: Mapping[str, Any], dataset: xr.Dataset) -> int | None:
    """D, the number of values of an image; None where the model sees binary pixels. `model` is its entry in config.yaml."""
    shape = tuple(int(size) for size in dataset.attrs["image_shape"])
    binary = build(image_shape=shape, **model).observation == "binary"
    return None if binary else math.prod(shape)


def densities(scores: xr.Dataset, size: int | None) -> dict[str, str]:
    """Mean U and V at the last scored epoch, ready to print, by heading; `size` is what `dimensions` returns."""
    means = [last(scores, name).mean() for name in ("log_p_in", "log_p_out")]
    text = {"mean U, mean V": ", ".join(f"{mean:,.1f}" for mean in means)}
    if size:
        text["the same, bits per dimension"] = ", ".join(f"{bits_per_dimension(mean, size):.3f}" for mean in means)
    return text
