"""The images of an audit: those asked about, and those known to be training images or held out; membership is never guessed.

An image of `images` whose pixels are those of a training or held-out image is that image. Of every other one, nobody has said
whether the model was trained on it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from engram.datasets import folder, image_file
from engram.datasets.folder_layout import image_files
from engram.datasets.image_file import Unreadable
from engram.datasets.paths import absent, expanded
from engram.datasets.reading import Reading
from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import TEST, TRAIN
from engram.randomness import generator

TRAINING, HELD_OUT, UNKNOWN = "training", "held-out", "unknown"
SETS = {"images": UNKNOWN, "training": TRAINING, "held_out": HELD_OUT}  # and what is known of their images
SIDE = 64  # pixels a side, above which images are shown and compared with samples by means
AT_ONCE = 256  # images whose means are taken at once
OF_DATASET = {"training": TRAIN, "held_out": TEST}  # the split that is meant where a data set is named
MEANT = {"training": "train", "held_out": "test"}  # the folder of a split that may be meant


class Images(NamedTuple):
    """levels: (n, pixels) uint8, in the order channel, row, column; path: (n,), the file of each; said: what was done."""

    levels: np.ndarray
    path: np.ndarray
    said: list[str]

    def digest(self) -> np.ndarray:
        """A number of each image, (n,) uint64, from its pixels: what its random numbers are named by."""
        hashes = [hashlib.sha256(np.ascontiguousarray(row)).digest()[:8] for row in self.levels]
        return np.array([int.from_bytes(each, "little") for each in hashes], dtype=np.uint64)


class Rows(NamedTuple):
    """The images that are judged, (n,) each: pixels and their number, file, the set it came from, and what is known of it.

    is_compared: whether curves and p-values take it, because its membership is unknown, or because the seed drew it from the
    training or the held-out images. That it is one of `images` does not suffice: these the user picked, perhaps as copies.
    """

    levels: np.ndarray
    digest: np.ndarray
    path: np.ndarray
    source: np.ndarray
    membership: np.ndarray
    is_compared: np.ndarray


def source_of(name: str) -> str:
    """The set as a column `source` and rows of prompts name it."""
    return name.replace("_", "-")


def require_folders(sources: Mapping[str, str | None], keys: Mapping[str, str]) -> None:
    """Raise UserError, naming the key, for a source that is neither a folder nor a data set's file."""
    for name, source in sources.items():
        if source is not None and not expanded(source).is_dir() and Path(source).suffix != ".h5":
            raise UserError(f"{keys[name]}: '{source}' does not exist or is not a folder{absent(source)}")


def read(name: str, key: str, source: str, shape: tuple[int, int, int], resize: bool) -> Images:
    """The images of a folder as images of `shape`, or of a data set's file: its training or test images, where these are meant.

    Raises UserError, beginning with `key`, for what cannot be read, and for other sizes unless `resize`.
    """
    if Path(source).suffix == ".h5":
        return _of_dataset(name, key, source, shape)
    if name in MEANT:
        _require_one_part(name, key, source)
    definition: dict[str, Any] = {"folder": source, "mode": "grey" if shape[0] == 1 else "rgb"}
    sizes = _sizes(source)
    wanted = f"{shape[2]} x {shape[1]}"
    if sizes - {wanted} and not resize:
        others = ", ".join(sorted(sizes)[:5])
        raise UserError(
            f"{key}: has images of {others}; the checkpoint takes {wanted}: save them so, or ask for resize"
        )
    if resize and shape[1] != shape[2]:
        raise UserError(
            f"{key}: the checkpoint takes {wanted}; images are resized to squares only: save them in that size"
        )
    if resize:
        definition["image_size"] = shape[1]
    image_set = folder.read(key, key, definition)[0]
    image_set = image_set.take(np.argsort(image_set.source_index))
    said = [f"{count} of {kind}" for kind, count in image_set.reading.used.most_common()]
    said += [f"{len(names)} left out: {kind}" for kind, names in image_set.reading.skipped.items()]
    if any(not kind.endswith(f" {definition['mode']}".replace("rgb", "RGB")) for kind in image_set.reading.used):
        said.append(f"those of other kinds made {definition['mode']}")
    resized = [f"middle squares resized to {wanted}"] if sizes - {wanted} else []
    return Images(image_set.images, image_set.path.astype(str), said + resized)


