"""Rule likelihood: log p of every image under the models of one repeat at one epoch, by one estimator."""

import time

from engram.files import artifacts, provenance
from engram.files.artifacts import variable
from engram.likelihood.stage import evaluate
from engram.runtime.device import claimed_device, describe
from engram.runtime.jobs import job
from engram.runtime.machine import peak_memory
from engram.training import trained

MEANING = {
    "log_px": ("nats", "importance-sampled log p(x), pixel space"),
    "elbo": ("nats", "mean log importance weight: the evidence lower bound of the proposal, pixel space"),
    "standard_error": ("nats", "standard error of log_px from the spread of the importance weights"),
    "effective_samples": ("1", "effective number of importance samples, (sum w)^2 / sum w^2"),
    "pareto_k": ("1", "Pareto shape of the largest importance weights; above 0.7 log_px is not to be trusted"),
    "samples": ("1", "importance samples the image got"),
    "fell_back": ("1", "the Laplace proposal failed and the encoder's was used"),
}

# A single sample has no standard error, and few samples no Pareto shape.
UNDEFINED = {"standard_error", "pareto_k"}

with job(snakemake.log[0]) as log:
    params, wildcards = snakemake.params, snakemake.wildcards
    data = artifacts.read(snakemake.input.dataset, "dataset")
    models = trained.load_models(snakemake.input.models, epoch=int(wildcards.epoch))
    stored = artifacts.read(snakemake.input.models, "models", ["fold"])
    folds = stored.fold.values
    repeat = -1 if wildcards.repeat == "full" else int(wildcards.repeat.removeprefix("repeat-"))
    with claimed_device(snakemake.threads) as device:
        started = time.monotonic()
        result = evaluate(
            models,
            [(wildcards.experiment, wildcards.repeat, int(fold), int(wildcards.epoch)) for fold in folds],
            data.images.values,
            tuple(int(size) for size in data.attrs["image_shape"]),
            dict(params.estimator),
            (params.seed, str(data.attrs["dataset"])),
            device,
            title=f"{wildcards.experiment} {wildcards.estimator} {wildcards.repeat} epoch {wildcards.epoch}",
        )
        wall_seconds = time.monotonic() - started
    if result.fell_back.any():
        log.warning(
            "%d of %d estimates fell back to the encoder's proposal", result.fell_back.sum(), result.fell_back.size
        )
    variables = {
        name: variable(("model", "draw", "sample"), getattr(result, name), *meaning, name in UNDEFINED)
        for name, meaning in MEANING.items()
    }
    variables |= {
        "repeat": variable(
            ("model",), [repeat] * len(folds), "1", "repeat the model belongs to; -1 for the full model"
        ),
        "fold": variable(("model",), folds, "1", "fold held out from the model; -1 for the full model"),
        "split": variable(("sample",), data.split.values, "1", "0 training image, 1 test image"),
        "label": variable(("sample",), data.label.values, "1", "class of the image, -1 if none"),
    }
    attributes = provenance.attributes(
        wildcards.experiment,
        params.seed,
        {"estimator": dict(params.estimator), "epoch": int(wildcards.epoch), "training": stored.attrs["values"]},
        estimator=wildcards.estimator,
        dataset_sha256=data.attrs["dataset_sha256"],
        device=describe(device),
        wall_seconds=wall_seconds,
        peak_memory_bytes=peak_memory(),
        fell_back_to_encoder=int(result.fell_back.sum()),
    )
    artifacts.write(snakemake.output[0], "likelihood", variables, attributes)
