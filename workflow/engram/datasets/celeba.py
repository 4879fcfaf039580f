"""CelebA: 202,599 aligned faces, cropped and shrunk one by one."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from engram.datasets import mirror
from engram.datasets.download import fetch
from engram.datasets.image_set import ImageSet, from_source
from engram.errors import UserError
from engram.files.artifacts import TEST, TRAIN
from engram.runtime.jobs import Progress

PARTITION, FOLDER, ARCHIVE = "list_eval_partition.txt", "img_align_celeba", "img_align_celeba.zip"
SIZE = (178, 218)  # width and height as published
CROP = (15, 40, 163, 188)  # left, upper, right, lower; van den Burg & Williams (2021)
SIDE = 32


def load(name: str, data_root: Path | None, download_dir: Path) -> ImageSet:
    """162,770 training images, then 19,867 validation and 19,962 test images, both as test set; (3, 32, 32)."""
    root = data_root or fetch(name, _download, download_dir)
    partition = mirror.find(name, root, [name, "."], [PARTITION])
    files, split = _read_partition(partition)
    faces = _faces(name, partition.parent)
    images = np.empty((len(files), 3 * SIDE * SIDE), np.uint8)
    with Progress(len(files), "celeba: cropping and resizing", "image") as progress:
        for row, file in zip(images, files, strict=True):
            row[:] = _face(faces / file)
            progress.update(1)
    source = f"CelebA as published (split 1: validation, then test images), cropped to {CROP}, from {partition.parent}"
    return from_source(images, (3, SIDE, SIDE), np.full(len(files), -1), split, [], source)


def _download(root: str) -> None:
    from torchvision.datasets import CelebA

    CelebA(root, download=True)


def _read_partition(path: Path) -> tuple[list[str], np.ndarray]:
    """File names and split of all images in the published order, which is training, validation, test."""
    mirror.require_md5(path, mirror.md5_of_file(path), _published_md5(PARTITION))
    files, parts = zip(*(line.split() for line in path.read_text().splitlines()), strict=True)
    return list(files), np.where(np.array(parts) == "0", TRAIN, TEST)


def _published_md5(file: str) -> str:
    from torchvision.datasets import CelebA

    return next(md5 for _, md5, published in CelebA.file_list if published == file)


def _faces(name: str, folder: Path) -> Path | zipfile.Path:
    """The folder of images, unpacked or inside of the archive as published."""
    found = mirror.find(name, folder, ["."], [FOLDER, ARCHIVE])
    if found.is_dir():
        return found
    mirror.require_md5(found, mirror.md5_of_file(found), _published_md5(ARCHIVE))
    return zipfile.Path(found, f"{FOLDER}/")


def _face(path: Path | zipfile.Path) -> np.ndarray:
    """One image, cropped and resized (bilinear, antialiased as always in PIL), flattened (channel, row, column)."""
    try:
        with path.open("rb") as file, Image.open(file) as image:
            if image.size != SIZE or image.mode != "RGB":
                raise UserError(f"{path}: is a {image.size} {image.mode} image, must be {SIZE} RGB")
            small = image.crop(CROP).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except OSError as error:
        raise UserError(f"{path}: cannot be read as an image ({error}); get the CelebA images again") from error
    return np.asarray(small).transpose(2, 0, 1).reshape(-1)
