"""The user's own images: a folder of files, flat or with one sub-folder for each class."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engram.datasets.image_set import ImageSet, from_source
from engram.datasets.sampling import split_by_fraction
from engram.errors import UserError
from engram.files.artifacts import TEST, TRAIN
from engram.randomness import Name
from engram.runtime.jobs import Progress

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # PIL's modes that grey or RGB bytes can hold without loss


def load(name: str, definition: dict[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """Grey or RGB images in the order of their paths, all of one size, or cropped and resized to `image_size` squared.

    Sub-folders named train and test hold the two splits; otherwise a share `test_fraction` (0.1) is drawn by class.
    """
    folder = Path(definition["folder"])
    if not os.path.isdir(folder):  # unlike Path's, it does not raise on a name too long
        raise UserError(f"datasets.{name}.folder: '{folder}' does not exist or is not a folder")
    split_by_user = (folder / "train").is_dir() and (folder / "test").is_dir()
    parts = {TRAIN: folder / "train", TEST: folder / "test"} if split_by_user else {TRAIN: folder}
    files = [(path, split) for split, part in parts.items() for path in _image_files(name, part)]
    paths, split = [path for path, _ in files], np.array([split for _, split in files])
    images, shape = _read(name, paths, definition.get("image_size"))
    labels, label_names = _classes(paths, list(parts.values()))
    whole = from_source(images, shape, labels, split, label_names, f"{len(paths)} images of the folder {folder}")
    return whole if split_by_user else split_by_fraction(whole, name, definition.get("test_fraction", 0.1), stream)


def _image_files(name: str, folder: Path) -> list[Path]:
    """Images of the folder or of its sub-folders, in order."""
    flat, by_class = (
        sorted(path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
        for pattern in ("*", "*/*")
    )
    if flat and by_class:
        raise UserError(f"datasets.{name}.folder: {flat[0]} lies beside class folders; put it into one of them")
    if not flat and not by_class:
        raise UserError(f"datasets.{name}.folder: no images ({' '.join(sorted(SUFFIXES))}) in or below '{folder}'")
    return flat or by_class


def _classes(paths: list[Path], parts: list[Path]) -> tuple[np.ndarray, list[str]]:
    """Labels and class names from the sub-folders' names; -1 and none for images outside of class folders."""
    names = ["" if path.parent in parts else path.parent.name for path in paths]
    label_names = sorted(set(names) - {""})
    index = {"": -1} | {label: k for k, label in enumerate(label_names)}
    return np.array([index[label] for label in names]), label_names


def _read(name: str, paths: list[Path], side: int | None) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Images (n, C*H*W) and (C, H, W). Sizes are compared before any image is decoded."""
    first = mode, width, height = _kind(paths[0])
    for path in paths[1:]:
        kind = _kind(path)
        if kind[0] != mode or (side is None and kind != first):
            both = f"{paths[0]} is {_words(first)}, {path} is {_words(kind)}"
            raise UserError(f"datasets.{name}.folder: all must be of one size, and all grey or all RGB, but {both}")
    shape = ({"L": 1, "RGB": 3}[mode], side or height, side or width)
    images = np.empty((len(paths), int(np.prod(shape))), np.uint8)
    with Progress(len(paths), f"{name}: reading", "image") as progress:
        for row, path in zip(images, paths, strict=True):
            row[:] = np.moveaxis(_decode(path, mode, side), -1, 0).reshape(-1)
            progress.update(1)
    return images, shape


def _kind(path: Path) -> tuple[str, int, int]:
    """Mode ("L" or "RGB"), width and height from the file's header."""
    try:
        with Image.open(path) as image:
            if image.mode not in MODES or "transparency" in image.info:
                raise UserError(f"{path}: is a {image.mode} image, must be 8-bit grey or RGB without transparency")
            return MODES[image.mode], *image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image ({error})") from error


def _words(kind: tuple[str, int, int]) -> str:
    return f"{kind[1]} x {kind[2]} {'grey' if kind[0] == 'L' else 'RGB'}"


def _decode(path: Path, mode: str, side: int | None) -> np.ndarray:
    """(H, W, C) bytes."""
    try:
        with Image.open(path) as image:
            image = image.convert(mode)
    except OSError as error:
        raise UserError(f"{path}: cannot be read as an image ({error})") from error
    return np.atleast_3d(np.asarray(image if side is None else _square(image, side)))


def _square(image: Image.Image, side: int) -> Image.Image:
    """The middle square, resized (bilinear, antialiased as always in PIL)."""
    shorter = min(image.size)
    left, upper = ((length - shorter) // 2 for length in image.size)
    middle = image.crop((left, upper, left + shorter, upper + shorter))
    return middle.resize((side, side), Image.Resampling.BILINEAR)
