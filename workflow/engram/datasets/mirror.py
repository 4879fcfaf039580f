"""Published files in a local folder: known by their checksum, whatever they are called and whatever they lie in."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from engram.errors import UserError

DEEPEST = 5  # levels below the folder that are searched
MOST_FILES = 2000  # of a folder that is searched: more are images, not archives
GZIP_MAGIC = b"\x1f\x8b"

T = TypeVar("T")


def first_published(named: Iterable[Path], others: Iterable[Path], read: Callable[[Path], T], absent: str) -> T:
    """`read(path)` of the first file for which it raises no UserError: of those that exist by their published name, then of others.

    Raises UserError: what is wrong with the named one, or `absent` if there is none.
    """
    complaint = UserError(absent)
    for paths, is_named in ((filter(os.path.exists, named), True), (others, False)):
        for path in paths:
            try:
                return read(path)
            except UserError as error:
                if is_named and str(complaint) == absent:
                    complaint = error
    raise complaint


def absent(name: str, root: Path, subfolders: list[str], files: list[str]) -> str:
    """That a mirror lacks a data set, and what was looked for."""
    return (
        f"data_root: folder '{root}' has no files of {name}; expected {' or '.join(files)} in it "
        f"or in its sub-folder {' or '.join(folder for folder in subfolders if folder != '.')}, or their content elsewhere below it"
    )


def named(root: Path, subfolders: list[str], files: list[str]) -> list[Path]:
    """Where files lie by their published names: in the folder, or beside it if it is one level too deep."""
    return [base / subfolder / file for base in (root, root.parent) for subfolder in subfolders for file in files]


def folders_below(root: Path) -> Iterator[Path]:
    """The folder and those below it, the upper ones first, five levels deep; none that is hidden or cannot be read."""
    level = [root]
    for _ in range(DEEPEST):
        yield from level
        level = [
            Path(entry.path) for folder in level for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)
        ]


def files_below(root: Path, starts: tuple[bytes, ...]) -> Iterator[Path]:
    """Files below the folder whose unpacked content begins with one of `starts`."""
    for folder in folders_below(root):
        yield from files_in(folder, starts)


def files_in(folder: Path, starts: tuple[bytes, ...]) -> Iterator[Path]:
    """Files of the folder itself whose unpacked content begins with one of `starts`."""
    files = [Path(entry.path) for entry in _entries(folder) if entry.is_file()]
    for path in files if len(files) <= MOST_FILES else []:
        if _start(path, max(map(len, starts))).startswith(starts):
            yield path


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        return sorted((entry for entry in os.scandir(folder) if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError:
        return []


def _start(path: Path, length: int) -> bytes:
    try:
        with open(path, "rb") as file:
            start = file.read(max(length, 2))
        if start.startswith(GZIP_MAGIC):
            with gzip.open(path) as file:
                start = file.read(length)
    except (OSError, EOFError, zlib.error):
        return b""
    return start


def unpacked(path: Path) -> bytes:
    """The content of a file, gunzipped if it is gzipped, whatever its name says. Raises UserError if it is damaged."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); get the file again") from error


def require_md5(path: Path, md5: str, published: str) -> None:
    """Raise UserError unless the MD5 sum `md5` for `path` is the `published` one."""
    if md5 != published:
        raise UserError(f"{path}: is not the published file: its content's MD5 is {md5}, must be {published}")


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def md5_of_file(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); get the file again") from error
