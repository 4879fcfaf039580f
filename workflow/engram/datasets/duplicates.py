"""Which images are the same, or nearly so: what summaries count and what memberships can hold out together.

Two images are duplicates if their pixels differ by at most `distance` grey levels in the mean; a group is whatever chains
of duplicates connect. Every pair that qualifies is found: bounds only spare comparing pairs that cannot.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

ALONE = -1
SEGMENTS = 16  # parts of an image whose brightness is compared before its pixels are
ROWS, WINDOW, PAIRS = 256, 4096, 2048  # compared at once, so that memory stays bounded


def groups(images: np.ndarray, distance: float = 0.0) -> np.ndarray:
    """Number of the group of each image, (n,) int64, from 0 in the order of first members; -1 for an image alone.

    images: (n, pixels) uint8; distance: mean absolute difference of two duplicates, grey levels of 255; 0: equal bytes.

    >>> groups(np.array([[0, 0], [9, 9], [0, 0], [0, 2]], np.uint8), distance=1).tolist()
    [0, -1, 0, 0]
    """
    n = len(images)
    first = _first_equal(images)
    left, right = [np.arange(n)], [first]
    if distance > 0:
        distinct = np.flatnonzero(first == np.arange(n))
        for a, b in _near_pairs(images[distinct], distance):
            left.append(distinct[a])
            right.append(distinct[b])
    left, right = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(left), bool), (left, right)), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    return numbered(np.where(np.bincount(component, minlength=1)[component] > 1, component, ALONE))


def numbered(group: np.ndarray) -> np.ndarray:
    """The same groups with the numbers 0, 1, ... in the order in which they first occur; -1 stays."""
    names, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    order = np.argsort(np.where(names == ALONE, len(group), first), kind="stable")
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return np.where(group == ALONE, ALONE, rank[inverse])


def joined(group: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Groups, (n,), that hold together whatever either of two groupings holds together."""
    n = len(group)
    offset = group.max(initial=ALONE) + 1
    hubs = np.concatenate([group, np.where(other == ALONE, ALONE, other + offset)])
    image = np.tile(np.arange(n), 2)[hubs != ALONE]
    hubs = hubs[hubs != ALONE]
    size = n + int(hubs.max(initial=ALONE)) + 1
    graph = coo_array((np.ones(len(hubs), bool), (image, n + hubs)), shape=(size, size))
    component = connected_components(graph, directed=False)[1][:n]
    return numbered(np.where(np.bincount(component, minlength=1)[component] > 1, component, ALONE))


def _first_equal(images: np.ndarray) -> np.ndarray:
    """Index of the first image with the same bytes, (n,)."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest() for image in images)
    return np.array([seen.setdefault(digest, index) for index, digest in enumerate(digests)], dtype=np.int64)


def _near_pairs(images: np.ndarray, distance: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of images within the distance, as two arrays of indices at a time.

    The sum of absolute differences is at least the difference of sums, over the whole image and over segments of it. Sorted
    by brightness, an image can therefore only be near to those of a window, and few of them differ little in every segment.
    """
    limit = distance * images.shape[1]
    starts = np.unique(np.linspace(0, images.shape[1], SEGMENTS, endpoint=False).astype(int))
    segments = np.add.reduceat(images, starts, axis=1, dtype=np.float64)
    order = np.argsort(segments.sum(axis=1), kind="stable")
    segments = segments[order]
    brightness = segments.sum(axis=1)
    for start in range(0, len(order), ROWS):
        stop = min(start + ROWS, len(order))
        end = int(np.searchsorted(brightness, brightness[stop - 1] + limit, side="right"))
        for begin in range(start, end, WINDOW):
            bound = cdist(segments[start:stop], segments[begin : min(begin + WINDOW, end)], "cityblock")
            a, b = np.nonzero(bound <= limit)
            a, b = a + start, b + begin
            a, b = order[a[a < b]], order[b[a < b]]
            for at in range(0, len(a), PAIRS):
                one, two = a[at : at + PAIRS], b[at : at + PAIRS]
                near = np.abs(images[one].astype(np.int16) - images[two]).sum(axis=1, dtype=np.int64) <= limit
                yield one[near], two[near]
