"""The likelihood stage: models, images and an estimator's settings to likelihood/{estimator}/{repeat}/epoch-{epoch}.h5."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from engram.designs.membership import FULL
from engram.errors import about
from engram.files import artifacts, provenance
from engram.files.artifacts import variable
from engram.likelihood.estimation import is_bound
from engram.likelihood.evaluation import Evaluation, evaluate
from engram.likelihood.importance import Estimate
from engram.models.conditions import conditions
from engram.runtime.device import claimed_device, describe
from engram.runtime.jobs import log
from engram.runtime.machine import peak_memory
from engram.training import trained

MEANING = {
    "log_px": ("nats", "importance-sampled log p(x), pixel space"),
    "elbo": ("nats", "mean log importance weight: the evidence lower bound of the proposal, pixel space"),
    "standard_error": ("nats", "standard error of log_px from the spread of the importance weights"),
    "effective_samples": ("1", "effective number of importance samples, (sum w)^2 / sum w^2"),
    "pareto_k": ("1", "Pareto shape of the largest importance weights; above 0.7 log_px is not to be trusted"),
    "samples": ("1", "importance samples the image got"),
    "fell_back": ("1", "the Laplace proposal could not be had and the model's own was used"),
}
# What differs where nothing is importance-sampled: of an exact log p, and of a bound from one draw and from several.
EXACT = {"log_px": ("nats", "log p(x) of the model itself, pixel space")}
BOUND = {
    "log_px": ("nats", "lower bound on log p(x), pixel space"),
    "elbo": ("nats", "the same lower bound"),
    "standard_error": (
        "nats",
        "standard error of log_px from the spread of its samples, taken for independent: too large of evenly spaced ones",
    ),
}
BOUND_OF_DRAWS = BOUND | {
    "standard_error": (
        "nats",
        "standard error of log_px from one draw: standard deviation of log_px over the draws, the same for each draw",
    )
}

# A single sample has no standard error, few samples have no Pareto shape, and an exact log p has no samples at all.
UNDEFINED = {"standard_error", "effective_samples", "pareto_k"}


def run(
    output: str | Path,
    models: str | Path,
    dataset: str | Path,
    *,
    experiment: str,
    estimator: str,
    repeat: str,
    epoch: int,
    settings: Mapping[str, Any],
    seed: int,
    threads: int,
) -> None:
    """Write log p of every image of `dataset` under the `models` of one repeat as they were after `epoch`.

    `settings` are those of the estimator in config.yaml that log p depends on (engram.likelihood.evaluation).
    """
    data = artifacts.read(dataset, "dataset")
    networks = trained.load_models(models, epoch)
    stored = artifacts.read(models, "models", ["fold"])
    names = [(experiment, repeat, int(fold), epoch) for fold in stored.fold.values]
    image_shape = tuple(int(size) for size in data.attrs["image_shape"])
    with claimed_device(threads) as device:
        started = time.monotonic()
        evaluation = Evaluation(settings, image_shape, (seed, str(data.attrs["dataset"])), device)
        title = f"{experiment} {estimator} {repeat} epoch {epoch}"
        with about(f"experiments.{experiment}, estimator {estimator}"):
            given = conditions(networks[0], data.label.values)
            estimates = evaluate(evaluation, networks, names, data.images.values, title, given)
        wall_seconds = time.monotonic() - started
    bound = is_bound(networks[0], settings["proposal"])
    fell_back = int(estimates.fell_back.sum())
    if fell_back:
        log.warning("%d of %d estimates fell back to the model's own proposal", fell_back, estimates.fell_back.numel())
    attributes = provenance.attributes(
        experiment,
        seed,
        {"estimator": dict(settings), "epoch": epoch, "training": stored.attrs["values"]},
        estimator=estimator,
        dataset_sha256=data.attrs["dataset_sha256"],
        device=describe(device),
        wall_seconds=wall_seconds,
        peak_memory_bytes=peak_memory(),
        fell_back_to_encoder=fell_back,
        log_px_is_bound=int(bound),
    )
    of_images = variables(
        estimates, repeat, stored.fold.values, data, meanings(settings["proposal"], bound, evaluation.draws)
    )
    artifacts.write(output, "likelihood", given_class(of_images) if given else of_images, attributes)


def meanings(proposal: str, bound: bool, draws: int) -> dict[str, tuple[str, str]]:
    """Units and meaning of each field of an estimate, by the estimator's proposal, whether it is a bound, and its draws."""
    if bound:
        return MEANING | (BOUND_OF_DRAWS if draws > 1 else BOUND)
    return MEANING | (EXACT if proposal == "exact" else {})


def variables(
    estimates: Estimate, repeat: str, folds: np.ndarray, data: xr.Dataset, meanings: Mapping[str, tuple[str, str]]
) -> dict[str, tuple]:
    """The artifact's variables: the estimates, what they mean, and which models and images they are of."""
    number = -1 if repeat == FULL else int(repeat.removeprefix("repeat-"))
    return {
        name: variable(("model", "draw", "sample"), _in_float32(getattr(estimates, name)), *meaning, name in UNDEFINED)
        for name, meaning in meanings.items()
    } | {
        "repeat": variable(
            ("model",), [number] * len(folds), "1", "repeat the model belongs to; -1 for the full model"
        ),
        "fold": variable(("model",), folds, "1", "fold held out from the model; -1 for the full model"),
        "split": variable(("sample",), data.split.values, "1", "0 training image, 1 test image"),
        "label": variable(("sample",), data.label.values, "1", "class of the image, -1 if none"),
    }


def given_class(variables: dict[str, tuple]) -> dict[str, tuple]:
    """The same variables, called what they are under models with classes: log p(x | class)."""
    return {
        name: (axes, values, about | {"long_name": about["long_name"].replace("log p(x)", "log p(x | class)")})
        for name, (axes, values, about) in variables.items()
    }


def _in_float32(values: Tensor) -> np.ndarray:
    """Floating-point numbers in float32, whatever the model's precision; counts and flags as they are."""
    return (values.float() if values.is_floating_point() else values).numpy()
