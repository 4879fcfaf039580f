"""MNIST and Fashion-MNIST: four files in the IDX format, plain or gzipped."""

import math
from pathlib import Path

import numpy as np

from engram.datasets import mirror
from engram.datasets.download import fetch
from engram.datasets.image_set import ImageSet, from_source, pad
from engram.errors import UserError
from engram.files.artifacts import TEST, TRAIN

# Of the unpacked files: a mirror may have packed them anew. torchvision checks the published .gz files as it downloads.
MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
LABEL_NAMES = {
    "mnist": [str(digit) for digit in range(10)],
    "fashion_mnist": [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ],
}  # fmt: skip
SUBFOLDERS = {
    "mnist": ["mnist", "MNIST/raw", "."],
    "fashion_mnist": ["fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "."],
}


def load(name: str, data_root: Path | None, download_dir: Path) -> ImageSet:
    """MNIST or Fashion-MNIST in the published order, padded by 2 to (1, 32, 32)."""
    root = data_root or fetch(name, _torchvision(name), download_dir)
    train, test = _read(name, root, "train"), _read(name, root, "t10k")
    images = np.concatenate([pad(train[0], 2), pad(test[0], 2)])
    labels = np.concatenate([train[1], test[1]])
    split = np.repeat([TRAIN, TEST], [len(train[0]), len(test[0])])
    source = f"{name}, IDX files as published, from {root}"
    return from_source(images, (1, 32, 32), labels, split, LABEL_NAMES[name], source)


def _torchvision(name: str):
    def download(root: str) -> None:
        from torchvision.datasets import MNIST, FashionMNIST

        {"mnist": MNIST, "fashion_mnist": FashionMNIST}[name](root, download=True)

    return download


def _read(name: str, root: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and labels (n,) of the part "train" or "t10k"."""
    images, labels = (
        _published(name, root, f"{part}-{what}-idx{dimensions}-ubyte", dimensions)
        for what, dimensions in (("images", 3), ("labels", 1))
    )
    return images, labels


def _published(name: str, root: Path, file: str, dimensions: int) -> np.ndarray:
    """The array of a published file, under its name or any other, gzipped or not."""

    def read(path: Path) -> np.ndarray:
        content = mirror.unpacked(path)
        array = parse(path, content, dimensions)
        mirror.require_md5(path, mirror.md5_of(content), MD5[name][file])
        return array

    names = [file, f"{file}.gz"]
    named = [path for path in mirror.named(root, SUBFOLDERS[name], names) if path.is_file()]
    others = mirror.files_below(root, (bytes([0, 0, 8, dimensions]),))
    return mirror.first_published(named, others, read, mirror.absent(name, root, SUBFOLDERS[name], names))


def parse(path: Path, content: bytes, dimensions: int) -> np.ndarray:
    """The array in the bytes of an IDX file of unsigned bytes: magic number, sizes, values."""
    header = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < header:
        raise UserError(f"{path}: is not an IDX file of bytes with {dimensions} dimension(s); get the file again")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    expected = header + math.prod(shape)
    if len(content) != expected:
        held = f"holds {len(content)} bytes (unpacked), must hold {expected}"
        raise UserError(f"{path}: damaged or truncated: {held}; get the file again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
