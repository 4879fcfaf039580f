"""log p for readers: in nats, and, where a pixel is more than a bit, in bits per dimension too, as is usual for colour images."""

import math
import os

import xarray as xr

from engram.errors import UserError, make_again
from engram.files.inputs import last


def bits_per_dimension(log_px: float, dimensions: int) -> float:
    """-log p / (D log 2): bits that log p (nats, of an 8-bit image) costs for each of the D values of an image."""
    return -log_px / (dimensions * math.log(2))


def dimensions(models: xr.Dataset | None) -> int | None:
    """D, the number of values of an image, by the attributes of models/{repeat}.h5; None where the models see binary pixels.

    None, too, where there are no models. Raises UserError if the file does not say what they see.
    """
    if models is None:
        return None
    if "observation" not in models.attrs:
        path = os.path.relpath(models.encoding["source"])
        raise UserError(f"{path}: does not say how x is drawn from an image (observation); {make_again(path)}")
    binary = models.attrs["observation"] == "binary"
    return None if binary else math.prod(int(size) for size in models.attrs["image_shape"])


def densities(scores: xr.Dataset, size: int | None) -> dict[str, str]:
    """Mean U and V at the last scored epoch, ready to print, by heading; `size` is what `dimensions` returns."""
    means = [last(scores, name).mean() for name in ("log_p_in", "log_p_out")]
    text = {"mean U, mean V": ", ".join(f"{mean:,.1f}" for mean in means)}
    if size:
        text["the same, bits per dimension"] = ", ".join(f"{bits_per_dimension(mean, size):.3f}" for mean in means)
    return text
