"""The user's own images: a folder of files, with or without classes and a split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engram.datasets import image_file
from engram.datasets.folder_files import endings_there
from engram.datasets.folder_layout import ImageFile, image_files
from engram.datasets.folder_target import target_of
from engram.datasets.image_file import Header, Target, Unreadable
from engram.datasets.image_set import ImageSet, from_source
from engram.datasets.paths import absent, expanded, readable
from engram.datasets.reading import Reading
from engram.datasets.sampling import split_by_fraction
from engram.errors import UserError
from engram.randomness import Name
from engram.runtime.jobs import Progress

UNREADABLE = "cannot be read as an image"
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")
ARRAYS = {".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5"}


def load(name: str, definition: dict[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """Images upright, in the order of their paths: all of one size, or cropped and resized to `image_size` squared.

    definition: {folder, test_fraction, image_size, mode, background, value_range}, as docs/own_images.md explains them.
    Sub-folders named train and test (or val) are the split; otherwise a share `test_fraction` (0.1) is drawn by class.

    Raises UserError with everything that is wrong with the folder, each kind counted and its first five files named.
    """
    image_set, split_folders = read(f"datasets.{name}.folder", name, definition)
    if not split_folders:
        return split_by_fraction(image_set, name, definition.get("test_fraction", 0.1), stream)
    image_set.reading.note_unused(definition)
    return image_set


def read(key: str, name: str, definition: dict[str, Any]) -> tuple[ImageSet, str]:
    """The images, all of them training images where no folders say otherwise, and the folders that make the split ("" = none).

    Errors begin with `key`, progress with `name`.
    """
    folder, reading = expanded(definition["folder"]), Reading()
    _require_folder(key, definition["folder"], folder)
    files, split_folders = image_files(folder, reading)
    if not files and not reading.problems:
        raise UserError(f"{key}: no images (.png .jpg .tif ...) in or below '{folder}'{_held_instead(folder)}")
    headers = _headers(folder, files, definition.get("image_size", 0), reading)
    target, shape = target_of(definition, headers, reading)
    images = _pixels(name, folder, list(headers), target, shape, reading)
    reading.refuse(f"{key}: in '{folder}'")

    label_names = sorted({file.class_name for file in files} - {""})
    index = {"": -1} | {label: k for k, label in enumerate(label_names)}
    image_set = from_source(
        images,
        shape,
        np.array([index[file.class_name] for file in files]),
        np.array([file.split for file in files]),
        label_names,
        readable(f"{len(files)} images of the folder {folder}"),
        [readable(file.path) for file in files],
        reading=replace(reading, split=f"the folders {split_folders}"),
    )
    return image_set, split_folders


def _held_instead(folder: Path) -> str:
    """What a folder without images holds, and what to do if that is an archive."""
    held = endings_there(folder)
    packed = "; unpack it first" if any(ending in held for ending in ARCHIVES) else ""
    return f"; it holds {held}{packed}" if held else ""


def _require_folder(key: str, written: str, folder: Path) -> None:
    try:
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, ValueError):  # a name too long, or with a null byte
        is_folder = is_file = False
    if is_file:
        kind = ARRAYS.get(folder.suffix.lower())
        raise UserError(
            f"{key}: '{written}' is a file; "
            + (f"write {kind}: {written}" if kind else "name the folder of the images")
        )
    if not is_folder:
        raise UserError(f"{key}: '{written}' does not exist or is not a folder{absent(written)}")


def _headers(folder: Path, files: list[ImageFile], side: int, reading: Reading) -> dict[str, Header]:
    """Header of each file that has one, by its path; what is odd goes to `reading`."""
    headers = {}
    for file in files:
        try:
            headers[file.path] = header = image_file.header(folder / file.path)
        except Unreadable as error:
            reading.problem(UNREADABLE, file.path, str(error))
            continue
        reading.used[f"{header.size} {header.kind}"] += 1
        if min(header.width, header.height) < side:
            reading.remark("smaller than image_size, and enlarged", file.path)
        if header.frames > 1:
            reading.remark("animated or of several pages; the first is read", file.path)
    return headers


def _pixels(
    name: str,
    folder: Path,
    paths: list[str],
    target: Target | None,
    shape: tuple[int, int, int],
    reading: Reading,
) -> np.ndarray:
    """Images (n, C*H*W). Without a target the files are decoded for their faults only, to tell all of them at once."""
    images = np.zeros((len(paths) if target else 0, int(np.prod(shape))), np.uint8)
    with Progress(len(paths), f"{name}: reading", "image") as progress:
        for index, path in enumerate(paths):
            said: list[str] = []
            try:
                if target is None:
                    image_file.check(folder / path, said)
                else:
                    images[index] = _row(image_file.pixels(folder / path, target, said), shape)
            except Unreadable as error:
                reading.problem(UNREADABLE, path, str(error))
            for words in said:
                reading.remark(f"read, but with the warning {words!r}", path)
            progress.update(1)
    return images


def _row(pixels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    if pixels.shape != (*shape[1:], shape[0]):
        raise Unreadable(f"it is {pixels.shape[1]} x {pixels.shape[0]}, unlike its header says")
    return np.moveaxis(pixels, -1, 0).reshape(-1)
