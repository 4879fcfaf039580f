"""CIFAR-10: torchvision's archive of Python batches, or the binary archive, as files or unpacked."""

import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engram.datasets import mirror
from engram.datasets.download import fetch
from engram.datasets.image_set import ImageSet, from_source
from engram.errors import UserError
from engram.files.artifacts import TEST, TRAIN

PYTHON, PYTHON_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
BINARY, BINARY_ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
BINARY_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as published beside the archive
BINARY_BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
BATCH_IMAGES = 10_000
PIXELS = 3 * 32 * 32
LABEL_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def load(name: str, data_root: Path | None, download_dir: Path) -> ImageSet:
    """50,000 training and 10,000 test images in the published order, (3, 32, 32)."""
    root = data_root or fetch(name, _download, download_dir)
    path = mirror.find(name, root, [name, "."], [PYTHON, PYTHON_ARCHIVE, BINARY, BINARY_ARCHIVE])
    readers: dict[str, Callable] = {
        PYTHON: _python_folder,
        PYTHON_ARCHIVE: _python_archive,
        BINARY: _binary_folder,
        BINARY_ARCHIVE: _binary_archive,
    }
    images, labels, n_test = readers[path.name](path)
    split = np.repeat([TRAIN, TEST], [len(images) - n_test, n_test])
    return from_source(images, (3, 32, 32), labels, split, LABEL_NAMES, f"CIFAR-10 as published, from {path}")


def _download(root: str) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(root, download=True)


def _python_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Images (n, 3, 32, 32), labels and the number of test images, which come last.

    The batches are pickles, so torchvision's check of the MD5 sum of each comes before any is opened.
    """
    from torchvision.datasets import CIFAR10

    try:
        train, test = CIFAR10(folder.parent, train=True), CIFAR10(folder.parent, train=False)
    except RuntimeError as error:
        raise UserError(f"{folder}: a batch is missing or has a wrong checksum; get {PYTHON_ARCHIVE} again") from error
    images = np.concatenate([train.data, test.data]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), np.array(train.targets + test.targets), len(test.data)


def _python_archive(archive: Path) -> tuple[np.ndarray, np.ndarray, int]:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import extract_archive

    mirror.require_md5(archive, mirror.md5_of_file(archive), CIFAR10.tgz_md5)
    with tempfile.TemporaryDirectory() as folder:
        extract_archive(str(archive), folder)
        return _python_folder(Path(folder, PYTHON))


def _binary_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    missing = [batch for batch in BINARY_BATCHES if not (folder / batch).is_file()]
    if missing:
        raise UserError(f"{folder}: has no {missing[0]}; get {BINARY_ARCHIVE} again")
    return _join([_batch(folder / batch, (folder / batch).read_bytes()) for batch in BINARY_BATCHES])


def _binary_archive(archive: Path) -> tuple[np.ndarray, np.ndarray, int]:
    mirror.require_md5(archive, mirror.md5_of_file(archive), BINARY_MD5)
    with tarfile.open(archive) as tar:
        return _join([_batch(archive / batch, tar.extractfile(f"{BINARY}/{batch}").read()) for batch in BINARY_BATCHES])


def _batch(path: Path, content: bytes) -> np.ndarray:
    """Rows (label, red, green, blue) of one batch, (n, 3073)."""
    expected, again = BATCH_IMAGES * (1 + PIXELS), f"get {BINARY_ARCHIVE} again"
    if len(content) != expected:
        raise UserError(f"{path}: damaged or truncated: holds {len(content)} bytes, must hold {expected}; {again}")
    rows = np.frombuffer(content, np.uint8).reshape(BATCH_IMAGES, 1 + PIXELS)
    if rows[:, 0].max() >= len(LABEL_NAMES):
        raise UserError(f"{path}: damaged: holds the label {rows[:, 0].max()}, must be 0 to 9; {again}")
    return rows


def _join(batches: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    images = np.concatenate([batch[:, 1:] for batch in batches])
    return images.reshape(-1, 3, 32, 32), np.concatenate([batch[:, 0] for batch in batches]), BATCH_IMAGES
