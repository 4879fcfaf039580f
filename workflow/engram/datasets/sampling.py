"""Drawing a test set or a subset with the classes in the proportions of the whole."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from engram.datasets.image_file import squares
from engram.datasets.image_set import ImageSet
from engram.errors import UserError
from engram.files.artifacts import TEST, TRAIN
from engram.randomness import Name, generator


def apportion(counts: np.ndarray, size: int) -> np.ndarray:
    """How many of `size` to draw from each class: proportional to `counts`, rounded by the largest remainders.

    Sums to `size`; each class is within one of its exact share, and within its count. Ties go to the first class.
    """
    drawn, remainder = np.divmod(counts.astype(np.int64) * size, counts.sum())
    short = size - drawn.sum()
    drawn[np.argsort(-remainder, kind="stable")[:short]] += 1
    return drawn


def stratified_draw(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `size` different images, classes in proportion, in random order: any first few are a fair sample."""
    classes, counts = np.unique(labels, return_counts=True)
    shares = zip(classes, apportion(counts, size), strict=True)
    drawn = [rng.choice(np.flatnonzero(labels == label), share, replace=False) for label, share in shares]
    return rng.permutation(np.concatenate(drawn))


def whole_groups(group: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of about `size` images that split no group of group (n,), -1 = alone: at least one unit, never all of them."""
    unit = np.unique(np.where(group < 0, np.arange(len(group)) + group.max() + 1, group), return_inverse=True)[1]
    order = rng.permutation(unit.max() + 1)
    drawn = int(np.searchsorted(np.cumsum(np.bincount(unit)[order]), size, side="right"))
    return np.flatnonzero(np.isin(unit, order[: max(1, drawn)]))


def split_off_test(image_set: ImageSet, size: int, stream: tuple[Name, ...]) -> ImageSet:
    """`image_set` with `size` of its images, drawn by class, as test set, and the others, in random order, to train on.

    Where there are groups, the test set is of whole groups, or an image would be tested whose twin is trained on.
    """
    rng = generator(*stream, "test")
    grouped = image_set.group is not None and (image_set.group >= 0).any()
    test = whole_groups(image_set.group, size, rng) if grouped else stratified_draw(image_set.labels, size, rng)
    train = generator(*stream, "train").permutation(np.setdiff1d(np.arange(len(image_set.labels)), test))
    split = np.repeat(np.array([TRAIN, TEST], np.int8), [len(train), len(test)])
    return image_set.take(np.concatenate([train, test]), split=split)


def split_by_fraction(image_set: ImageSet, name: str, fraction: float, stream: tuple[Name, ...]) -> ImageSet:
    """`split_off_test` of the share `fraction`, but at least one image, of the user's data set `name`."""
    if not 0 < fraction < 1:
        raise UserError(f"datasets.{name}.test_fraction: is {fraction}, must lie between 0 and 1, such as 0.1")
    n = len(image_set.labels)
    size = max(1, round(n * fraction))
    if size >= n:
        raise UserError(f"datasets.{name}: {n} image(s) with test_fraction {fraction} leave none to train on")
    parts = split_off_test(image_set, size, stream)
    if parts.split.all():
        raise UserError(
            f"datasets.{name}: all images are of one group, which leaves none to train on or none to test with"
        )
    how = "whole groups" if image_set.group is not None else "by class"
    split = f"a share of {fraction} drawn at random ({how}) and set aside as test images"
    return replace(parts, reading=replace(image_set.reading, split=split))


def subset(image_set: ImageSet, name: str, definition: Mapping[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """`train` of the training and `test` of the test images of `image_set`, each drawn by class; without a number all of them.

    With `image_size` their middle squares, resized.
    """
    rows = []
    for part, split in (("train", TRAIN), ("test", TEST)):
        pool = np.flatnonzero(image_set.split == split)
        size = definition.get(part, len(pool))
        if not 0 < size <= len(pool):
            raise UserError(f"datasets.{name}.{part}: is {size}, must be 1 to {len(pool)}, what there is to draw from")
        rows.append(pool[stratified_draw(image_set.labels[pool], size, generator(*stream, part))])
    train, test = (definition.get(part, "all") for part in ("train", "test"))
    drawn = image_set.take(
        np.concatenate(rows), source=f"{train} training and {test} test images of: {image_set.source}"
    )
    return _resized(drawn, definition["image_size"]) if "image_size" in definition else drawn


def _resized(image_set: ImageSet, side: int) -> ImageSet:
    images = squares(image_set.images.reshape(-1, *image_set.image_shape), side)
    source = f"{image_set.source}, resized to {side} x {side}"
    shape = (image_set.image_shape[0], side, side)
    return replace(image_set, images=images.reshape(len(images), -1), image_shape=shape, source=source)
