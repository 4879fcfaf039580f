"""What was read, counted: for the terminal, the data set's file and the report.

In the artifact it is the attribute `summary` (JSON); `rows(json.loads(dataset.attrs["summary"]))` are its lines.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from engram.datasets import duplicates
from engram.datasets.image_set import ImageSet
from engram.datasets.paths import printable
from engram.datasets.reading import NAMED, enumerated
from engram.files.artifacts import TEST, TRAIN

AT_ONCE = 4096  # images, so that memory stays bounded
CLASSES = 50  # shown; the others are counted
DIM = 32  # brightest level of all below which images may be masks or of another range


def summarize(image_set: ImageSet) -> dict[str, Any]:
    """The counts of an ImageSet, as plain values.

    source, split: texts; image_shape: [C, H, W]; training, test: numbers of images; used: kind -> number of images;
    skipped, remarks: kind -> {count, first: names of five}; constant: {count, first}, images of a single colour;
    classes: name -> [training, test images], 50 at most, and more_classes; value_range: [darkest, brightest level];
    duplicates: images equal to an earlier one, within_training and within_test, and test images equal to a training image,
    across_split; groups_across_split: number of groups with training and test images; planted: kind of canary -> {dose: number
    of images planted that many times}, {} where there are none; dimensions: known dimension of the data -> [training, test
    images], {} where nobody knows.
    """
    reading, test = image_set.reading, image_set.split == TEST
    spread = _spread(image_set.images)
    classes = _classes(image_set)
    return {
        "source": image_set.source,
        "image_shape": list(image_set.image_shape),
        "training": int((image_set.split == TRAIN).sum()),
        "test": int(test.sum()),
        "split": reading.split,
        "used": dict(reading.used.most_common(NAMED)),
        "skipped": {kind: _counted(names) for kind, names in reading.skipped.items()},
        "remarks": {kind: _counted(names) for kind, names in reading.remarks.items()},
        "classes": dict(list(classes.items())[:CLASSES]),
        "more_classes": max(0, len(classes) - CLASSES),
        "duplicates": _duplicates(image_set.images, test),
        "planted": _planted(image_set),
        "dimensions": _dimensions(image_set),
        "groups_across_split": _groups_across(image_set.group, test),
        "constant": _counted(list(image_set.path[spread[:, 0] == spread[:, 1]])),
        "value_range": [int(spread[:, 0].min()), int(spread[:, 1].max())],
    }


def rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, text) of each line of a summary."""
    channels, height, width = summary["image_shape"]
    count = f"{summary['training']} training and {summary['test']} test images"  # which a subset's source says, too
    lines = [
        ("images", summary["source"] if summary["source"].startswith(count) else f"{count} from: {summary['source']}"),
        ("stored as", f"{width} x {height} {'grey' if channels == 1 else 'RGB'}, levels {_range(summary)}"),
        ("split by", summary["split"] or "the source"),
    ]
    if summary["used"]:
        lines.append(("read", ", ".join(f"{count} of {kind}" for kind, count in summary["used"].items())))
    if summary["classes"]:
        shown = [f"{name} ({train} + {test})" for name, (train, test) in summary["classes"].items()]
        more = f" and {summary['more_classes']} more" if summary["more_classes"] else ""
        lines.append(("classes (training + test)", ", ".join(shown) + more))
    if summary.get("dimensions"):
        shown = [f"{name} ({train} + {test})" for name, (train, test) in summary["dimensions"].items()]
        lines.append(("known dimension (training + test)", ", ".join(shown)))
    if summary.get("planted"):
        lines.append(("planted", "; ".join(_words(kind, doses) for kind, doses in summary["planted"].items())))
    return lines + oddities(summary)


