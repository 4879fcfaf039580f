"""The training stage: the models of one repeat (its folds in lockstep) from the data set to models/{repeat}.h5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from engram.designs import membership
from engram.designs.repeats import FULL, repeat_name
from engram.files import artifacts, kept, provenance
from engram.files.artifacts import TRAIN
from engram.runtime.device import claimed_device, describe
from engram.runtime.jobs import log
from engram.runtime.machine import peak_memory
from engram.runtime.stopping import stop_in_time
from engram.training import trained
from engram.training.plan import Plan
from engram.training.state import StateFolder, fingerprint
from engram.training.training import Training


def train(
    dataset_path: str | Path,
    output: str | Path,
    state: str | Path,
    values: Mapping[str, Any],
    experiment: str,
    repeat: str,
    threads: int,
) -> None:
    """Train the models of `repeat`, or go on where the folder `state` stands, and write them to `output`.

    `values` are what the models depend on beside images and membership, and are stored with them: model, training,
    scored_epochs, membership and seed of the config, and the content hash of the code.
    """
    data = artifacts.read(dataset_path, "dataset")
    group = membership.groups_in(data, values["membership"] or {})
    folds, in_training = membership.models_of(
        repeat, values["membership"], data.split.values, group, values["seed"], experiment
    )
    plan = _plan(data, folds, in_training, values, experiment, repeat)
    values = dict(values) | {"repeat": repeat, "dataset_sha256": data.attrs["dataset_sha256"]}
    if repeat == repeat_name(0):
        _mind_batches(plan)
    folder = StateFolder(state, fingerprint(_lasting(values), in_training))
    with folder.locked():
        with claimed_device(threads) as device, stop_in_time() as stop:
            training = Training(plan, torch.from_numpy(data.images.values).to(device))
            training.run(folder, stop)
        attributes = provenance.attributes(
            experiment,
            plan.seed,
            values,
            dataset_sha256=data.attrs["dataset_sha256"],
            device=describe(device),
            wall_seconds=training.seconds,
            peak_memory_bytes=peak_memory(),
        )
        trained.write(output, training, folder, attributes)
    folder.remove()  # not while the lock in it is open: NFS would leave a file behind and fail


def _plan(
    data: xr.Dataset,
    folds: np.ndarray,
    in_training: np.ndarray,
    values: Mapping[str, Any],
    experiment: str,
    repeat: str,
) -> Plan:
    """What is trained; images held out are the repeat's, of the full model the test images."""
    is_train = data.split.values == TRAIN
    not_seen = ~in_training & (is_train if repeat != FULL else ~is_train)
    return Plan(
        experiment=experiment,
        repeat=repeat,
        model=dict(values["model"]),
        image_shape=tuple(int(size) for size in data.attrs["image_shape"]),
        **values["training"],
        scored_epochs=list(values["scored_epochs"]),
        seed=values["seed"],
        folds=folds.tolist(),
        trained_on=[np.flatnonzero(row) for row in in_training],
        held_out=[np.flatnonzero(row) for row in not_seen],
    )


def _mind_batches(plan: Plan) -> None:
    """Say it where there are fewer images than a batch holds: no step is then one of the size that was asked for."""
    images = max(map(len, plan.trained_on))
    if plan.batch_size > images:
        log.warning(
            "experiments.%s.training.batch_size is %d, but a model is trained on %d images: a step takes all of them, and an "
            "epoch is one step; a batch_size of %d, say, makes it four",
            *(plan.experiment, plan.batch_size, images, max(1, -(-images // 4))),
        )


def _lasting(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that every step of the training depends on: a training that is to be longer goes on from its state."""
    return {key: value for key, value in values.items() if key != "scored_epochs"} | {
        "training": kept.of_any_length(values["training"])
    }
