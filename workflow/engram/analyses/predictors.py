"""Can memorization be told without training models for it? Measures of the images alone and of the full model, held against M.

M needs models that were not trained on an image. These measures need none: the zero-training baselines look at the images
(engram.analyses.baselines), the others at the one model that was trained on all of them. A measure of a model is worth its training
where it ranks images by M better than distance_5nn does, which costs seconds; so each is compared with that, too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from engram.analyses import baselines, ekfac
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.judged_images import JudgedImages
from engram.analyses.objective import differentiated, draws_of, log_px, way_to_log_px, why_no_gradients
from engram.analyses.self_influence import ekfac_self_influence, rate_at, squared_norms
from engram.files import inputs
from engram.files.artifacts import TRAIN, variable
from engram.randomness import generator
from engram.scores import intervals

TO_BEAT = "distance_5nn"
OBJECTIVE = "objective of the full model"
# What each is, by name, with its units; higher where it speaks for memorization.
PREDICTORS = {
    "distance_5nn": (
        "1",
        f"mean distance to the {baselines.NEIGHBOURS} nearest other training images, pixels in [0, 1]",
    ),
    "pca_leverage": (
        "1",
        f"leverage in the {baselines.COMPONENTS} leading principal components of the training images",
    ),
    "distance_from_class_mean": ("1", "distance from the mean training image of the class, pixels in [0, 1]"),
    "surprisal": ("nats", "-log p(x) of the full model at the last scored epoch, pixel space"),
    "loss_trajectory": ("nats", "-log p(x) of the full model, mean over scored epochs, pixel space"),
    "loss_drop": ("nats", "-log p(x) of the full model at the first scored epoch minus that at the last"),
    "gradient_norm": ("1", f"root mean square norm of the gradient of the {OBJECTIVE} at the last scored epoch"),
    "tracin": (
        "1",
        f"TracIn self-influence: sum over scored epochs of learning rate x |gradient of the {OBJECTIVE}|^2",
    ),
    "tracin_last_layer": ("1", "TracIn self-influence by the weights of the last layer alone"),
    "ekfac_self_influence": ("1", f"g'(F + damping)^-1 g, by EK-FAC, of the gradient g of the {OBJECTIVE}"),
}
BY_LOG_PX = ("surprisal", "loss_trajectory", "loss_drop")
BY_GRADIENTS = ("gradient_norm", "tracin", "tracin_last_layer", "ekfac_self_influence")


@dataclass
class Found:
    """Values (n,) of the predictors that were had, why others were not, and the seconds that each took, by name."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def put(self, name: str, values: np.ndarray, seconds: float) -> None:
        self.values[name], self.seconds[name] = values, seconds

    def lack(self, reason: str, *names: str) -> None:
        self.lacking |= dict.fromkeys(names, reason)


def analyse(given: Inputs) -> Answer:
    """Every predictor of every scored image, and its rank correlation with each estimator's score at the last scored epoch."""
    judged = JudgedImages.of(given.dataset, given.first["sample"].values, given.seed, "objective")
    found = Found()
    _from_images(given.dataset, judged.rows, found)
    full_model = given.full_model(given.epoch)
    _from_log_px(given, full_model, judged, found)
    _from_gradients(given, full_model, judged, found)
    settings = {
        "epochs": _epochs(given),
        "draws": draws_of(full_model),
        "log_px": way_to_log_px(full_model),
        "components": baselines.COMPONENTS,
        "damping": ekfac.DAMPING,
        "resamples": intervals.RESAMPLES,
    }
    return Answer(_variables(found, given, settings), settings, lacking=found.lacking, seconds=found.seconds)


def _epochs(given: Inputs) -> list[int]:
    """At which the full model was kept."""
    return [int(epoch) for epoch in given.first["epoch"].values]


def _timed(ask: Callable[[], Any]) -> tuple[Any, float]:
    """An answer, and the seconds that it took."""
    started = time.perf_counter()
    return ask(), time.perf_counter() - started


def _from_images(dataset: xr.Dataset, scored: np.ndarray, found: Found) -> None:
    train = np.flatnonzero(dataset["split"].values == TRAIN)
    images, label = dataset["images"].values[train], dataset["label"].values[train]
    asked = {
        "distance_5nn": lambda: baselines.distance_to_nearest(images),
        "pca_leverage": lambda: baselines.leverage(images),
    }
    if (label >= 0).any():
        asked["distance_from_class_mean"] = lambda: baselines.distance_from_class_mean(images, label)
    else:
        found.lack("no image has a class", "distance_from_class_mean")
    for name, ask in asked.items():
        values, seconds = _timed(ask)
        found.put(name, values[np.searchsorted(train, scored)], seconds)


