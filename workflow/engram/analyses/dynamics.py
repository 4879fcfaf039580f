"""At which epochs are images learned and forgotten?

The models are those of the scores at every scored epoch. engram.analyses.learning says what counts as learned. How often that is
wrong is seen on models that never saw an image, each compared with the others. In the design staggered, only models that
are shown an image from the first epoch count as trained on it: difference_in_differences is about the later ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from engram.analyses.inputs import Answer, Inputs
from engram.analyses.learning import LEVEL, above_limit, first_learned, forgetting_events, mean_over
from engram.files.artifacts import AXES, variable
from engram.scores import intervals
from engram.scores.stage import Comparison, read_log_px

LONG_NAME = {
    "learned": "share of the models trained on the image that have learned it at the last scored epoch",
    "first_learned": "first scored epoch by which half of the models trained on the image had learned it; infinite if never",
    "forgetting_events": "times that it is forgotten between scored epochs, mean over the models trained on it; all epochs if "
    "never learned",
    "largest_drop": "largest fall of log p between scored epochs beyond the limit of falls without training on the image, mean "
    "over the models trained on it",
}
BY_EPOCH = {"log_px_in": "trained on the image", "log_px_out": "not trained on the image"}
SHARES = {"share_learned": "trained on the image", "share_learned_out": "not trained on it, where learned is false"}
LACKING = "it takes two models that were not trained on an image"


def analyse(given: Inputs) -> Answer:
    """Learning and forgetting of every image by every estimator, over all scored epochs."""
    comparison = Comparison.of(given.membership)
    is_in, is_out = sides(comparison, given.membership)
    found = [_of_estimator(files, comparison, is_in, is_out) for files in given.likelihoods.values()]
    variables = {
        "sample": variable(("sample",), comparison.images, "1", AXES["sample"]),
        "epoch": variable(("epoch",), sorted(next(iter(given.likelihoods.values()))), "1", AXES["epoch"]),
        "estimator": variable(("estimator",), list(given.likelihoods), "1", "estimator of log p"),
        **_of_images(found),
        **_by_epoch(found),
    }
    too_few = bool((is_out.sum(axis=0) < 2).all())
    return Answer(variables, {"level": LEVEL}, lacking=dict.fromkeys(LONG_NAME, LACKING) if too_few else {})


def _of_images(found: list[dict[str, Any]]) -> dict[str, tuple]:
    """Variables with a value for each estimator and image."""
    return {
        name: variable(
            ("estimator", "sample"),
            [each[name] for each in found],
            "nats" if name == "largest_drop" else "1",
            meaning,
            may_be_undefined=True,
        )
        for name, meaning in LONG_NAME.items()
    }


def _by_epoch(found: list[dict[str, Any]]) -> dict[str, tuple]:
    """Variables with values for each estimator and epoch."""
    variables = {}
    for name, models in BY_EPOCH.items():
        values, meaning = np.array([each[name] for each in found], dtype=np.float32), f"mean log p of models {models}"
        variables[name] = variable(("estimator", "epoch", "sample"), values, "nats", meaning, may_be_undefined=True)
    for name, models in SHARES.items():
        meaning = f"share of pairs of a model and an image that are learned, of models {models}"
        variables |= intervals.variables(name, [each[name] for each in found], meaning, ("estimator", "epoch"))
    return variables


def sides(comparison: Comparison, membership: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The models that are trained on each scored image from the first epoch, and those that never are: (models, n) bool each."""
    if "enters" not in membership:
        return comparison.is_in, ~comparison.is_in
    return membership["enters"].values[:, comparison.images] == 0, ~comparison.is_in


def _of_estimator(
    files: Mapping[int, Sequence[str | Path]], comparison: Comparison, is_in: np.ndarray, is_out: np.ndarray
) -> dict[str, Any]:
    """Everything of one estimator. Of all epochs only what is learned is in memory at once, a byte for each model and image."""
    epochs = np.array(sorted(files))
    learned = np.empty((len(epochs), *is_in.shape), dtype=bool)
    drop, before, means = np.zeros(is_in.shape), None, {name: [] for name in BY_EPOCH}
    for number, epoch in enumerate(epochs):
        log_px = read_log_px(files[epoch], comparison).mean(axis=1, dtype=np.float64)
        learned[number] = above_limit(log_px, is_out) > 0
        if before is not None:
            drop = np.maximum(drop, above_limit(before - log_px, is_out))
        before = log_px
        for name, models in zip(BY_EPOCH, (is_in, is_out), strict=True):
            means[name].append(mean_over(log_px, models))
    known = is_in & (is_out.sum(axis=0) > 1)
    return {
        "learned": mean_over(learned[-1], known),
        "first_learned": first_learned(learned, known, epochs),
        "forgetting_events": mean_over(forgetting_events(learned), known),
        "largest_drop": mean_over(drop, known),
        "share_learned": [_share(at_epoch, known, comparison) for at_epoch in learned],
        "share_learned_out": [_share(at_epoch, is_out & (is_out.sum(axis=0) > 2), comparison) for at_epoch in learned],
        **means,
    }


def _share(learned: np.ndarray, models: np.ndarray, comparison: Comparison) -> intervals.Interval:
    """Share of pairs of a model and an image that are learned, of `models` (models, n) bool, with its interval over repeats.

    Models drawn independently of one another have no repeats, and stand for themselves.
    """
    unit = np.arange(len(models)) if comparison.is_independent else comparison.repeat
    rows = [unit == number for number in np.unique(unit)]
    return intervals.mean([learned[row][models[row]].mean() for row in rows if models[row].any()])
