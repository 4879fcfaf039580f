"""Which images of a folder are of which class and split, whatever way people lay such folders out.

The first level of folders are the classes; what lies deeper belongs to them. If one of them is called train and another test
or val (in any case), they are the split, and the classes are the level below, or there are none.
"""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from engram.datasets.folder_files import Names, images_below
from engram.datasets.paths import readable
from engram.datasets.reading import Reading
from engram.datasets.split_names import PARTS, split_of
from engram.files.artifacts import TEST, TRAIN

NO_CLASS = {"images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "data"}  # where nothing lies beside


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
    images = images_below(folder, reading)
    wrapper = _wrapper(images)
    tops = {names[len(wrapper)] for names in images if len(names) > len(wrapper) + 1}
    part_of = split_of(tops)
    if not part_of and tops and all(map(_is_part, tops)):
        reading.problem(f"folders {' and '.join(sorted(tops))} are a split without a train folder")
    by_part: dict[str, list[tuple[str, Names]]] = {"train": [], "val": [], "test": []}
    inner = {top: _inner(top, [names[len(wrapper) :] for names in images]) for top in part_of}
    for names in images:
        path, below = "/".join(names), names[len(wrapper) :]
        if part_of and below[0] not in part_of:
            reading.skip("images beside the folders of the split", path)
        elif part_of:
            by_part[part_of[below[0]]].append((path, below[inner[below[0]] :]))
        else:
            by_part["train"].append((path, below))
    if by_part["test"]:
        for path, _ in by_part["val"]:
            reading.skip("validation images, left out because there is a test folder", path)
    test = by_part["test"] or by_part["val"]
    placed = _with_classes(by_part["train"], TRAIN, reading) + _with_classes(test, TEST, reading)
    _note_names(placed, reading)
    return placed, _in_words(part_of)


def _is_part(folder: str) -> bool:
    return folder.lower() in PARTS


def _wrapper(images: list[Names]) -> Names:
    """Folders around all images that are no classes: archives unpack to them, and lone `train` and `images` are such."""
    wrapper: Names = ()
    while True:
        below = [names[len(wrapper) :] for names in images]
        tops = {names[0] for names in below}
        if len(tops) != 1 or any(len(names) < 2 for names in below):
            return wrapper
        top = tops.pop()
        holds_folders = all(len(names) > 2 for names in below) and len({names[:-1] for names in below}) > 1
        if not (holds_folders or _is_part(top) or top.lower() in NO_CLASS):
            return wrapper
        wrapper = (*wrapper, top)


def _inner(top: str, images: list[Names]) -> int:
    """Levels of a part above its classes: 1, or 2 where all lies in a folder of the same name or in one called images."""
    second = {names[1] if len(names) > 2 else "" for names in images if names[0] == top}
    return 2 if len(second) == 1 and next(iter(second)).lower() in NO_CLASS | {top.lower()} else 1


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
        if split_of(folders):
            reading.problem("holds a split; let train and test be the folders above the classes", name + "/")
    return [ImageFile(path, split, _class_name(below[0]) if by_class else "") for path, below in entries]


def _class_name(folder: str) -> str:
    """In the normal form NFC: two systems spell the same name in different bytes."""
    return unicodedata.normalize("NFC", readable(folder))


def _note_names(files: list[ImageFile], reading: Reading) -> None:
    """Classes that may be none, or one."""
    names = sorted({file.class_name for file in files} - {""})
    folded = Counter(name.casefold() for name in names)
    for name in names:
        if folded[name.casefold()] > 1:
            reading.remark("classes whose names differ in case only", name)
        if name.lower() in NO_CLASS | {"masks", "mask", "labels", "annotations"}:
            reading.remark("folders read as classes, though their names do not sound so", name)
        if len(names) == len(files) > 1:
            reading.remark("classes of one image each", name)