def _from_log_px(given: Inputs, full_model: nn.Module, judged: JudgedImages, found: Found) -> None:
    if way_to_log_px(full_model) is None:
        found.lack("the full model offers no way to log p", *BY_LOG_PX)
        return
    each = [_timed(lambda epoch=epoch: -log_px(given.full_model(epoch), judged)) for epoch in _epochs(given)]
    loss, seconds = (list(part) for part in zip(*each, strict=True))
    found.put("surprisal", loss[-1], seconds[-1])
    if len(loss) < 2:
        found.lack("the full model was kept at one epoch only, and it takes two", "loss_trajectory", "loss_drop")
        return
    found.put("loss_trajectory", np.mean(loss, axis=0), sum(seconds))
    found.put("loss_drop", loss[0] - loss[-1], seconds[0] + seconds[-1])


def _from_gradients(given: Inputs, full_model: nn.Module, judged: JudgedImages, found: Found) -> None:
    why_not = why_no_gradients(full_model, judged)
    if why_not:
        found.lack(why_not, *BY_GRADIENTS)
        return
    model = differentiated(full_model, judged)
    _from_squared_norms(given, judged, found, last_layer=bool(model.layers))
    if model.layers:
        found.put("ekfac_self_influence", *_timed(lambda: ekfac_self_influence(model, judged)))
    else:
        found.lack("the model has no linear or convolutional layer", "tracin_last_layer", "ekfac_self_influence")


def _from_squared_norms(given: Inputs, judged: JudgedImages, found: Found, last_layer: bool) -> None:
    """The gradients' norms, and their sums over epochs, of all parameters and, if there is one, of the `last_layer`."""
    each = [
        _timed(lambda epoch=epoch: squared_norms(differentiated(given.full_model(epoch), judged), judged))
        for epoch in _epochs(given)
    ]
    squared, seconds = (list(part) for part in zip(*each, strict=True))
    found.put("gradient_norm", np.sqrt(squared[-1][0]), seconds[-1])
    names = ("tracin", "tracin_last_layer") if last_layer else ("tracin",)
    if given.training is None:
        found.lack("the learning rate of the full model's training is not known", *names)
        return
    rates = [rate_at(given.training, epoch) for epoch in _epochs(given)]
    for part, name in enumerate(names):
        found.put(name, sum(rate * of[part] for rate, of in zip(rates, squared, strict=True)), sum(seconds))


def _about(name: str, settings: dict[str, Any]) -> tuple[str, str]:
    """Units and meaning of a predictor; of one by a model also how its log p was had, and of how many draws it is the mean."""
    units, meaning = PREDICTORS[name]
    if name not in (*BY_LOG_PX, *BY_GRADIENTS):
        return units, meaning
    how = f", {settings['log_px']}" if name in BY_LOG_PX else ""
    return units, f"{meaning}{how}; mean over {settings['draws']} draws of x and noise"


def _variables(found: Found, given: Inputs, settings: dict[str, Any]) -> dict[str, tuple]:
    undefined = np.full(len(given.first["sample"]), np.nan)
    values = {name: found.values.get(name, undefined) for name in PREDICTORS}
    score = [inputs.last(scored) for scored in given.scores.values()]
    axes = ("predictor", "estimator")
    correlations = [[_correlation(of, each) for each in score] for of in values.values()]
    gains = np.transpose([_gains(values, each, given.seed) for each in score], (1, 0, 2))
    correlation = "Spearman's rank correlation of the predictor with the score"
    return {
        "sample": given.first["sample"].variable,
        "estimator": variable(("estimator",), list(given.scores), "1", "estimator of the memorization score"),
        "predictor": variable(("predictor",), list(PREDICTORS), "1", "predictor of memorization"),
        **{
            name: variable(("sample",), values[name], *_about(name, settings), may_be_undefined=True)
            for name in PREDICTORS
        },
        **intervals.variables("spearman", correlations, correlation, axes),
        **intervals.variables("gain_over_5nn", gains, f"{correlation}, minus that of {TO_BEAT}", axes),
    }


def _correlation(values: np.ndarray, score: np.ndarray) -> intervals.Interval:
    """Over the images that have a value."""
    there = ~np.isnan(values)
    return intervals.spearman(values[there], score[there])


def _gains(values: dict[str, np.ndarray], score: np.ndarray, seed: int) -> list[intervals.Interval]:
    """The same of every predictor minus that of TO_BEAT, over the images that have a value of it.

    Those of all images are compared in the same resamples, at once.
    """
    there = {name: ~np.isnan(of) for name, of in values.items()}
    complete = [name for name in values if there[name].all()]
    together = dict(zip(complete, _gains_over(complete, values, score, there[TO_BEAT], seed), strict=True))
    return [
        together[name] if name in together else _gains_over([name], values, score, there[name], seed)[0]
        for name in values
    ]


def _gains_over(
    names: list[str], values: dict[str, np.ndarray], score: np.ndarray, there: np.ndarray, seed: int
) -> list[intervals.Interval]:
    of_names = [values[name][there] for name in names]
    rng = generator(seed, "predictors", "resamples")
    return intervals.spearman_gains(of_names, values[TO_BEAT][there], score[there], rng)
