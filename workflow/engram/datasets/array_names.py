"""Which of a file's arrays are the images, the labels, the groups: by the names people give them, or by the config's.

`images`, `labels` and so on, alone or by part: x_train, train_images, test/labels, in any case.
"""

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from engram.datasets.array_files import ArrayFile
from engram.datasets.split_names import PARTS

# What an array is, by its name; of several in one file the first counts, and the others are told to be left out.
NAMES = {
    "images": ("images", "image", "imgs", "img", "x", "data"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "group": ("group", "groups"),
    "split": ("split",),
    "label_names": ("label_names", "class_names"),
}
KEYS = ("images", "labels", "test_images", "test_labels", "group", "split", "label_names")  # of the config
ROLE_OF = {name: role for role, names in NAMES.items() for name in names}
EITHER = "|".join(PARTS)
PATTERN = re.compile(
    rf"(?:(?P<before>{EITHER})[_./ -]?(?:set[_./ -]?)?)?(?P<what>{'|'.join(ROLE_OF)})(?:[_./ -]?(?P<after>{EITHER}))?",
    re.I,
)


@dataclass
class Roles:
    """Names of arrays by role, for the images to train on ("train": all of them if there is no other part) and "test"."""

    train: dict[str, str] = field(default_factory=dict)
    test: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)  # validation arrays beside test arrays


def roles(file: ArrayFile, definition: dict[str, Any]) -> Roles:
    """The arrays of a file by role. Raises UserError, listing what the file holds, if its images are not told."""
    conventional = _by_convention(file.names)
    named = {key: definition[key] for key in KEYS if isinstance(definition.get(key), str)}
    for key, name in named.items():
        if name not in file.names:
            close = difflib.get_close_matches(name, file.names, 1)
            advice = f"; did you mean {close[0]}?" if close else ""
            raise file.fault(f"has no array {name!r} ({key}); it holds {file.described()}{advice}")
    if "images" in named:
        return _as_named(named, conventional)
    if tests := [key for key in named if key.startswith("test_")]:
        raise file.fault(f"{tests[0]} is stated, but images is not; write images: NAME, too")
    chosen = _as_found(conventional)
    if "images" not in chosen.train:
        raise file.fault(
            f"has no array 'images', nor x_train, train_images or the like; it holds {file.described()}; "
            "name the array of images, such as images: NAME, and labels: NAME if it has any"
        )
    for key in ("labels", "group", "split", "label_names"):
        if key in definition:
            chosen.train.pop(key, None)
            chosen.train |= {key: named[key]} if key in named else {}
    return chosen


def _by_convention(names: list[str]) -> dict[tuple[str, str], str]:
    """Array of each part ("" = the whole) and role."""
    conventional: dict[tuple[str, str], list[str]] = {}
    for name in names:
        match = PATTERN.fullmatch(name)
        if match and not (match["before"] and match["after"]):
            part = PARTS.get((match["before"] or match["after"] or "").lower(), "")
            conventional.setdefault((part, ROLE_OF[match["what"].lower()]), []).append(name)
    return {
        (part, role): min(several, key=lambda name: _rank(role, name)) for (part, role), several in conventional.items()
    }


def _rank(role: str, name: str) -> int:
    what = PATTERN.fullmatch(name)["what"].lower()
    return NAMES[role].index(what)


def _as_named(named: dict[str, str], conventional: dict[tuple[str, str], str]) -> Roles:
    """Nothing is guessed beside images that are named, but what carries the plain names."""
    plain = {role: name for (part, role), name in conventional.items() if not part and role != "images"}
    train = {role: name for role, name in (plain | named).items() if not role.startswith("test_")}
    test = {key.removeprefix("test_"): name for key, name in named.items() if key.startswith("test_")}
    return Roles(train, test if "images" in test else {})


def _as_found(conventional: dict[tuple[str, str], str]) -> Roles:
    parts = {
        part: {role: name for (of, role), name in conventional.items() if of == part}
        for part in ("", "train", "val", "test")
    }
    if "images" in parts[""]:
        return Roles(parts[""])
    shared = {role: name for role, name in parts[""].items() if role == "label_names"}
    has_test = "images" in parts["test"]
    test = parts["test"] if has_test else parts["val"] if "images" in parts["val"] else {}
    return Roles(shared | parts["train"], test, list(parts["val"].values()) if has_test else [])
