"""The nearest other points of each point, which is all that estimators of dimension see of a data set.

Equal points are one point here, so that a data set that holds everything twice looks as it does without its copies. Points that
differ at all are two: an image with a near copy has a very near neighbour, and the dimension about it comes out low.
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK = 2048  # points that are compared with as many others at once, in double precision


class Nearest(NamedTuple):
    """The nearest points, nearest first: index and Euclidean distance, (n, k) each."""

    index: np.ndarray
    distance: np.ndarray


def nearest_different(points: np.ndarray, neighbours: int) -> Nearest:
    """The nearest points that differ from each point and from one another, of `points` (n, d); the first of equal ones.

    Fewer than `neighbours` where fewer differ. Precision and memory as in `nearest_others`.

    >>> nearest_different(np.array([[0.0], [0.0], [3.0], [3.0], [1.0]]), neighbours=2).distance.tolist()
    [[1.0, 3.0], [1.0, 3.0], [2.0, 3.0], [2.0, 3.0], [1.0, 2.0]]
    """
    first, place = distinct(points)
    nearest = nearest_others(points[first], neighbours)
    return Nearest(first[nearest.index[place]], nearest.distance[place])


def distinct(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the first of each set of equal points, (different,), and each point's place among them, (n,).

    Their order depends on the points alone, and so does what is computed from them.
    """
    points = points + 0.0 if points.dtype.kind == "f" else points  # -0.0 equals 0.0
    row = np.ascontiguousarray(points).view(np.dtype((np.void, points.shape[1] * points.itemsize))).ravel()
    return np.unique(row, return_index=True, return_inverse=True)[1:]


def nearest_others(points: np.ndarray, neighbours: int) -> Nearest:
    """The nearest of the other points, equal ones included, of `points` (n, d): as many as there are, up to `neighbours`.

    Blocks of 2048 by 2048 squared distances are held at once. Grey levels (uint8) have exact distances: sums of products of whole
    numbers, which double precision holds. Those of other numbers are exact to some 1e-8 of the spread of all points.
    """
    n = len(points)
    points = points - points.mean(axis=0) if points.dtype.kind == "f" else points  # a large mean would cancel digits
    parts = torch.from_numpy(points).split(BLOCK)
    squared = torch.full((n, min(neighbours, n - 1)), torch.inf, dtype=torch.float64)
    index = torch.zeros_like(squared, dtype=torch.int64)
    kept = list(zip(squared.split(BLOCK), index.split(BLOCK), strict=True))
    for row, column in combinations_with_replacement(range(len(parts)), 2):
        block = _squared_distances(parts[row].double(), parts[column].double())
        if row == column:
            block.fill_diagonal_(torch.inf)  # a point is none of its own neighbours
        else:
            _keep_nearest(*kept[column], block.T, row * BLOCK)
        _keep_nearest(*kept[row], block, column * BLOCK)
    return Nearest(index.numpy(), squared.sqrt_().numpy())


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.addmm(x.square().sum(1)[:, None] + y.square().sum(1), x, y.T, alpha=-2).clamp_(min=0)


def _keep_nearest(squared: Tensor, index: Tensor, block: Tensor, start: int) -> None:
    """Put the smallest in each row of what was kept, (rows, k), and of a `block` of points from `start` on, into the former."""
    closest = block.topk(min(squared.shape[1], block.shape[1]), largest=False)
    values, order = torch.cat([squared, closest.values], 1).topk(squared.shape[1], largest=False)
    index.copy_(torch.cat([index, closest.indices + start], 1).gather(1, order))
    squared.copy_(values)
