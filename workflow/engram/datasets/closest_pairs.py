"""Which images are most alike among all pairs, copies or not: where no two are copies, they show how far from it the closest are.

Images are compared as in engram.datasets.duplicates, by the mean absolute difference of their pixels, in grey levels of 255.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

SEGMENTS = 16  # parts of an image whose brightness is compared before its pixels are
ROWS, COLUMNS, PAIRS = 256, 4096, 2048  # compared at once, so that memory stays bounded


class Pairs(NamedTuple):
    """Pairs of images, closest first: index of the one and of the other, and grey levels between them, (pairs,) each."""

    one: np.ndarray
    other: np.ndarray
    distance: np.ndarray


def closest(images: np.ndarray, others: np.ndarray | None, number: int, beyond: float = -1.0) -> Pairs:
    """The `number` closest pairs of one of `images` and one of `others` or, if that is None, of two of `images`.

    images: (n, pixels) uint8; others: (m, pixels) uint8. Only pairs more than `beyond` grey levels apart count, and there are
    fewer where fewer do. Of equally close pairs those with the lowest indices are taken.

    >>> closest(np.array([[0, 0], [9, 9], [0, 2]], np.uint8), None, number=1).other.tolist()
    [2]
    """
    pairs = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    columns = images if others is None else others
    brightness, brightness_of_columns = _segments(images), _segments(columns)
    for row in range(0, len(images) if number else 0, ROWS):
        for column in range(row if others is None else 0, len(columns), COLUMNS):
            block = brightness[row : row + ROWS], brightness_of_columns[column : column + COLUMNS]
            bound = cdist(*block, "cityblock") / images.shape[1]
            a, b = np.nonzero(bound <= _farthest(pairs, number))
            order = np.argsort(bound[a, b], kind="stable")
            bound, a, b = bound[a, b][order], a[order] + row, b[order] + column
            if others is None:
                bound, a, b = bound[a < b], a[a < b], b[a < b]
            pairs = _with_closer(pairs, bound, a, b, images, columns, number, beyond)
    return pairs


def _with_closer(
    pairs: Pairs,
    bound: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    images: np.ndarray,
    columns: np.ndarray,
    number: int,
    beyond: float,
) -> Pairs:
    """The closest of `pairs` and of images[a], columns[b] (candidates,), whose distances are at least `bound`, rising."""
    for at in range(0, len(bound), PAIRS):
        if bound[at] > _farthest(pairs, number):
            break
        one, other = a[at : at + PAIRS], b[at : at + PAIRS]
        difference = np.abs(images[one].astype(np.int16) - columns[other])
        distance = difference.sum(axis=1, dtype=np.int64) / images.shape[1]
        far = distance > beyond
        pairs = _first(
            Pairs(*(np.concatenate([old, new[far]]) for old, new in zip(pairs, (one, other, distance), strict=True))),
            number,
        )
    return pairs


def _first(pairs: Pairs, number: int) -> Pairs:
    order = np.lexsort((pairs.other, pairs.one, pairs.distance))[:number]
    return Pairs(*(values[order] for values in pairs))


def _farthest(pairs: Pairs, number: int) -> float:
    """Grey levels that two images may be apart and still belong to the closest; 255 while there are too few."""
    return float(pairs.distance[-1]) if len(pairs.distance) == number else 255.0


def _segments(images: np.ndarray) -> np.ndarray:
    """Sum of the levels in each part of an image, (n, parts): their differences are a lower bound on those of the pixels."""
    starts = np.unique(np.linspace(0, images.shape[1], SEGMENTS, endpoint=False).astype(int))
    return np.add.reduceat(images, starts, axis=1, dtype=np.float64)
