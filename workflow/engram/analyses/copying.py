"""Copies of training images among samples: is a sample much nearer to one training image than to all different ones?

Two training images are different if they are no copies of one another, by a grouping of copies. So a sample that copies an
image which the training set holds twice is as near to its copy, and still far from every different image. Distances are
Euclidean, between rows of features.
"""

import numpy as np
import torch
from torch import Tensor

from engram.analyses.neighbors import ratio, rows, squared_distance
from engram.datasets.duplicates import ALONE
from engram.geometry.nearest import Nearest
from engram.scores import intervals
from engram.scores.intervals import Interval

COPY = 1 / 3  # nearest over nearest different distance, below which a sample is a copy
NEIGHBOURS, ALPHA = 50, 0.5  # those of Carlini et al. (2023)
PAIRS = 2**24  # of a sample and a training image, whose distances are held at once
MORE_CANDIDATES = 13  # than neighbours that are asked for, as some are copies of one another
CANCELLED = 2.0**-8  # of the squared norms, below which float32 products leave too little of a squared distance
# What samples say of each training image, by name.
PER_IMAGE = {
    "calibrated_l2": "distance to the nearest sample, over half its mean distance to the 50 nearest different training images",
    "nearest_ratio": "distance to the nearest sample, over its distance to the nearest different training image",
    "recurrence": "samples that are copies of the image, or of a copy of it",
    "times_nearest": "samples whose nearest training image it is, or a copy of it",
}


def units(group: np.ndarray) -> np.ndarray:
    """Number from 0 of each image's group of copies, (n,), an image alone being its own; from groups, -1 for an image alone.

    >>> units(np.array([-1, 0, 0])).tolist()
    [1, 0, 0]
    """
    alone = np.arange(len(group)) + group.max(initial=ALONE) + 1
    return np.unique(np.where(group == ALONE, alone, group), return_inverse=True)[1]