def _require_one_part(name: str, key: str, source: str) -> None:
    if parts := image_files(expanded(source), Reading())[1]:
        raise UserError(
            f"{key}: '{source}' holds the folders of a split: {parts}; name the one that is meant, such as '{source}/{MEANT[name]}'"
        )


def _sizes(source: str) -> set[str]:
    """Sizes of a folder's images, as far as their headers can be read; the reader tells of the others."""
    where, sizes = expanded(source), set()
    for file in image_files(where, Reading())[0]:
        try:
            sizes.add(image_file.header(where / file.path).size)
        except Unreadable:
            continue
    return sizes


def _of_dataset(name: str, key: str, source: str, shape: tuple[int, int, int]) -> Images:
    dataset = artifacts.read(source, "dataset")
    of_dataset = tuple(int(side) for side in np.atleast_1d(dataset.attrs["image_shape"]))
    if of_dataset != shape:
        raise UserError(
            f"{key}: the data set has images of {of_dataset}; the checkpoint takes {shape} (channels, height, width)"
        )
    split = dataset["split"].values
    chosen = split == OF_DATASET[name] if name in OF_DATASET else np.ones_like(split, bool)
    part = {"training": "training images", "held_out": "test images"}.get(name, "images")
    said = [f"{chosen.sum()} {part} of the data set {dataset.attrs['dataset']}"]
    return Images(dataset["images"].values[chosen], dataset["path"].values[chosen].astype(str), said)


def rows_of(sets: Mapping[str, Images], keys: Mapping[str, str], most: int, seed: int) -> Rows:
    """All of `images`, and at most `most` of the training images and of the held-out ones, drawn by the seed; none of them twice.

    Raises UserError if an image is said to be both.
    """
    digests = {name: images.digest() for name, images in sets.items()}
    known = {name: digests.get(name, np.empty(0, np.uint64)) for name in ("training", "held_out")}
    both = np.flatnonzero(np.isin(known["held_out"], known["training"]))
    if len(both):
        file = sets["held_out"].path[both[0]]
        raise UserError(
            f"{keys['held_out']}: {len(both)} of its images are training images, too, such as {file}; no image can be both"
        )
    chosen, drawn = {"images": np.arange(len(digests["images"]))}, []
    for name, of_set in known.items():
        first = np.sort(np.unique(of_set, return_index=True)[1])
        index = np.sort(first[generator(seed, "audit", "judged", name).permutation(len(first))[:most]])
        chosen[name] = index[~np.isin(of_set[index], digests["images"])]
        drawn.append(of_set[index])
    parts = [(name, index) for name, index in chosen.items() if name in sets]
    membership = np.concatenate([np.full(len(index), SETS[name], dtype=object) for name, index in parts])
    digest = np.concatenate([digests[name][index] for name, index in parts])
    membership[np.isin(digest, known["training"])] = TRAINING
    membership[np.isin(digest, known["held_out"])] = HELD_OUT
    is_first = np.isin(np.arange(len(digest)), np.unique(digest, return_index=True)[1])
    return Rows(
        np.concatenate([sets[name].levels[index] for name, index in parts]),
        digest,
        np.concatenate([sets[name].path[index] for name, index in parts]).astype(object),
        np.concatenate([np.full(len(index), source_of(name), dtype=object) for name, index in parts]),
        membership,
        (membership == UNKNOWN) | (is_first & np.isin(digest, np.concatenate(drawn))),
    )


def means(levels: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Levels, float32, of images (n, pixels) of `shape` made smaller by means, to SIDE pixels a side at most; and their shape."""
    size = tuple(min(SIDE, side) for side in shape[1:])
    rows = np.empty((len(levels), shape[0] * size[0] * size[1]), np.float32)
    for start in range(0, len(levels), AT_ONCE):
        part = torch.from_numpy(levels[start : start + AT_ONCE]).reshape(-1, *shape).float()
        rows[start : start + AT_ONCE] = adaptive_avg_pool2d(part, size).flatten(1).numpy()
    return rows, (shape[0], *size)


def small(levels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The same as grey levels, uint8, for pictures."""
    return means(levels, shape)[0].round().astype(np.uint8)
