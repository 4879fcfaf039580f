"""The model check stage: an experiment's model and a few of its images to model_check/{digest}.json, or to lines about faults."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engram.checks.examination import Uses, examine
from engram.checks.findings import Outcome
from engram.errors import UserError, about
from engram.files import artifacts, atomic
from engram.models.building import build
from engram.models.conditions import conditions
from engram.models.protocols import classes
from engram.randomness import generator
from engram.runtime.jobs import log

IMAGES = 8  # in the batch


def run(
    output: str | Path,
    dataset: str | Path,
    *,
    experiment: str,
    model: Mapping[str, Any],
    uses: Uses,
    code: str,
    threads: int,
) -> None:
    """Examine `model`, an experiment's in config.yaml, on images of `dataset`, and write what was checked to `output`.

    `uses` is what the experiment asks of it; `code` is the content hash of what trains it.
    Raises UserError with a line for each fault.
    """
    started = time.monotonic()
    torch.set_num_threads(threads)
    settings, subject = dict(model), f"experiments.{experiment}.model"
    name = settings.pop("name")
    with about(subject):
        outcome = examine(name, settings, _some_images(dataset), uses)
        if not outcome.findings:
            _require_labels(name, settings, dataset)
    for line in outcome.not_checked:
        log.warning("%s: not checked: %s", subject, line)
    outcome.raise_findings(subject)
    record = {
        "experiment": experiment,
        "model": dict(model),
        "analyses": list(uses.analyses),
        "proposals": dict(uses.proposals),
        "checked": outcome.checked,
        "not_checked": outcome.not_checked,
        "code": code,
    }
    log.info("checked in %.2f seconds", time.monotonic() - started)
    atomic.write(output, json.dumps(record, indent=2).encode())


def _require_labels(name: str, settings: Mapping[str, Any], dataset: str | Path) -> None:
    """Raise UserError unless the images of a data set have the classes that the model learns, if it learns any."""
    shape = artifacts.attributes(dataset, "dataset")["image_shape"]
    model = build(name, tuple(int(size) for size in shape), **settings)
    if classes(model):
        conditions(model, artifacts.read(dataset, "dataset", ["label"])["label"].values)


def check(name: str, image_shape: tuple[int, int, int], settings: Mapping[str, Any]) -> Outcome:
    """What is wrong with a model, on images of random grey levels."""
    if min(image_shape) < 1:
        raise UserError(f"image_shape: is {list(image_shape)}, must be channels, height and width, each at least 1")
    levels = generator(0, "model check", "images").integers(0, 256, (IMAGES, *image_shape), dtype=np.uint8)
    return examine(name, dict(settings), torch.from_numpy(levels))


def _some_images(dataset: str | Path) -> Tensor:
    """The first images of a data set, (8, *image_shape) uint8; again from the first where there are fewer."""
    data = artifacts.read(dataset, "dataset", ["images"], sample=slice(0, IMAGES - 1))
    shape = tuple(int(size) for size in data.attrs["image_shape"])
    return torch.from_numpy(np.resize(data["images"].values, (IMAGES, *shape)))
