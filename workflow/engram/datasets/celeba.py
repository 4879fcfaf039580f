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
    partition, files, split = _partition(name, root)
    faces = _faces(name, [partition.parent, root], files[0])
    images = np.empty((len(files), 3 * SIDE * SIDE), np.uint8)
    with Progress(len(files), "celeba: cropping and resizing", "image") as progress:
        for row, file in zip(images, files, strict=True):
            row[:] = _face(faces / file)
            progress.update(1)
    source = f"CelebA as published (split 1: validation, then test images), cropped to {CROP}, from {partition.parent}"
    return from_source(images, (3, SIDE, SIDE), np.full(len(files), -1), split, [], source, files)


def _download(root: str) -> None:
    from torchvision.datasets import CelebA

    CelebA(root, download=True)


def _partition(name: str, root: Path) -> tuple[Path, list[str], np.ndarray]:
    """Where the partition is, and file names and split of all images in the published order: training, validation, test."""

    def read(path: Path) -> tuple[Path, list[str], np.ndarray]:
        content = mirror.unpacked(path)
        mirror.require_md5(path, mirror.md5_of(content), _published_md5(PARTITION))
        files, parts = zip(*(line.split() for line in content.decode().splitlines()), strict=True)
        return path, list(files), np.where(np.array(parts) == "0", TRAIN, TEST)

    named = mirror.named(root, [name, "."], [PARTITION])
    others = mirror.files_below(root, (b"000001.jpg",))
    return mirror.first_published(named, others, read, mirror.absent(name, root, [name, "."], [PARTITION]))


def _published_md5(file: str) -> str:
    from torchvision.datasets import CelebA

    return next(md5 for _, md5, published in CelebA.file_list if published == file)


def _faces(name: str, roots: list[Path], first: str) -> Path | zipfile.Path:
    """The folder of images, unpacked anywhere below the roots, or inside of the archive as published under any name."""
    for folder in (folder for root in roots for folder in mirror.folders_below(root)):
        if (folder / first).is_file():
            return folder
    folders = [root / FOLDER for root in roots if (root / FOLDER).is_dir()]
    if folders:
        return folders[0]

    def read(path: Path) -> zipfile.Path:
        mirror.require_md5(path, mirror.md5_of_file(path), _published_md5(ARCHIVE))
        return zipfile.Path(path, f"{FOLDER}/")

    others = (path for root in roots for path in mirror.files_below(root, (b"PK",)))
    missing = mirror.absent(name, roots[0], ["."], [FOLDER, ARCHIVE])
    return mirror.first_published([root / ARCHIVE for root in roots], others, read, missing)


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
