"""CIFAR-10: torchvision's archive of Python batches, or the binary archive, packed or unpacked."""

import itertools
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from engram.datasets import mirror
from engram.datasets.download import fetch
from engram.datasets.image_set import ImageSet, from_source
from engram.errors import UserError, first_line
from engram.files.artifacts import TEST, TRAIN

PYTHON, PYTHON_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
BINARY, BINARY_ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
BINARY_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as published beside the archive
BINARY_BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
ARCHIVED, PICKLED = b"cifar-10-batches", b"\x80"  # how archives, unzipped, and batches begin
BATCH_IMAGES = 10_000
PIXELS = 3 * 32 * 32
LABEL_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def load(name: str, data_root: Path | None, download_dir: Path) -> ImageSet:
    """50,000 training and 10,000 test images in the published order, (3, 32, 32)."""
    root = data_root or fetch(name, _download, download_dir)
    folders, files = [name, "."], [PYTHON, PYTHON_ARCHIVE, BINARY, BINARY_ARCHIVE]
    others = itertools.chain(mirror.folders_below(root), mirror.files_below(root, (ARCHIVED,)))
    missing = mirror.absent(name, root, folders, files)
    images, labels, n_test = mirror.first_published(mirror.named(root, folders, files), others, _read, missing)
    split = np.repeat([TRAIN, TEST], [len(images) - n_test, n_test])
    return from_source(images, (3, 32, 32), labels, split, LABEL_NAMES, f"CIFAR-10 as published, from {root}")


def _download(root: str) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(root, download=True)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Images (n, 3, 32, 32), labels and the number of test images, which come last: of a folder of batches or of an archive.

    Raises UserError unless it is one.
    """
    if path.is_dir():
        return (
            _binary_folder(path) if path.name == BINARY or (path / BINARY_BATCHES[0]).exists() else _python_folder(path)
        )
    return _archive(path)


def _python_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Of batches under any name. They are pickles, so the MD5 sum of each is checked before any is opened."""
    from torchvision.datasets import CIFAR10

    published = {md5: file for file, md5 in [*CIFAR10.train_list, *CIFAR10.test_list]}
    published[CIFAR10.meta["md5"]] = CIFAR10.meta["filename"]
    files = mirror.files_in(folder, (PICKLED,))
    there = {published[md5]: path for path in files if (md5 := mirror.md5_of_file(path)) in published}
    if set(there) != set(published.values()):
        raise UserError(f"{folder}: a batch is missing or has a wrong checksum; get {PYTHON_ARCHIVE} again")
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary, PYTHON).mkdir()
        for file, path in there.items():
            Path(temporary, PYTHON, file).symlink_to(path.resolve())
        train, test = CIFAR10(temporary, train=True), CIFAR10(temporary, train=False)
    images = np.concatenate([train.data, test.data]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), np.array(train.targets + test.targets), len(test.data)


def _archive(archive: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Of either archive as published, or gunzipped: then its batches are checked, or their sizes."""
    from torchvision.datasets import CIFAR10

    md5 = mirror.md5_of_file(archive)
    if md5 not in (CIFAR10.tgz_md5, BINARY_MD5) and not _is_plain_tar(archive):
        binary = archive.name == BINARY_ARCHIVE
        mirror.require_md5(archive, md5, BINARY_MD5 if binary else CIFAR10.tgz_md5)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise UserError(
                f"{archive}: cannot be unpacked ({first_line(error)}); get {PYTHON_ARCHIVE} again"
            ) from error
        absent = f"{archive}: holds no batches of CIFAR-10"
        return mirror.first_published([], mirror.folders_below(Path(temporary)), _read, absent)


def _is_plain_tar(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(262)[257:] == b"ustar"


def _binary_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    missing = [batch for batch in BINARY_BATCHES if not (folder / batch).is_file()]
    if missing:
        raise UserError(f"{folder}: has no {missing[0]}; get {BINARY_ARCHIVE} again")
    return _join([_batch(folder / batch, (folder / batch).read_bytes()) for batch in BINARY_BATCHES])


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