def oddities(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines that a user should look at: what was left out, what may be wrong."""
    lines = [("left out", _kind(kind, counted)) for kind, counted in summary["skipped"].items()]
    lines += [("note", _kind(kind, counted)) for kind, counted in summary["remarks"].items()]
    # What was planted is in groups already.
    advice = "" if summary.get("planted") else " (membership can hold them out together: groups_from)"
    words = {
        "within_training": f"training images are copies of another one{advice}",
        "within_test": "test images are copies of another one",
        "across_split": "test images are copies of a training image",
    }
    lines += [("duplicates", f"{count} {words[which]}") for which, count in summary["duplicates"].items() if count]
    if summary["groups_across_split"]:
        lines.append(("groups", f"{summary['groups_across_split']} groups have training and test images"))
    if summary["constant"]["count"]:
        lines.append(("constant", _kind("images of a single colour", summary["constant"])))
    if 0 < summary["value_range"][1] < DIM:
        brightest = summary["value_range"][1]
        lines.append(
            (
                "dark",
                f"no level is above {brightest} of 255; if it should be white, write value_range: [0, {brightest}]",
            )
        )
    return lines


def tell(log: logging.Logger, name: str, summary: Mapping[str, Any]) -> None:
    """Every line to the log, and what is odd to the terminal, too."""
    odd = oddities(summary)
    for line in rows(summary):
        log.log(logging.WARNING if line in odd else logging.INFO, "%s: %s: %s", name, *map(printable, line))


def _range(summary: Mapping[str, Any]) -> str:
    return "{} to {}".format(*summary["value_range"])


def _counted(names: list[str]) -> dict[str, Any]:
    return {"count": len(names), "first": [str(name) for name in names[:NAMED]]}


def _kind(kind: str, counted: Mapping[str, Any]) -> str:
    more = counted["count"] - len(counted["first"])
    return f"{counted['count']} {kind}: {enumerated(counted['first'])}" + (f" and {more} more" if more else "")


def _classes(image_set: ImageSet) -> dict[str, list[int]]:
    counts = {}
    for split in (TRAIN, TEST):
        labels = image_set.labels[image_set.split == split]
        counts[split] = np.bincount(labels[labels >= 0], minlength=len(image_set.label_names))
    both = zip(image_set.label_names, counts[TRAIN].tolist(), counts[TEST].tolist(), strict=True)
    return {name: [train, test] for name, train, test in both}


def _spread(images: np.ndarray) -> np.ndarray:
    """Darkest and brightest level of each image, (n, 2)."""
    parts = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
    return np.concatenate([np.stack([part.min(axis=1), part.max(axis=1)], axis=1) for part in parts])


def _duplicates(images: np.ndarray, test: np.ndarray) -> dict[str, int]:
    group = duplicates.groups(images)
    copied = group != duplicates.ALONE
    trained = np.unique(group[copied & ~test])
    across = int(np.isin(group[copied & test], trained).sum())
    within = {
        side: int((copied & mask).sum() - len(np.unique(group[copied & mask])))
        for side, mask in (("t", ~test), ("s", test))
    }
    return {"within_training": within["t"], "within_test": within["s"], "across_split": across}


def _planted(image_set: ImageSet) -> dict[str, dict[str, int]]:
    """Of each kind of canary and dose, how many images were planted."""
    if image_set.canary is None:
        return {}
    counts = Counter(zip(image_set.canary.tolist(), image_set.dose.tolist(), strict=True))
    planted: dict[str, dict[str, int]] = {}
    for (kind, dose), rows in sorted(counts.items()):
        if kind:
            planted.setdefault(kind, {})[str(dose)] = rows // dose
    return planted


def _dimensions(image_set: ImageSet) -> dict[str, list[int]]:
    """Training and test images of each known dimension."""
    if image_set.dimension is None:
        return {}
    counts = {each: image_set.split[image_set.dimension == each] for each in np.unique(image_set.dimension)}
    return {f"{each:g}": [int((split == TRAIN).sum()), int((split == TEST).sum())] for each, split in counts.items()}


def _words(kind: str, doses: Mapping[str, int]) -> str:
    """What was planted of a kind of canary: "copy: 20 images 1 time, 20 images 2 times"."""
    return f"{kind}: " + ", ".join(
        f"{images} image{'s' if images > 1 else ''} {dose} time{'s' if dose != '1' else ''}"
        for dose, images in doses.items()
    )


def _groups_across(group: np.ndarray | None, test: np.ndarray) -> int:
    return 0 if group is None else int((np.intersect1d(group[test], group[~test]) >= 0).sum())
