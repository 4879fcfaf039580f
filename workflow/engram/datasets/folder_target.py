"""Into which mode and size the files of a folder are turned; what cannot be told is asked for, with what is there."""

from collections import defaultdict
from typing import Any

import numpy as np

from engram.datasets.image_file import GREY, PIXEL_MODES, RGB, Header, Target, is_deep
from engram.datasets.reading import Reading, enumerated
from engram.datasets.sizes import fitting_size
from engram.files.untrusted import require_room

DEEP_COLOUR = (0, 65535)
CHANNELS = {GREY: 1, RGB: 3}
NOTHING = (0, 0, 0)  # shape of images that cannot be made

Kinds = dict[str, list[str]]  # paths by kind


def target_of(
    definition: dict[str, Any], headers: dict[str, Header], reading: Reading
) -> tuple[Target | None, tuple[int, int, int]]:
    """What to turn the files into, and (C, H, W); or problems in `reading`, and None."""
    kinds, sizes = defaultdict(list), defaultdict(list)
    for path, header in headers.items():
        kinds[header.kind].append(path)
        sizes[header.size].append(path)
    value_range = tuple(definition["value_range"]) if "value_range" in definition else None
    side, before = definition.get("image_size"), len(reading.problems)
    _check_depth(kinds, value_range, reading)
    mode = {"grey": GREY, "rgb": RGB}.get(definition.get("mode", "")) or _common_mode(kinds, reading)
    shortest = min((min(header.width, header.height) for header in headers.values()), default=0)
    if side is None and len(sizes) > 1:
        advice = f"write image_size: {fitting_size(shortest)}, say, and their middle squares are resized to it"
        reading.problem(f"they differ in size: {_several(sizes)}; {advice}")
    if len(reading.problems) > before or mode is None:
        return None, NOTHING
    first = next(iter(headers.values()))
    shape = (CHANNELS[mode], side or first.height, side or first.width)
    try:
        require_room("the data set", len(headers) * int(np.prod(shape)))
    except ValueError as error:
        reading.problem(f"{error}; write image_size: {fitting_size(shortest)}, say, to read them smaller")
    return Target(PIXEL_MODES[mode], side, definition.get("background", "white"), value_range), shape


def _common_mode(kinds: Kinds, reading: Reading) -> str | None:
    """ "grey" or "RGB" if all files are that without loss; else None, and a problem."""
    modes = {
        RGB if kind in (RGB, f"16-bit {RGB}") else GREY if kind == GREY or is_deep(kind) else kind for kind in kinds
    }
    if len(modes) == 1 and modes <= set(CHANNELS):
        return modes.pop()
    if kinds:
        advice = "write mode: rgb, or mode: grey, and they are converted (transparency over background: white)"
        reading.problem(f"they are not all grey or all RGB: {_several(kinds)}; {advice}")
    return None


def _check_depth(kinds: Kinds, value_range: tuple[float, float] | None, reading: Reading) -> None:
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


def _several(kinds: Kinds) -> str:
    """Kinds with their counts, most frequent first, and the names of the rarer ones."""
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    words = [f"{len(paths)} {kind} ({enumerated(paths)})" for kind, paths in ordered]
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more kinds" if len(words) > 5 else "")
