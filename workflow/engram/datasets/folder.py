"""The user's own images: a folder of files, with or without classes and a split."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engram.datasets import image_file
from engram.datasets.folder_files import endings_there
from engram.datasets.folder_layout import ImageFile, image_files
from engram.datasets.image_file import GREY, PIXEL_MODES, RGB, Header, Target, Unreadable, is_deep
from engram.datasets.image_set import ImageSet, from_source
from engram.datasets.paths import absent, expanded, readable
from engram.datasets.reading import Reading, enumerated
from engram.datasets.sampling import split_by_fraction
from engram.datasets.sizes import fitting_size
from engram.errors import UserError
from engram.files.untrusted import require_room
from engram.randomness import Name
from engram.runtime.jobs import Progress

UNREADABLE = "cannot be read as an image"
DEEP_COLOUR = (0, 65535)
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")
ARRAYS = {".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5"}


def load(name: str, definition: dict[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """Images upright, in the order of their paths: all of one size, or cropped and resized to `image_size` squared.

    definition: {folder, test_fraction, image_size, mode, background, value_range}, as docs/own_images.md explains them.
    Sub-folders named train and test (or val) are the split; otherwise a share `test_fraction` (0.1) is drawn by class.

    Raises UserError with everything that is wrong with the folder, each kind counted and its first five files named.
    """
    key, folder, reading = f"datasets.{name}.folder", expanded(definition["folder"]), Reading()
    _require_folder(key, definition["folder"], folder)
    files, split_folders = image_files(folder, reading)
    if not files and not reading.problems:
        held = endings_there(folder)
        packed = "; unpack it first" if any(ending in held for ending in ARCHIVES) else ""
        raise UserError(
            f"{key}: no images (.png .jpg .tif ...) in or below '{folder}'"
            + (f"; it holds {held}" if held else "")
            + packed
        )
    headers = _headers(folder, files, definition.get("image_size", 0), reading)
    target, shape = _target(definition, headers, reading)
    images = _pixels(name, folder, list(headers), target, shape, reading)
    reading.refuse(f"{key}: in '{folder}'")

    label_names = sorted({file.class_name for file in files} - {""})
    index = {"": -1} | {label: k for k, label in enumerate(label_names)}
    whole = from_source(
        images,
        shape,
        np.array([index[file.class_name] for file in files]),
        np.array([file.split for file in files]),
        label_names,
        f"{len(files)} images of the folder {folder}",
        [readable(file.path) for file in files],
        reading=replace(reading, split=f"the folders {split_folders}"),
    )
    if split_folders:
        reading.note_unused(definition)
    return whole if split_folders else split_by_fraction(whole, name, definition.get("test_fraction", 0.1), stream)


def _require_folder(key: str, written: str, folder: Path) -> None:
    try:
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, ValueError):  # a name too long, or with a null byte
        is_folder = is_file = False
    if is_file:
        kind = ARRAYS.get(folder.suffix.lower())
        raise UserError(
            f"{key}: '{written}' is a file; "
            + (f"write {kind}: {written}" if kind else "name the folder of the images")
        )
    if not is_folder:
        raise UserError(f"{key}: '{written}' does not exist or is not a folder{absent(written)}")


def _headers(folder: Path, files: list[ImageFile], side: int, reading: Reading) -> dict[str, Header]:
    """Header of each file that has one, by its path; what is odd goes to `reading`."""
    headers = {}
    for file in files:
        try:
            headers[file.path] = header = image_file.header(folder / file.path)
        except Unreadable as error:
            reading.problem(UNREADABLE, file.path, str(error))
            continue
        reading.used[f"{_size(header)} {header.kind}"] += 1
        if min(header.width, header.height) < side:
            reading.remark("smaller than image_size, and enlarged", file.path)
        if header.frames > 1:
            reading.remark("animated or of several pages; the first is read", file.path)
    return headers


def _target(
    definition: dict[str, Any], headers: dict[str, Header], reading: Reading
) -> tuple[Target | None, tuple[int, int, int]]:
    """What to turn the files into, and (C, H, W); or problems, and no target."""
    kinds, sizes = defaultdict(list), defaultdict(list)
    for path, header in headers.items():
        kinds[header.kind].append(path)
        sizes[_size(header)].append(path)
    value_range = tuple(definition["value_range"]) if "value_range" in definition else None
    mode = {"grey": GREY, "rgb": RGB}.get(definition.get("mode", ""))
    side = definition.get("image_size")
    problems = len(reading.problems)
    _check_depth(kinds, value_range, reading)
    if mode is None and set(kinds) <= {GREY, RGB, *filter(is_deep, kinds), f"16-bit {RGB}"}:
        modes = {RGB if kind.endswith(RGB) else GREY for kind in kinds}
        mode = modes.pop() if len(modes) == 1 else None
    if mode is None and kinds:
        advice = "write mode: rgb, or mode: grey, and they are converted (transparency over background: white)"
        reading.problem(f"they are not all grey or all RGB: {_several(kinds)}; {advice}")
    if side is None and len(sizes) > 1:
        shortest = min(min(header.width, header.height) for header in headers.values())
        advice = f"write image_size: {fitting_size(shortest)}, say, and their middle squares are resized to it"
        reading.problem(f"they differ in size: {_several(sizes)}; {advice}")
    if len(reading.problems) > problems or not headers or mode is None:
        return None, (0, 0, 0)
    first = next(iter(headers.values()))
    shape = ({GREY: 1, RGB: 3}[mode], side or first.height, side or first.width)
    try:
        require_room("the data set", len(headers) * int(np.prod(shape)))
    except ValueError as error:
        reading.problem(f"{error}; write image_size: {fitting_size(min(shape[1:]))}, say, to read them smaller")
    return Target(PIXEL_MODES[mode], side, definition.get("background", "white"), value_range), shape


def _check_depth(kinds: dict[str, list[str]], value_range: tuple[float, float] | None, reading: Reading) -> None:
    """Levels of more than 8 bits have no black and white that one could guess."""
    deep = {kind: paths for kind, paths in kinds.items() if is_deep(kind) or kind.startswith("16-bit")}
    if deep and len(deep) < len(kinds):
        reading.problem(f"some have more than 8 bits a level: {_several(kinds)}; save all of them with 8 bits")
    elif colours := {kind: paths for kind, paths in deep.items() if not is_deep(kind)}:
        if value_range != DEEP_COLOUR:
            advice = f"write value_range: {list(DEEP_COLOUR)} to read the upper 8, or save them with 8 bits"
            reading.problem(f"they have 16 bits a colour: {_several(colours)}; {advice}")
    elif deep and value_range is None:
        advice = "say which level is black and which is white, such as value_range: [0, 65535]"
        reading.problem(f"they have more than 8 bits a level: {_several(deep)}; {advice}")


def _size(header: Header) -> str:
    return f"{header.width} x {header.height}"


def _several(kinds: dict[str, list[str]]) -> str:
    """Kinds with their counts, most frequent first, and the names of the rarer ones."""
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    words = [f"{len(paths)} {kind} ({enumerated(paths)})" for kind, paths in ordered]
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more kinds" if len(words) > 5 else "")


def _pixels(
    name: str,
    folder: Path,
    paths: list[str],
    target: Target | None,
    shape: tuple[int, int, int],
    reading: Reading,
) -> np.ndarray:
    """Images (n, C*H*W). Without a target the files are decoded for their faults only, to tell all of them at once."""
    images = np.zeros((len(paths) if target else 0, int(np.prod(shape))), np.uint8)
    with Progress(len(paths), f"{name}: reading", "image") as progress:
        for index, path in enumerate(paths):
            said: list[str] = []
            try:
                if target is None:
                    image_file.check(folder / path, said)
                else:
                    images[index] = _row(image_file.pixels(folder / path, target, said), shape)
            except Unreadable as error:
                reading.problem(UNREADABLE, path, str(error))
            for words in said:
                reading.remark(f"read, but with the warning {words!r}", path)
            progress.update(1)
    return images


def _row(pixels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    if pixels.shape != (*shape[1:], shape[0]):
        raise Unreadable(f"it is {pixels.shape[1]} x {pixels.shape[0]}, unlike its header says")
    return np.moveaxis(pixels, -1, 0).reshape(-1)
