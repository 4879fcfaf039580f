"""The files of a folder that may be images, and what else lies there: noted, not dropped in silence."""

import os
from collections import Counter
from pathlib import Path

from engram.datasets.image_file import ENDINGS, looks_like_image
from engram.datasets.reading import Reading

OF_THE_SYSTEM = {"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information", "__pycache__"}
PICTURES_NOT_READ = {".heic", ".heif", ".svg", ".dng", ".cr2", ".nef", ".arw", ".raw", ".eps", ".pdf", ".wmf", ".emf"}

Names = tuple[str, ...]  # of folders and file, below the folder


def images_below(folder: Path, reading: Reading) -> list[Names]:
    """Images by their names' endings, in the order of their paths; a folder that cannot be read is a problem of `reading`."""
    return [names for names in _files(folder, reading) if _is_image(folder, names, reading)]


def _files(folder: Path, reading: Reading) -> list[Names]:
    """Every file below the folder, in order, but those of hidden folders and of the system."""
    files: list[Names] = []
    waiting: list[tuple[Names, frozenset[str]]] = [((), frozenset([os.path.realpath(folder)]))]
    while waiting:
        names, above = waiting.pop()
        try:
            entries = list(os.scandir(folder.joinpath(*names)))
        except OSError as error:
            reading.problem("folder cannot be read", "/".join(names) or ".", error.strerror or "")
            continue
        if names and not entries:
            reading.skip("empty folders", "/".join(names) + "/")
        for entry in entries:
            below, path = (*names, entry.name), "/".join((*names, entry.name))
            if entry.name.startswith(".") or entry.name.lower() in OF_THE_SYSTEM:
                reading.skip("hidden, or the system's own", path + ("/" if entry.is_dir() else ""))
            elif not entry.is_dir():
                files.append(below)
            elif (real := os.path.realpath(entry.path)) in above:
                reading.skip("links to a folder that they lie in", path)
            else:
                waiting.append((below, above | {real}))
    return sorted(files)


def _is_image(folder: Path, names: Names, reading: Reading) -> bool:
    path, ending = folder.joinpath(*names), _ending(names)
    if not path.is_file() and not path.is_symlink():  # a link to nothing is an image that cannot be read
        kind = "neither files nor folders"
    elif ending in ENDINGS:
        return True
    elif ending in PICTURES_NOT_READ:
        kind = f"pictures of a format that is not read ({ending}); save them as PNG"
    elif looks_like_image(path):
        kind = "images by content whose names have no image's ending; rename them"
    else:
        kind = f"no images ({ending or 'no ending'})"
    reading.skip(kind, "/".join(names))
    return False


def _ending(names: Names) -> str:
    return os.path.splitext(names[-1])[1].lower()


def endings_there(folder: Path) -> str:
    """What a folder without images holds: its files' endings, counted."""
    endings = Counter(_ending(names) or "no ending" for names in _files(folder, Reading()))
    return ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
