"""Which files of a folder are images of which class and split, whatever way people lay such folders out.

The first level of folders are the classes; what lies deeper belongs to them. If one of them is called train and another test
or val (in any case), they are the split, and the classes are the level below, or there are none.
"""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from engram.datasets.image_file import ENDINGS, looks_like_image
from engram.datasets.image_set import TEST, TRAIN
from engram.datasets.paths import readable
from engram.datasets.reading import Reading

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
OF_THE_SYSTEM = {"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information", "__pycache__"}
PICTURES_NOT_READ = {".heic", ".heif", ".svg", ".dng", ".cr2", ".nef", ".arw", ".raw", ".eps", ".pdf", ".wmf", ".emf"}

Names = tuple[str, ...]  # of folders and file, below the folder


@dataclass(frozen=True)
class ImageFile:
    """An image of the folder: path below it as the file system spells it, split, and class ("" = none)."""

    path: str
    split: int
    class_name: str


def image_files(folder: Path, reading: Reading) -> tuple[list[ImageFile], str]:
    """Images in the order of their paths, training images first, and the folders that make the split ("" = none).

    What is left out is noted in `reading`, and what cannot be right is a problem there.
    """
    images = [names for names in _files(folder, reading) if _is_image(folder, names, reading)]
    wrapper = _wrapper(images)
    part_of = _parts({names[len(wrapper)] for names in images if len(names) > len(wrapper) + 1})
    has_test = "test" in part_of.values()
    files: dict[int, list[tuple[str, Names]]] = {TRAIN: [], TEST: []}
    for names in images:
        path, below = "/".join(names), names[len(wrapper) :]
        part = part_of.get(below[0]) if part_of else "train"
        if part is None:
            reading.skip("images beside the folders of the split", path)
        elif part == "val" and has_test:
            reading.skip("validation images, left out because there is a test folder", path)
        else:
            files[TRAIN if part == "train" else TEST].append((path, below[1:] if part_of else below))
    found = [file for split, entries in files.items() for file in _with_classes(entries, split, reading)]
    _note_names(found, reading)
    return found, _in_words(part_of)


def _files(folder: Path, reading: Reading) -> list[Names]:
    """Every file below the folder, in order, but those of hidden folders and of the system."""
    found: list[Names] = []
    waiting: list[tuple[Names, frozenset[str]]] = [((), frozenset([os.path.realpath(folder)]))]
    while waiting:
        names, above = waiting.pop()
        try:
            entries = list(os.scandir(folder.joinpath(*names)))
        except OSError as error:
            reading.problem("folder cannot be read", "/".join(names) or ".", error.strerror or "")
            continue
        for entry in entries:
            below, path = (*names, entry.name), "/".join((*names, entry.name))
            hidden = entry.name.startswith(".") or entry.name.lower() in OF_THE_SYSTEM
            if hidden:
                reading.skip("hidden, or the system's own", path + ("/" if entry.is_dir() else ""))
            elif not entry.is_dir():
                found.append(below)
            elif (real := os.path.realpath(entry.path)) in above:
                reading.skip("links to a folder that they lie in", path)
            else:
                waiting.append((below, above | {real}))
    return sorted(found)


def _is_image(folder: Path, names: Names, reading: Reading) -> bool:
    ending = os.path.splitext(names[-1])[1].lower()
    if ending in ENDINGS:
        return True
    if ending in PICTURES_NOT_READ:
        kind = f"pictures of a format that is not read ({ending}); save them as PNG"
    elif looks_like_image(folder.joinpath(*names)):
        kind = "images by content whose names have no image's ending; rename them"
    else:
        kind = f"no images ({ending or 'no ending'})"
    reading.skip(kind, "/".join(names))
    return False


def _wrapper(images: list[Names]) -> Names:
    """Folders that hold all images in their sub-folders, as archives unpack to: no classes."""
    wrapper: Names = ()
    while True:
        below = [names[len(wrapper) :] for names in images]
        tops = {names[0] for names in below}
        deep = all(len(names) > 2 for names in below)
        if len(tops) != 1 or not (deep or (len(below[0]) > 1 and next(iter(tops)).lower() in PARTS)):
            return wrapper
        wrapper = (*wrapper, tops.pop())


def _parts(tops: set[str]) -> dict[str, str]:
    """Folder -> "train", "val" or "test" if the folders are a split, else {}."""
    parts = {top: PARTS[top.lower()] for top in tops if top.lower() in PARTS}
    return parts if {"train"} < set(parts.values()) else {}


def _in_words(part_of: dict[str, str]) -> str:
    """The folders of the split: "train, val (the test set: there is no test folder)"."""
    has_test = "test" in part_of.values()
    used = sorted(readable(name) for name, part in part_of.items() if part != "val" or not has_test)
    stands_in = " (the test set: there is no test folder)" if part_of and not has_test else ""
    return ", ".join(used) + stands_in


def _with_classes(entries: list[tuple[str, Names]], split: int, reading: Reading) -> list[ImageFile]:
    """Images of one split: each by class folder, or none."""
    by_class = any(len(below) > 1 for _, below in entries)
    inner: dict[str, set[str]] = {}
    for path, below in entries:
        if by_class and len(below) == 1:
            reading.problem("lies beside class folders; put it into one of them", path)
        if len(below) > 2:
            inner.setdefault(below[0], set()).add(below[1])
    for name, folders in inner.items():
        if _parts(folders):
            reading.problem("holds a split; let train and test be the folders above the classes", name + "/")
    return [ImageFile(path, split, _class_name(below[0]) if by_class else "") for path, below in entries]


def _class_name(folder: str) -> str:
    """In the normal form NFC: two systems spell the same name in different bytes."""
    return unicodedata.normalize("NFC", readable(folder))


def _note_names(files: list[ImageFile], reading: Reading) -> None:
    """Classes that differ in case only, which may be one or two."""
    folded = Counter(name.casefold() for name in {file.class_name for file in files})
    for name in sorted({file.class_name for file in files}):
        if folded[name.casefold()] > 1:
            reading.remark("classes whose names differ in case only", name)


def endings_there(folder: Path) -> str:
    """What a folder without images holds: its files' endings, counted."""
    found = Counter(os.path.splitext(names[-1])[1].lower() or "no ending" for names in _files(folder, Reading()))
    return ", ".join(f"{count} {ending}" for ending, count in found.most_common(5))
