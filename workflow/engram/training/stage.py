"""The training stage: the models of one repeat (its folds in lockstep) from the data set to models/{repeat}.h5."""

import time
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
from engram.training import fitted, trained
from engram.training.plan import Plan
from engram.training.state import StateFolder, fingerprint
from engram.training.training import Training

# A fit is the first and only epoch; it takes all images at once, and no steps.
FITTED = {"epochs": 1, "batch_size": 1, "learning_rate": 0.0}


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
    scored_epochs, membership and seed of the config, and the content hash of the code. Models that are fitted in closed form have
    training None, and the scored epoch 1.
    """
    data = artifacts.read(dataset_path, "dataset")
    group = membership.groups_in(data, values["membership"] or {})
    folds, in_training, enters = membership.models_of(
        repeat, values["membership"], data.split.values, group, values["seed"], experiment
    )
    plan = _plan(data, folds, in_training, enters, values, experiment, repeat)
    values = dict(values) | {"repeat": repeat, "dataset_sha256": data.attrs["dataset_sha256"]}
    if values["training"] is None:
        _fit(plan, data, output, values, threads)
        return
    if repeat == repeat_name(0):
        _mind_batches(plan)
    folder = StateFolder(state, fingerprint(_lasting(values), in_training))
    with folder.locked():
        with claimed_device(threads) as device, stop_in_time() as stop:
            training = Training(plan, torch.from_numpy(data.images.values).to(device), data.label.values)
            training.run(folder, stop)
        trained.write(output, training, folder, _made_by(plan, values, device, training.seconds))
    folder.remove()  # not while the lock in it is open: NFS would leave a file behind and fail


def _fit(plan: Plan, data: xr.Dataset, output: str | Path, values: Mapping[str, Any], threads: int) -> None:
    """The same of models that are fitted in closed form, in one go."""
    started = time.monotonic()
    with claimed_device(threads) as device:
        images = torch.from_numpy(data.images.values).to(device)
        models, losses = fitted.fit(plan, images, str(data.attrs["dataset"]))
        made_by = _made_by(plan, values, device, time.monotonic() - started)
        trained.write_models(output, plan, models[0].observation, fitted.stacked(models), losses, made_by)


def _made_by(plan: Plan, values: Mapping[str, Any], device: torch.device, seconds: float) -> dict[str, Any]:
    return provenance.attributes(
        plan.experiment,
        plan.seed,
        dict(values),
        dataset_sha256=values["dataset_sha256"],
        device=describe(device),
        wall_seconds=seconds,
        peak_memory_bytes=peak_memory(),
    )


def _plan(
    data: xr.Dataset,
    folds: np.ndarray,
    in_training: np.ndarray,
    enters: np.ndarray | None,
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
        **(values["training"] or FITTED),
        scored_epochs=list(values["scored_epochs"]),
        seed=values["seed"],
        folds=folds.tolist(),
        trained_on=[np.flatnonzero(row) for row in in_training],
        held_out=[np.flatnonzero(row) for row in not_seen],
        enters=None if enters is None else [of_model[row] for of_model, row in zip(enters, in_training, strict=True)],
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
