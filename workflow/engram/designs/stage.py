"""The membership stage: a data set and the settings of a design to membership.h5."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engram.designs.membership import design, groups_in
from engram.files import artifacts, provenance


def run(output: str | Path, dataset: str | Path, *, experiment: str, settings: Mapping[str, Any], seed: int) -> None:
    """Write the membership of one experiment by its `membership` settings in config.yaml."""
    started = time.monotonic()
    data = artifacts.read(dataset, "dataset")
    split, label = data["split"].values, data["label"].values
    membership = design(settings, split, groups_in(data, settings), seed, experiment)
    attributes = provenance.attributes(
        experiment,
        seed,
        {"membership": settings},
        dataset_sha256=data.attrs["dataset_sha256"],
        wall_seconds=time.monotonic() - started,
    )
    artifacts.write(output, "membership", membership.variables(split, label), attributes)
