"""Images of every source in one form: published data sets, embedded ones, subsets of them, the user's own, and canaries in any.

`make` builds an ImageSet in memory, `write` stores it as the dataset artifact. Importing this package is light: the
config is checked with `known()` while the workflow is parsed, long before torch or torchvision is needed.
"""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engram.datasets.known import EMBEDDED, KINDS, PUBLISHED, SOURCE, SUBSETS, modules_of
from engram.datasets.paths import expanded
from engram.errors import UserError

if TYPE_CHECKING:
    from engram.datasets.image_set import ImageSet

__all__ = ["PUBLISHED", "known", "make", "mirror_folder", "modules_of", "write"]

SEED = 42  # root of the streams that draw test sets and subsets: a data set belongs to no experiment


def known() -> tuple[str, ...]:
    """Names of the data sets that need no definition in the config."""
    return (*EMBEDDED, *SUBSETS, *PUBLISHED)


def mirror_folder(configured: str | Path | None) -> Path | None:
    """The local mirror: the config's `data_root`, else the environment variable ENGRAM_DATA_ROOT, else None (download).

    Raises UserError if it is not a folder.
    """
    written = configured or os.environ.get("ENGRAM_DATA_ROOT") or None
    if written is None:
        return None
    folder = expanded(written)
    if not os.path.isdir(folder):
        raise UserError(
            f"data_root: folder '{folder}' does not exist; name a folder that holds the published files, "
            "or leave data_root (and ENGRAM_DATA_ROOT) unset to download them"
        )
    return folder


def make(
    name: str,
    definition: dict[str, Any] | None = None,
    data_root: str | Path | None = None,
    download_dir: str | Path = "resources",
) -> "ImageSet":
    """The images of data set `name`: training images first, then test images.

    `definition` is the config's entry under `datasets`, None for a name of `known()`. It has one of the keys subset_of,
    canaries_of, folder, npz, hdf5, manifold, and those that docs/own_images.md, docs/canaries.md and docs/data_dimension.md
    explain beside it. Canaries in a data set that is not built in need its definition, too: see
    `engram.datasets.known.with_source`.
    Published files are read from the folder `data_root` (see `mirror_folder`), or downloaded once to `download_dir`.

    Raises UserError for a name, a definition or a file that cannot be used.
    """
    definition = SUBSETS.get(name) if definition is None else definition
    if definition is None:
        return _built_in(name, data_root, download_dir)
    stream = (SEED, "dataset", name)
    if "subset_of" in definition:
        from engram.datasets import sampling

        image_set = _built_in(definition["subset_of"], data_root, download_dir)
        return sampling.subset(image_set, name, definition, stream)
    if "canaries_of" in definition:
        from engram.datasets import canaries

        image_set = make(definition["canaries_of"], definition.get(SOURCE), data_root, download_dir)
        return canaries.plant(image_set, name, definition, stream)
    for kind, loader in KINDS.items():
        if kind in definition:
            return _imported(loader)(name, definition, stream)
    kinds = ", ".join(["subset_of", "canaries_of", *KINDS])
    raise UserError(f"datasets.{name}: has the keys {list(definition)}, needs one of {kinds}")


def _built_in(name: str, data_root: str | Path | None, download_dir: str | Path) -> "ImageSet":
    if name in SUBSETS:
        return make(name, SUBSETS[name], data_root, download_dir)
    loader = (EMBEDDED | PUBLISHED).get(name)
    if loader is None:
        raise UserError(f"dataset: '{name}' is neither one of {', '.join(known())} nor defined under `datasets`")
    return _imported(loader)(name, mirror_folder(data_root), Path(download_dir))


def _imported(loader: str) -> Callable[..., "ImageSet"]:
    module, _, function = loader.partition(":")
    return getattr(importlib.import_module(module), function)


def write(
    path: str | Path, name: str, definition: dict[str, Any] | None, image_set: "ImageSet", **more: Any
) -> dict[str, Any]:
    """Store `image_set` as the dataset artifact; `more` are further attributes, such as wall_seconds.

    Returns the summary of what was read, as `engram.datasets.summary` explains it.
    """
    from engram.datasets import summary
    from engram.files import artifacts, provenance
    from engram.files.artifacts import variable

    sample = ("sample",)
    variables = {
        "images": variable(("sample", "pixel"), image_set.images, "1", "grey level from 0 (black) to 255"),
        "label": variable(sample, image_set.labels, "1", "class, an index into label_names; -1 = none"),
        "split": variable(sample, image_set.split, "1", "0 = training image, 1 = test image"),
        "source_index": variable(sample, image_set.source_index, "1", "index of the image in its source's own order"),
        "path": variable(sample, image_set.path, "1", "file of the image in its folder, or its index in its array"),
        "class_name": variable(sample, image_set.class_names(), "1", "name of the class; empty = none"),
    }
    if image_set.group is not None:
        variables["group"] = variable(sample, image_set.group, "1", "images of one group belong together; -1 = none")
    if image_set.canary is not None:
        variables["canary"] = variable(sample, image_set.canary, "1", "what was planted; empty = an ordinary image")
        variables["dose"] = variable(
            sample, image_set.dose, "1", "times a planted image stands among the training images; 0 = not planted"
        )
    if image_set.dimension is not None:
        variables["dimension"] = variable(sample, image_set.dimension, "1", "known dimension of the data at the image")
    summarized = summary.summarize(image_set)
    attributes = provenance.attributes("", SEED, {"dataset": name, "definition": definition}, **more)
    attributes |= {
        "dataset": name,
        "image_shape": list(image_set.image_shape),
        "dataset_sha256": image_set.sha256(),
        "source": image_set.source,
        "label_names": image_set.label_names,
        "summary": json.dumps(summarized, ensure_ascii=False),
    }
    artifacts.write(path, "dataset", variables, attributes)
    return summarized
