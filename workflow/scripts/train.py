"""Rule train: the models of one repeat (its K folds, or the full model), trained in lockstep."""

import numpy as np
import torch

from engram.designs import membership
from engram.files import artifacts, provenance
from engram.runtime.device import claimed_device, describe
from engram.runtime.jobs import job
from engram.runtime.machine import peak_memory
from engram.runtime.stopping import stop_in_time
from engram.training import trained
from engram.training.state import StateFolder, fingerprint
from engram.training.training import Plan, Training

with job(snakemake.log[0]):
    params, repeat = snakemake.params, snakemake.wildcards.repeat
    data = artifacts.read(snakemake.input.dataset, "dataset")
    folds, in_training = membership.models_of(artifacts.read(snakemake.input.membership, "membership"), repeat)
    is_train = data.split.values == 0
    not_seen = ~in_training & (is_train if repeat != "full" else ~is_train)
    plan = Plan(
        experiment=snakemake.wildcards.experiment,
        repeat=repeat,
        model=dict(params.model),
        image_shape=tuple(int(size) for size in data.attrs["image_shape"]),
        **params.training,
        scored_epochs=list(params.scored_epochs),
        seed=params.seed,
        folds=folds.tolist(),
        trained_on=[np.flatnonzero(row) for row in in_training],
        held_out=[np.flatnonzero(row) for row in not_seen],
    )
    values = {name: params[name] for name in ("model", "training", "scored_epochs", "seed", "code")}
    values |= {"repeat": repeat, "dataset_sha256": data.attrs["dataset_sha256"]}
    folder = StateFolder(params.state, fingerprint(values, in_training))
    with folder.locked():
        with claimed_device(snakemake.threads) as device, stop_in_time() as stop:
            training = Training(plan, torch.from_numpy(data.images.values).to(device))
            training.run(folder, stop)
        attributes = provenance.attributes(
            plan.experiment,
            plan.seed,
            values,
            dataset_sha256=data.attrs["dataset_sha256"],
            device=describe(device),
            wall_seconds=training.seconds,
            peak_memory_bytes=peak_memory(),
        )
        trained.write(snakemake.output[0], training, folder, attributes)
    folder.remove()  # not while the lock in it is open: NFS would leave a file behind and fail
