"""Whether the user's own images have changed: a hash of what a folder or file holds, read again only where it may differ."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from engram.files import atomic

CACHE = Path(".snakemake/engram-own-images.json")  # beside Snakemake's own records: it is of this working copy
NOT_IMAGES = {"thumbs.db", "desktop.ini", "__macosx"}  # what operating systems leave behind; hidden files, too


def content_hash(source: str | Path, cache: Path = CACHE) -> str:
    """Hash of the names and contents of all files in a folder, or of one file; "absent" if there is neither.

    Names, sizes and time stamps are compared first; the contents are read only where these differ from when they were last
    read, which `cache` remembers. So touched or copied images have the same hash, and 60,000 of them cost a second.
    """
    source = Path(source)
    stamps = hashlib.sha256()
    files = [*_files(source)]
    for name, path in files:
        status = path.stat()
        stamps.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    if not files:
        return "absent"
    known = _known(cache)
    if known.get(str(source), {}).get("stamps") != stamps.hexdigest():
        known[str(source)] = {"stamps": stamps.hexdigest(), "content": _content(files)}
        atomic.write(cache, json.dumps(known).encode())
    return known[str(source)]["content"]


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Every file with its path within the source, in order."""
    if source.is_file():
        yield "", source
    seen = {os.path.realpath(source)}
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = [name for name in sorted(filter(_counts, folders)) if _is_new(os.path.join(folder, name), seen)]
        for name in sorted(filter(_counts, names)):
            path = Path(folder, name)
            if path.is_file():
                yield path.relative_to(source).as_posix(), path


def _is_new(folder: str, seen: set[str]) -> bool:
    """Whether a folder has not been met yet: a link may lead back to one that holds it."""
    real = os.path.realpath(folder)
    return real not in seen and not seen.add(real)


def _counts(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in NOT_IMAGES


def _content(files: list[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{name}\0{content}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _known(cache: Path) -> dict[str, dict[str, str]]:
    try:
        return json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
