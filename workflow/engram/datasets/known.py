"""Where images come from, by name: declarations only. A source's module is imported when it is used, and only then.

A rule's content hash follows `modules_of`, so that a change to one source does not rebuild data sets of the others.
"""

from collections.abc import Iterator, Mapping
from typing import Any

# name -> loader(name, data_root, download_dir)
EMBEDDED = {"mnist5k": "engram.datasets.embedded:load"}
PUBLISHED = {
    "mnist": "engram.datasets.idx:load",
    "fashion_mnist": "engram.datasets.idx:load",
    "cifar10": "engram.datasets.cifar:load",
    "celeba": "engram.datasets.celeba:load",
}
# Built in, too, and defined as a user defines a subset.
SUBSETS = {"mnist1k": {"subset_of": "mnist5k", "train": 1000, "test": 500}}
# name -> training and test images that there are
IMAGES = {
    "mnist5k": (4_500, 500),
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "celeba": (162_770, 39_829),
}
# key of an entry under `datasets` that says what it is -> loader(name, definition, stream)
KINDS = {
    "folder": "engram.datasets.folder:load",
    "npz": "engram.datasets.arrays:load",
    "hdf5": "engram.datasets.arrays:load",
    "manifold": "engram.datasets.manifolds:load",
}
SAMPLING = "engram.datasets.sampling"  # what `subset_of` takes beside the modules of its source
PLANTING = "engram.datasets.canaries"  # and `canaries_of`
# What `canaries_of` plants unless told otherwise: for each of the doses so many copies, and so many of the other kinds.
CANARIES: dict[str, Any] = {"doses": [1, 2, 4, 8], "copies": 20, "near_copies": 20, "outliers": 20, "noise": 20}
# Settings that a manifold takes, by its name; and what it has unless told otherwise.
MANIFOLDS = {
    "subspace": ("dimension",),
    "sphere": ("dimension",),
    "mixture": ("dimensions",),
    "lollipop": ("copies",),
    "circle_with_point": ("copies",),
}
MANIFOLD: dict[str, Any] = {"image_size": 16, "copies": 10}
SOURCE = "definition_of_source"  # key under which `with_source` hands on the definition of what canaries are planted in


def with_source(name: str, defined: dict[str, Any]) -> dict[str, Any] | None:
    """The definition of a data set among those of the config, with that of its source where canaries are planted in one of these.

    None for a built-in data set. The job that makes a data set knows no other definition than this.

    >>> with_source("mine", {"mine": {"canaries_of": "photos"}, "photos": {"folder": "photos"}})
    {'canaries_of': 'photos', 'definition_of_source': {'folder': 'photos'}}
    """
    definition = defined.get(name)
    source = (definition or {}).get("canaries_of")
    return definition | {SOURCE: defined[source]} if source in defined else definition


def comes_from(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition that says where images come from: of a data set with canaries that of its source, {} for a built-in one."""
    return definition.get(SOURCE, {}) if "canaries_of" in definition else definition


def canaries_in(definition: dict[str, Any]) -> dict[str, Any]:
    """doses, copies, near_copies, outliers and noise, as the definition states them or by default."""
    return {key: definition.get(key, default) for key, default in CANARIES.items()}


def number_planted(definition: dict[str, Any]) -> int:
    """Training images whose places canaries take.

    >>> number_planted({"canaries_of": "mnist", "doses": [1, 4], "copies": 10, "near_copies": 5, "outliers": 0, "noise": 0})
    25
    """
    asked = canaries_in(definition)
    return len(asked["doses"]) * asked["copies"] + asked["near_copies"] + asked["outliers"] + asked["noise"]


def in_manifold(definition: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a manifold, as its definition states them or by default."""
    return MANIFOLD | dict(definition)


def coordinates_of(asked: Mapping[str, Any]) -> int:
    """How many coordinates a manifold lies in, of which images have one a pixel."""
    match asked["manifold"]:
        case "subspace":
            return asked["dimension"]
        case "sphere":
            return asked["dimension"] + 1
        case "mixture":
            return max(asked["dimensions"]) + len(asked["dimensions"])
        case _:
            return 2


def mistakes_in_manifold(definition: Mapping[str, Any]) -> Iterator[str]:
    """One line per mistake between the keys of a manifold, to stand behind the name of its data set.

    >>> list(mistakes_in_manifold({"manifold": "sphere", "dimension": 256, "train": 100, "test": 10}))
    [': its sphere lies in 257 coordinates, but images of 16 x 16 have 256 pixels; state a larger image_size']
    """
    manifold, asked = definition["manifold"], in_manifold(definition)
    takes, side = MANIFOLDS[manifold], asked["image_size"]
    lacking = [key for key in takes if key not in asked]
    for key in ("dimension", "dimensions", "copies"):
        if key in definition and key not in takes:
            yield f" has {key}, which a {manifold} does not take; leave it out"
    for key in lacking:
        yield f" lacks {key}, which a {manifold} needs"
    if not lacking and coordinates_of(asked) > side**2:
        yield (
            f": its {manifold} lies in {coordinates_of(asked)} coordinates, but images of {side} x {side} have {side**2} pixels; "
            "state a larger image_size"
        )
    if not lacking and "dimensions" in takes and len(asked["dimensions"]) > asked["train"]:
        yield f".train is {asked['train']}, fewer than its {len(asked['dimensions'])} dimensions; state more"
    if "copies" in takes and asked["copies"] >= asked["train"]:
        yield f".train is {asked['train']}, of which {asked['copies']} are copies of a point; state more, or fewer copies"


def modules_of(name: str, definition: dict[str, Any] | None) -> list[str]:
    """Modules that `engram.datasets.make(name, definition)` imports by name: [] for a name or a definition it refuses.

    >>> modules_of("mine", {"subset_of": "mnist", "train": 100, "test": 10})
    ['engram.datasets.idx', 'engram.datasets.sampling']
    """
    definition = SUBSETS.get(name) if definition is None else definition
    if definition is None:
        loaders = [loader for known in (EMBEDDED, PUBLISHED) for key, loader in known.items() if key == name]
    elif "subset_of" in definition:
        return sorted({*modules_of(definition["subset_of"], None), SAMPLING})
    elif "canaries_of" in definition:
        return sorted({*modules_of(definition["canaries_of"], definition.get(SOURCE)), PLANTING})
    else:
        loaders = [loader for key, loader in KINDS.items() if key in definition]
    return sorted({loader.partition(":")[0] for loader in loaders})


def images_of(name: str, definition: dict[str, Any] | None = None) -> tuple[int, int] | None:
    """Numbers of training and test images of a data set; None where only its files tell.

    >>> images_of("mine", {"subset_of": "mnist", "train": 100, "test": 10})
    (100, 10)
    """
    definition = SUBSETS.get(name) if definition is None else definition
    if definition is None:
        return IMAGES.get(name)
    if "canaries_of" in definition:
        return _with_canaries(definition)
    states_them = "subset_of" in definition or "manifold" in definition
    return (definition["train"], definition["test"]) if states_them else None


def _with_canaries(definition: dict[str, Any]) -> tuple[int, int] | None:
    source = images_of(definition["canaries_of"], definition.get(SOURCE))
    asked = canaries_in(definition)
    more = asked["copies"] * sum(dose - 1 for dose in asked["doses"]) + asked["near_copies"]
    return source and (source[0] + more, source[1])
