"""The user's own images as arrays in an .npz or an HDF5 file, with labels, split and groups if it has them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from engram.datasets import array_values
from engram.datasets.array_files import ArrayFile
from engram.datasets.array_names import Roles, roles
from engram.datasets.image_file import squares
from engram.datasets.image_set import ImageSet, from_source
from engram.datasets.paths import readable
from engram.datasets.reading import Reading
from engram.datasets.sampling import split_by_fraction
from engram.files.artifacts import TEST, TRAIN
from engram.randomness import Name


def load(name: str, definition: dict[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """Images in the order of their array, those to train on first.

    definition: {npz or hdf5, images, labels, test_images, test_labels, split, group, label_names, axes, value_range, image_size,
    test_fraction}, as docs/own_images.md explains them. Without a split in the file, a share `test_fraction` (0.1) is drawn
    by class, or as whole groups where there are groups.

    Raises UserError naming the data set, the file, and what would be right.
    """
    kind = "npz" if "npz" in definition else "hdf5"
    file = ArrayFile(name, kind, definition[kind])
    chosen = roles(file, definition)
    try:
        image_set, has_split = _image_set(file, chosen, definition)
    except ValueError as error:
        raise file.fault(str(error)) from error
    if has_split:
        image_set.reading.note_unused(definition)
    return image_set if has_split else split_by_fraction(image_set, name, definition.get("test_fraction", 0.1), stream)


def _image_set(file: ArrayFile, chosen: Roles, definition: dict[str, Any]) -> tuple[ImageSet, bool]:
    """The file's images, and whether it tells which ones are test images."""
    used = [*chosen.train.values(), *chosen.test.values()]
    arrays = file.read(dict.fromkeys(used))
    halves = [half for half in (chosen.train, chosen.test) if half]
    views = [_view(arrays, half, definition.get("axes")) for half in halves]
    if len({view.shape[1:] for view in views}) > 1:
        shapes = " and ".join(f"{half['images']} {arrays[half['images']].shape}" for half in halves)
        raise ValueError(f"training and test images differ in size: {shapes}; save them in one size")
    counts = [len(view) for view in views]
    images = array_values.grey_levels(np.concatenate(views), definition.get("value_range"))
    side = definition.get("image_size")
    images = np.ascontiguousarray(images) if side is None else squares(images, side)
    labels, label_names = _labels(arrays, halves, counts, chosen.train.get("label_names"), definition)
    group = _per_image(arrays, halves, counts, "group", array_values.groups)
    split, told = np.repeat([TRAIN, TEST][: len(counts)], counts), "the arrays' names"
    if "split" in chosen.train and not chosen.test:
        split, told = array_values.parts(arrays[chosen.train["split"]], counts[0]), f"the array {chosen.train['split']}"
    reading = _reading(file, chosen, images, told, int((split == -1).sum()))
    several = len(halves) > 1
    path = [
        f"{half['images']}[{index}]" if several else str(index)
        for half, count in zip(halves, counts, strict=True)
        for index in range(count)
    ]
    source = readable(f"{len(images)} images of the file {file.path}")
    shape = images.shape[1:]
    image_set = from_source(images, shape, labels, split, label_names, source, path, group=group, reading=reading)
    if (split == -1).any():
        image_set = image_set.take(np.flatnonzero(image_set.split != -1))
    return image_set, several or "split" in chosen.train


def _view(arrays: dict[str, np.ndarray], half: dict[str, str], axes: str | None) -> np.ndarray:
    labels = arrays[half["labels"]] if "labels" in half else None
    counted = next((arrays[half[key]] for key in ("split", "group") if key in half), labels)
    count = len(counted) if counted is not None and counted.ndim else None
    return array_values.channels_first(arrays[half["images"]], axes, count)


def _labels(
    arrays: dict[str, np.ndarray],
    halves: list[dict[str, str]],
    counts: list[int],
    names_array: str | None,
    definition: dict[str, Any],
) -> tuple[np.ndarray, list[str]]:
    """Labels (n,), -1 = none, and the classes' names: those given, the words found, or the numbers as text."""
    given = definition.get("label_names")
    names = list(given) if isinstance(given, list) else array_values.texts(arrays[names_array]) if names_array else None
    parts = [
        array_values.class_labels(arrays[half["labels"]], count) if "labels" in half else np.full(count, -1)
        for half, count in zip(halves, counts, strict=True)
    ]
    words = sorted({word for labels in parts if isinstance(labels, list) for word in labels} - {""})
    if words:
        names = names or words
        if missing := [word for word in words if word not in names]:
            raise ValueError(f"label_names {names} lack {', '.join(missing[:5])}, which labels hold")
        index = {"": -1} | {name: number for number, name in enumerate(names)}
        parts = [np.array([index[word] for word in labels]) if isinstance(labels, list) else labels for labels in parts]
    labels = np.concatenate(parts)
    if names is not None and labels.max() >= len(names):
        raise ValueError(f"label_names holds {len(names)} names, but labels run up to {labels.max()}; give one a class")
    if labels.max() < 0:
        return labels, []
    return labels, names or [str(label) for label in range(labels.max() + 1)]


def _per_image(
    arrays: dict[str, np.ndarray],
    halves: list[dict[str, str]],
    counts: list[int],
    role: str,
    convert: Callable[[np.ndarray, int], np.ndarray],
) -> np.ndarray | None:
    """The array of a role over all images, -1 for a half that lacks it; None if both do."""
    if not any(role in half for half in halves):
        return None
    parts = [
        convert(arrays[half[role]], count) if role in half else np.full(count, -1)
        for half, count in zip(halves, counts, strict=True)
    ]
    return np.concatenate(parts)


def _reading(file: ArrayFile, chosen: Roles, images: np.ndarray, told: str, validation: int) -> Reading:
    reading = Reading(split=told)
    _, channels, height, width = images.shape
    reading.used[f"{width} x {height} {'grey' if channels == 1 else 'RGB'}"] += len(images)
    used = {*chosen.train.values(), *chosen.test.values(), *chosen.left_out}
    for name in chosen.left_out:
        reading.skip("validation arrays, left out because there are test arrays", name)
    for name in sorted(set(file.names) - used):
        reading.skip("arrays that are not used", name)
    if validation:
        reading.skip("validation images, left out because there are test images", f"{validation} images")
    return reading