def nearest_different(x: np.ndarray, training: np.ndarray, unit: np.ndarray, k: int) -> Nearest:
    """The k nearest of `training` (n, d) to each of x (m, d) that are different: of each unit (n,), at most its nearest.

    Fewer than k where there are fewer units. Distances come from float32 products, in bounded memory, and from double precision
    where a product cancels, so that an equal image is at 0. Of equally near images the one with the lowest index comes first.
    """
    x, training = rows(x), rows(training)
    centre = training.mean(0)  # so that a large mean of features cancels nothing
    x, training = x - centre, training - centre
    k = min(k, int(unit.max()) + 1)
    parts = [_of_block(part, training, unit, k) for part in x.split(max(1, PAIRS // len(training)))]
    return Nearest(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _of_block(x: Tensor, training: Tensor, unit: np.ndarray, k: int) -> Nearest:
    norms = x.square().sum(1)[:, None] + training.square().sum(1)
    squared = torch.addmm(norms, x, training.T, alpha=-2)
    candidates = min(k + MORE_CANDIDATES, len(training))
    while True:
        index = squared.topk(candidates, dim=1, largest=False).indices
        near = _sorted(x, training, index, squared.gather(1, index), norms.gather(1, index))
        is_first = _is_first(unit[near.index])
        if is_first.sum(axis=1).min() >= k:
            chosen = np.argsort(~is_first, axis=1, kind="stable")[:, :k]
            return Nearest(*(np.take_along_axis(values, chosen, axis=1) for values in near))
        candidates = min(2 * candidates, len(training))


def _sorted(x: Tensor, training: Tensor, index: Tensor, squared: Tensor, norms: Tensor) -> Nearest:
    """Training images by index (m, c), nearest first, from squared distances and the sums of both squared norms, (m, c)."""
    cancels, exact = squared <= CANCELLED * norms, squared.double().numpy()
    exact[cancels.numpy()] = squared_distance(x, training, cancels.nonzero()[:, 0], index[cancels])
    order = np.lexsort((index.numpy(), exact), axis=1)
    return Nearest(np.take_along_axis(index.numpy(), order, axis=1), np.sqrt(np.take_along_axis(exact, order, axis=1)))


def _is_first(unit: np.ndarray) -> np.ndarray:
    """Whether each entry of (m, c) is the first of its value in its row."""
    order = np.argsort(unit, axis=1, kind="stable")
    changes = np.diff(np.take_along_axis(unit, order, axis=1), axis=1, prepend=-1) != 0
    is_first = np.empty_like(changes)
    np.put_along_axis(is_first, order, changes, axis=1)
    return is_first


def sample_ratio(nearest: Nearest) -> np.ndarray:
    """Distance to the nearest training image over that to the nearest different one, (m,), at most 1; below COPY, a copy.

    1 where both are 0. The rule is that of Yoon et al. (2023), who compare with any second-nearest training image.
    """
    return ratio(nearest.distance[:, 0], nearest.distance[:, 1])


def per_image(of_samples: Nearest, nearest_sample: np.ndarray, distance: np.ndarray, unit: np.ndarray) -> dict:
    """Every number of PER_IMAGE by name, (n,) each.

    of_samples: (m, NEIGHBOURS + 1) of all samples; nearest_sample, distance: those of each training image, (n,).
    """
    is_copy, different = sample_ratio(of_samples) < COPY, to_different(of_samples, nearest_sample, unit)
    return {
        "calibrated_l2": calibrated_l2(distance, different),
        "nearest_ratio": nearest_ratio(distance, different),
        "recurrence": counts(of_samples, unit, is_copy),
        "times_nearest": counts(of_samples, unit, np.ones_like(is_copy)),
    }


def shares(of_samples: Nearest, training: np.ndarray, unit: np.ndarray, ending: str = "") -> dict[str, Interval]:
    """Of samples the share_of_copies and the authenticity, the share that is authentic, with an `ending` of their names."""
    is_copy, is_authentic = sample_ratio(of_samples) < COPY, authentic(of_samples, training, unit)
    return {
        f"share_of_copies{ending}": intervals.share(is_copy.sum(), len(is_copy)),
        f"authenticity{ending}": intervals.share(is_authentic.sum(), len(is_authentic)),
    }


def counts(nearest: Nearest, unit: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """How many of the samples `chosen`, (m,) bool, have each training image or a copy of it as their nearest: (n,)."""
    owners = unit[nearest.index[chosen, 0]]
    return np.bincount(owners, minlength=unit.max() + 1)[unit]


def to_different(nearest: Nearest, sample: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Distances of a sample to its nearest training images that are no copies of a given one, (n, k - 1), nearest first.

    nearest: (m, k), of all samples; sample: (n,), the one that goes with each training image, such as its nearest.
    """
    is_own = unit[nearest.index[sample]] == unit[:, None]
    kept = np.argsort(is_own, axis=1, kind="stable")[:, : nearest.index.shape[1] - 1]
    return np.take_along_axis(nearest.distance[sample], kept, axis=1)


def calibrated_l2(distance: np.ndarray, different: np.ndarray) -> np.ndarray:
    """d(g, x) / (ALPHA mean_y d(g, y)) of each training image x and its nearest sample g, (n,); small for a copy.

    distance: (n,), d(g, x); different: (n, k), those of g to its nearest training images that are no copies of x
    (Carlini et al. 2023, whose mean is over 50 of them).
    """
    return ratio(distance, ALPHA * different.mean(axis=1))


def nearest_ratio(distance: np.ndarray, different: np.ndarray) -> np.ndarray:
    """d(g, x) / d(g, y) with y the nearest training image that is no copy of x, (n,); arguments as in `calibrated_l2`."""
    return ratio(distance, different[:, 0])


def authentic(nearest: Nearest, training: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Whether each sample is further from its nearest training image than that is from the nearest different one: (m,) bool.

    Alaa et al. (2022) take any other training image, which makes everything authentic once all images are there twice.
    """
    owner, place = np.unique(nearest.index[:, 0], return_inverse=True)
    apart = nearest_different(training[owner], training, unit, 2).distance[:, 1]
    return nearest.distance[:, 0] > apart[place]
