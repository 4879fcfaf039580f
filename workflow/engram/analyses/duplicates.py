"""Which images are copies of one another, within the training set and between training and test set.

Two images are copies if their pixels differ by at most NEAR grey levels of 255 in the mean, as in engram.datasets.duplicates.
A test image that is a copy of a training image is a leak: models are trained on what they are tested on.
"""

import logging
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from engram.analyses.inputs import Answer, Inputs
from engram.datasets.closest_pairs import Pairs, closest
from engram.datasets.duplicates import ALONE, groups
from engram.files.artifacts import TEST, TRAIN, variable

# The two closest of the 70,000 digits of MNIST, two upright ones, are 0.99 apart; pairs of Fashion-MNIST up to 0.5 apart are
# plainly one photograph twice, and some beyond 0.6 differ in their print (docs/duplicates.md).
NEAR = 0.5
SHOWN = 7  # pairs of each kind for the figure
ROWS = 256  # images whose distances are held at once

log = logging.getLogger("engram")


class Shown(NamedTuple):
    """Pairs for the figure, and the size of the group of copies of each, 0 if they are no copies: (pairs,)."""

    pairs: Pairs
    size: np.ndarray


def nearest_copy(
    images: np.ndarray, exact: np.ndarray, near: np.ndarray, candidate: np.ndarray, distance: float = NEAR
) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest copy of each image among the candidates other than itself, -1 if none, and grey levels to it, else NaN.

    images: (n, pixels) uint8; exact, near: (n,) groups of equal images, and of images connected by steps of at most `distance`;
    candidate: (n,) bool. The lowest index is taken among equally near copies.
    """
    index, first = _equal(exact, candidate)
    levels = np.where(index == ALONE, np.nan, 0.0)
    order = np.argsort(near, kind="stable")[(near == ALONE).sum() :]
    for members in np.split(order, np.flatnonzero(np.diff(near[order])) + 1):
        rows, columns = members[index[members] == ALONE], members[first[members]]
        for start in range(0, len(rows) if len(columns) else 0, ROWS):
            row = rows[start : start + ROWS]
            apart = cdist(images[row], images[columns], "cityblock") / images.shape[1]
            apart[row[:, None] == columns] = np.inf
            closest_of = apart.argmin(axis=1)
            least = apart[np.arange(len(row)), closest_of]
            index[row[least <= distance]] = columns[closest_of[least <= distance]]
            levels[row[least <= distance]] = least[least <= distance]
    return index, levels


def _equal(exact: np.ndarray, candidate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first candidate equal to each image but itself, (n,), -1 if none; and which candidates are the first of their kind."""
    here = np.flatnonzero(candidate & (exact != ALONE))
    lowest = _lowest(exact, here)
    first = lowest[exact]
    second = _lowest(exact, here[here != first[here]])[exact]
    itself = np.arange(len(exact))
    equal = np.where(first == itself, second, first)
    return np.where(exact == ALONE, ALONE, equal), candidate & ((exact == ALONE) | (first == itself))


