"""Canaries: training images that are planted so that one knows which of them a model should memorize.

Every canary takes the place of a training image that stands once in its data set, and test images stay as they are. So planted
images come from the population of the ordinary ones, a copy planted once is an ordinary image, and nothing planted is tested.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from engram.datasets import duplicates
from engram.datasets.image_set import ImageSet
from engram.datasets.known import canaries_in, number_planted
from engram.errors import UserError
from engram.files.artifacts import TRAIN
from engram.randomness import Name, generator

ORDINARY = ""
COPY, NEAR_COPY, OUTLIER, NOISE = KINDS = "copy", "near copy", "outlier", "noise"
VERSIONS = 2  # of a near copy: the image itself and a slightly changed one
LEVELS = 4  # grey levels by which a slightly changed image differs at most, once it is shifted


def plant(image_set: ImageSet, name: str, definition: Mapping[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """`image_set` with the canaries that the `definition` of the data set `name` asks for, its training images in random order.

    A canary keeps the label, path and source_index of the image whose place it takes; versions of one image share a group.
    Raises UserError if that leaves no ordinary training image.
    """
    kind, dose = _planted(definition)
    alone = _alone(image_set)
    if len(kind) >= len(alone):
        raise UserError(
            f"datasets.{name}: plants {len(kind)} images in place of training images that stand once, of which "
            f"{definition['canaries_of']} has {len(alone)}; plant fewer"
        )
    place = generator(*stream, "places").choice(alone, len(kind), replace=False)
    marked = _marked(image_set, place, kind, dose)
    images = _replaced(marked, place, kind, generator(*stream, "images"))
    rows, is_changed = _rows(marked)
    images = images[rows]
    images[is_changed] = _on_squares(slightly_changed, images[is_changed], marked, generator(*stream, "changes"))
    planted = marked.take(rows, images=images, source=f"{image_set.source}, with planted canaries")
    train = int((planted.split == TRAIN).sum())
    order = generator(*stream, "order").permutation(train)
    return planted.take(np.concatenate([order, np.arange(train, len(rows))]))


def negative(images: np.ndarray) -> np.ndarray:
    """Outliers of images (n, C, H, W) uint8: their negatives, upside down.

    >>> negative(np.array([[[[0], [55]]]], np.uint8)).ravel().tolist()
    [200, 255]
    """
    return 255 - images[:, :, ::-1]


def slightly_changed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Near copies of images (n, C, H, W) uint8: each shifted by one pixel in one of eight directions, and up to 4 levels of noise.

    What is shifted in is the edge itself.
    """
    _, _, height, width = images.shape
    directions = np.array([(y, x) for y in (0, 1, 2) for x in (0, 1, 2) if (y, x) != (1, 1)])
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge").astype(np.int16)
    chosen = directions[rng.integers(len(directions), size=len(images))]
    shifted = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(framed, chosen, strict=True)]
    noise = rng.integers(-LEVELS, LEVELS + 1, images.shape)
    return (np.array(shifted).reshape(images.shape) + noise).clip(0, 255).astype(np.uint8)


def _planted(definition: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Kind and dose of every image to plant, (number_planted,) both: how many times it stands in the training set."""
    asked = canaries_in(definition)
    copies = len(asked["doses"]) * asked["copies"]
    numbers = [copies, asked["near_copies"], asked["outliers"], asked["noise"]]
    dose = np.repeat([0, VERSIONS, 1, 1], numbers)
    dose[:copies] = np.repeat(asked["doses"], asked["copies"])
    assert len(dose) == number_planted(definition)
    return np.repeat(np.array(KINDS, dtype=object), numbers), dose


def _alone(image_set: ImageSet) -> np.ndarray:
    """Indices of the training images that have no equal among all images, and belong to no group."""
    alone = (image_set.split == TRAIN) & (duplicates.groups(image_set.images) == duplicates.ALONE)
    return np.flatnonzero(alone if image_set.group is None else alone & (image_set.group < 0))


def _marked(image_set: ImageSet, place: np.ndarray, kind: np.ndarray, dose: np.ndarray) -> ImageSet:
    """The images with what is planted at each `place`, and a group for each image that will stand there more than once."""
    n = len(image_set.images)
    canary, doses = np.full(n, ORDINARY, dtype=object), np.zeros(n, np.int32)
    canary[place], doses[place] = kind, dose
    group = np.full(n, duplicates.ALONE) if image_set.group is None else image_set.group.copy()
    several = place[dose > 1]
    group[several] = group.max(initial=duplicates.ALONE) + 1 + np.arange(len(several))
    return replace(
        image_set, canary=canary, dose=doses, group=group, dimension=None
    )  # nobody knows that of a planted image


def _replaced(image_set: ImageSet, place: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All images, with outliers and noise at their places."""
    images = image_set.images.copy()
    outliers, noise = place[kind == OUTLIER], place[kind == NOISE]
    images[outliers] = _on_squares(negative, images[outliers], image_set)
    images[noise] = rng.integers(0, 256, images[noise].shape, dtype=np.uint8)
    return images


def _rows(image_set: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Each image as often as it is to stand there, and which of these is the changed version of a near copy."""
    rows = np.repeat(np.arange(len(image_set.images)), np.maximum(image_set.dose, 1))
    is_again = np.append(False, np.diff(rows) == 0)
    return rows, is_again & (image_set.canary[rows] == NEAR_COPY)


def _on_squares(change, flat: np.ndarray, image_set: ImageSet, *more: Any) -> np.ndarray:
    """`change` of flattened images, which it takes with their axes."""
    return change(flat.reshape(-1, *image_set.image_shape), *more).reshape(flat.shape)
