"""Images of every source in one form: published data sets, embedded ones, subsets of them, and the user's own.

`make` builds an ImageSet in memory, `write` stores it as the dataset artifact. Importing this package is light: the
config is checked with `known()` while the workflow is parsed, long before torch or torchvision is needed.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engram.errors import UserError

if TYPE_CHECKING:
    from engram.datasets.image_set import ImageSet

SEED = 42  # root of the streams that draw test sets and subsets: a data set belongs to no experiment
PUBLISHED = ("mnist", "fashion_mnist", "cifar10", "celeba")
EMBEDDED = ("mnist5k", "mnist1k")


def known() -> tuple[str, ...]:
    """Names of the data sets that need no definition in the config."""
    return EMBEDDED + PUBLISHED


def mirror_folder(configured: str | Path | None) -> Path | None:
    """The local mirror: the config's `data_root`, else the environment variable ENGRAM_DATA_ROOT, else None (download).

    Raises UserError if it is not a folder.
    """
    folder = configured or os.environ.get("ENGRAM_DATA_ROOT") or None
    if folder and not os.path.isdir(folder):
        raise UserError(
            f"data_root: folder '{folder}' does not exist; name a folder that holds the published files, "
            "or leave data_root (and ENGRAM_DATA_ROOT) unset to download them"
        )
    return Path(folder) if folder else None


def make(
    name: str,
    definition: dict[str, Any] | None = None,
    data_root: str | Path | None = None,
    download_dir: str | Path = "resources",
) -> "ImageSet":
    """The images of data set `name`: training images first, then test images.

    `definition` is the config's entry under `datasets`, None for a name of `known()`: one of
    {subset_of, train, test}, {folder, test_fraction, image_size}, {npz, test_fraction}, {hdf5, test_fraction}.
    Published files are read from the folder `data_root` (see `mirror_folder`), or downloaded once to `download_dir`.

    Raises UserError for a name, a definition or a file that cannot be used.
    """
    mirror, download_dir = mirror_folder(data_root), Path(download_dir)
    if definition is None:
        return _built_in(name, mirror, download_dir)
    stream = (SEED, "dataset", name)
    if "subset_of" in definition:
        from engram.datasets import sampling

        whole = _built_in(definition["subset_of"], mirror, download_dir)
        return sampling.subset(whole, name, definition.get("train"), definition.get("test"), stream)
    from engram.datasets import user_arrays, user_folder

    for kind, load in {"folder": user_folder.load, "npz": user_arrays.load, "hdf5": user_arrays.load}.items():
        if kind in definition:
            return load(name, definition, stream)
    raise UserError(f"datasets.{name}: has the keys {list(definition)}, needs one of subset_of, folder, npz, hdf5")


def _built_in(name: str, mirror: Path | None, download_dir: Path) -> "ImageSet":
    from engram.datasets import celeba, cifar, embedded, idx

    if name == "mnist5k":
        return embedded.mnist5k((SEED, "dataset", name))
    if name == "mnist1k":
        return make(name, {"subset_of": "mnist5k", "train": 1000, "test": 500})
    loaders = {"mnist": idx.load, "fashion_mnist": idx.load, "cifar10": cifar.load, "celeba": celeba.load}
    if name not in loaders:
        raise UserError(f"dataset: '{name}' is neither one of {', '.join(known())} nor defined under `datasets`")
    return loaders[name](name, mirror, download_dir)


def write(path: str | Path, name: str, definition: dict[str, Any] | None, image_set: "ImageSet", **more: Any) -> None:
    """Store `image_set` as the dataset artifact; `more` are further attributes, such as wall_seconds."""
    from engram.files import artifacts, provenance
    from engram.files.artifacts import variable

    sample = ("sample",)
    variables = {
        "images": variable(("sample", "pixel"), image_set.images, "1", "grey level from 0 (black) to 255"),
        "label": variable(sample, image_set.labels, "1", "class, an index into label_names; -1 = none"),
        "split": variable(sample, image_set.split, "1", "0 = training image, 1 = test image"),
        "source_index": variable(sample, image_set.source_index, "1", "index of the image in its source's own order"),
    }
    attributes = provenance.attributes("", SEED, {"dataset": name, "definition": definition}, **more)
    attributes |= {
        "dataset": name,
        "image_shape": list(image_set.image_shape),
        "dataset_sha256": image_set.sha256(),
        "source": image_set.source,
        "label_names": image_set.label_names,
    }
    artifacts.write(path, "dataset", variables, attributes)