def _lowest(group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The lowest of some rows, rising, in each group, (groups + 1,); -1 where there is none, and in the last."""
    lowest = np.full(group.max(initial=ALONE) + 2, ALONE)
    lowest[group[rows[::-1]]] = rows[::-1]  # the last that is written stays
    return lowest


def one_of_each(group: np.ndarray, index: np.ndarray, levels: np.ndarray, number: int) -> Shown:
    """The closest copies in each of the `number` largest groups, largest first; the lower index of a pair first.

    group, index, levels: (n,) the group of each image, its nearest copy (-1 none), and grey levels to it.
    """
    size = np.bincount(group[group != ALONE], minlength=1)
    rows = np.flatnonzero(index != ALONE)
    rows = rows[np.lexsort((rows, levels[rows], group[rows], -size[group[rows]]))]
    rows = rows[np.sort(np.unique(group[rows], return_index=True)[1])][:number]
    # Each group stands together in `rows`, so that the first of it is its closest; the order of groups is that of sizes.
    one, other = np.minimum(rows, index[rows]), np.maximum(rows, index[rows])
    return Shown(Pairs(one, other, levels[rows]), size[group[rows]])


def analyse(given: Inputs) -> Answer:
    """Copies among the images of the data set, exact and near; and the pairs to show: copies first, then the closest others."""
    images, test = given.dataset["images"].values, given.dataset["split"].values == TEST
    train = given.dataset["split"].values == TRAIN
    exact, near = groups(images), groups(images, NEAR)
    in_training = nearest_copy(images, exact, near, train)
    in_test = nearest_copy(images, exact, near, test)
    group = groups_within(images, near, train)
    summary = _counts(group, in_training, train, test)
    _warn(given.experiment, summary, int(test.sum()))
    of_training, of_test = (np.where(which, in_training[0], ALONE) for which in (train, test))
    distinct_train, distinct_test = _equal(exact, train)[1], _equal(exact, test)[1]
    within = _filled_up(one_of_each(group, of_training, in_training[1], SHOWN), images, distinct_train)
    across = _filled_up(one_of_each(near, of_test, in_training[1], SHOWN), images, distinct_train, distinct_test)
    variables = _per_image(group, in_training, in_test) | _per_pair(within, across)
    return Answer(variables, {"near_distance": NEAR}, summary)


def groups_within(images: np.ndarray, near: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Group of copies of each training image, (n,), connected by training images alone; -1 elsewhere."""
    rows = np.flatnonzero(train & (near != ALONE))
    group = np.full(len(images), ALONE)
    group[rows] = groups(images[rows], NEAR)
    return group


def without_copies(test: np.ndarray, near: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Of the test images, by index, those that are no copies of a training image; near: (n,) groups, train: (n,) bool.

    >>> without_copies(np.array([2, 3]), np.array([0, -1, 0, -1]), np.array([True, True, False, False])).tolist()
    [3]
    """
    return test[(near[test] == ALONE) | ~np.isin(near[test], near[train])]


def _filled_up(copies: Shown, images: np.ndarray, one: np.ndarray, other: np.ndarray | None = None) -> Shown:
    """SHOWN pairs: those of copies, and then the closest that are no copies.

    Those are of two images of `one`, (n,) bool, or, where `other` is given, of an image of each.
    """
    rows = np.flatnonzero(one)
    columns = rows if other is None else np.flatnonzero(other)
    left = SHOWN - len(copies.size)
    more = closest(images[rows], None if other is None else images[columns], left, beyond=NEAR)
    more = Pairs(rows[more.one], columns[more.other], more.distance)
    pairs = Pairs(*(np.concatenate(both) for both in zip(copies.pairs, more, strict=True)))
    return Shown(pairs, np.concatenate([copies.size, np.zeros(len(more.one), np.int64)]))


def _counts(group: np.ndarray, in_training: tuple, train: np.ndarray, test: np.ndarray) -> dict[str, int]:
    """The numbers that sum it up: images with a copy in training, and groups of training images."""
    copied, same = in_training[0] != ALONE, in_training[1] == 0
    return {
        "near_distance": NEAR,
        "training_with_copy": int((copied & train).sum()),
        "training_with_equal": int((same & train).sum()),
        "groups_of_copies": int(group.max(initial=ALONE) + 1),
        "largest_group": int(np.bincount(group[group != ALONE], minlength=1).max()),
        "test_with_copy_in_training": int((copied & test).sum()),
        "test_with_equal_in_training": int((same & test).sum()),
    }


def _warn(experiment: str, summary: dict[str, int], test: int) -> None:
    if summary["test_with_copy_in_training"]:
        log.warning(
            "%s: %d of %d test images are copies of training images, up to %s grey levels apart: models are trained on them",
            experiment,
            summary["test_with_copy_in_training"],
            test,
            NEAR,
        )


def _per_image(group: np.ndarray, in_training: tuple, in_test: tuple) -> dict[str, tuple]:
    apart = "grey levels of 255 to it, in the mean over pixels; NaN if none"
    per_image = ("sample",)
    return {
        "copy_group": variable(
            per_image, group, "1", "group of copies of a training image; -1 if none, or a test image"
        ),
        "copy_in_training": variable(per_image, in_training[0], "1", "nearest copy among training images, -1 if none"),
        "distance_in_training": variable(per_image, in_training[1], "1", apart, may_be_undefined=True),
        "copy_in_test": variable(per_image, in_test[0], "1", "nearest copy among test images, -1 if none"),
        "distance_in_test": variable(per_image, in_test[1], "1", apart, may_be_undefined=True),
    }


def _per_pair(within: Shown, across: Shown) -> dict[str, tuple]:
    one, other, levels = (np.concatenate(both) for both in zip(within.pairs, across.pairs, strict=True))
    is_across = np.repeat([0, 1], [len(within.size), len(across.size)])
    size = np.concatenate([within.size, across.size])
    axes = ("pair",)
    return {
        "pair_one": variable(axes, one, "1", "index of a training image"),
        "pair_other": variable(axes, other, "1", "index of the image beside it"),
        "pair_distance": variable(axes, levels, "1", "grey levels of 255 between them, in the mean over pixels"),
        "pair_copies": variable(
            axes, size, "1", "images in the group of copies that both belong to; 0 if they are no copies"
        ),
        "pair_across": variable(axes, is_across, "1", "1 if the other is a test image"),
    }
