"""How well do attacks tell, from log p alone, which images a model was trained on?

Every model of an experiment is a target, and the models of other repeats are its shadows (engram.analyses.attacks). Members are
the scored images that the target was trained on, non-members the scored images that it was not: both come from one population,
as folds are dealt at random. Test images may differ from these, so they are no non-members; rmia compares with them. With the
null design nobody was trained on a scored image, and every area should be 0.5.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from engram.analyses import roc
from engram.analyses.attacks import ATTACKS, attack
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.set_test import RELABELLINGS, set_p_values
from engram.files.artifacts import AXES, variable
from engram.randomness import generator
from engram.scores.stage import Comparison, read_log_px

TWO_A_SIDE = "needs two shadow models or more on a side of an image, and so more repeats"
NEEDS = dict.fromkeys(ATTACKS, "needs shadow models, which come from other repeats, and so two repeats or more")
NEEDS |= dict.fromkeys(("lira_offline", "lira_online", "lira_online_fixed"), TWO_A_SIDE)
NEEDS["rmia"] += ", and test images"
ALL_IMAGES = "all"  # the name of the set of all scored images, beside those of one class each


def analyse(given: Inputs) -> Answer:
    """ROC of every attack by every estimator at the last scored epoch, and p-values of sets of images."""
    comparison = Comparison.of(given.membership)
    names, sets = _sets(comparison.label)
    curves, p_values = [], []
    for estimator in given.scores:
        log_px = _log_px(given.last_likelihoods[estimator], comparison)
        curves.append(_rocs(log_px, comparison, given.seed))
        p_values.append(_p_values(log_px[:, : len(comparison.images)], comparison, sets, given.seed))
    variables = {
        "sample": variable(("sample",), comparison.images, "1", AXES["sample"]),
        "estimator": variable(("estimator",), list(given.scores), "1", "estimator of log p"),
        "set": variable(("set",), names, "1", "all scored images, or those of a class"),
        "set_p_value": variable(("estimator", "set"), p_values, "1", "p-value that the set looks like members", True),
        **roc.axes(ATTACKS),
        **_by_estimator([roc.variables(of_estimator) for of_estimator in curves]),
    }
    settings = {"epoch": given.epoch, "resamples": roc.RESAMPLES, "relabellings": RELABELLINGS}
    return Answer(variables, settings, lacking=_lacking(variables))


def _lacking(variables: Mapping[str, tuple]) -> dict[str, str]:
    """The attacks that have no numbers for any image, and why."""
    return {name: NEEDS[name] for name in ATTACKS if np.isnan(variables[name][1]).all()}


def _log_px(paths: list, comparison: Comparison) -> np.ndarray:
    """log p of the scored images and then of the unseen ones, mean over draws: (models, n + z), nats."""
    images = np.concatenate([comparison.images, comparison.unseen])
    return read_log_px(paths, comparison, images).mean(axis=1, dtype=np.float64)


def _rocs(log_px: np.ndarray, comparison: Comparison, seed: int) -> dict[str, roc.Roc]:
    """Every attack's ROC, by name."""
    is_in, n = comparison.is_in, len(comparison.images)
    # Independent models have no repeats: each stands for itself, and all others are its shadows.
    repeat = np.arange(len(is_in)) if comparison.is_independent else comparison.repeat
    # A population image gets the out models of a scored image at random: the log of a mean density rises with their number.
    like = generator(seed, "membership inference", "population").integers(n, size=log_px.shape[1] - n)
    scores = attack(log_px[:, :n], is_in, repeat, log_px[:, n:], ~is_in[:, like])
    return roc.rocs(scores, is_in, seed)


def _sets(label: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names and masks (sets, n) of all images and of each class."""
    classes = np.unique(label[label >= 0])
    masks = [np.ones(len(label), dtype=bool), *(label == each for each in classes)]
    return [ALL_IMAGES, *(f"class {each}" for each in classes)], np.array(masks)


def _p_values(log_px: np.ndarray, comparison: Comparison, sets: np.ndarray, seed: int) -> np.ndarray:
    """Of each set; NaN where relabelling is no test."""
    if comparison.why_not_tested():
        return np.full(len(sets), np.nan)
    return set_p_values(log_px, comparison.is_in, comparison.repeat, sets, seed)


def _by_estimator(found: Sequence[Mapping[str, tuple]]) -> dict[str, tuple]:
    """Variables of every estimator as one, with the axis estimator before their own."""
    return {
        name: (("estimator", *dims), np.stack([each[name][1] for each in found]), attributes)
        for name, (dims, _, attributes) in found[0].items()
    }
