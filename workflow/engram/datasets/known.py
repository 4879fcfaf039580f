"""Where images come from, by name: declarations only. A source's module is imported when it is used, and only then.

A rule's content hash follows `modules_of`, so that a change to one source does not rebuild data sets of the others.
"""

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
}
SAMPLING = "engram.datasets.sampling"  # what `subset_of` takes beside the modules of its source


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
    return (definition["train"], definition["test"]) if "subset_of" in definition else None
