"""Bins of equal and round width, such as the paper's 10 nats of U on MNIST and 500 on CelebA."""

import math

import numpy as np


def round_edges(values: np.ndarray, most: int, outer: float) -> np.ndarray:
    """Edges (bins + 1,) around all values (n,) but a share `outer` on each side, at multiples of 1, 2 or 5 x 10^k.

    The width is the smallest of which `most` reach across; so there are at most `most` bins, or one more.
    """
    low, high = np.quantile(values, [outer, 1 - outer])
    least = (high - low) / most or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    width = next(step * power for step in (1, 2, 5, 10) if step * power >= least)
    return width * np.arange(math.floor(low / width), max(math.ceil(high / width), math.floor(low / width) + 1) + 1)
