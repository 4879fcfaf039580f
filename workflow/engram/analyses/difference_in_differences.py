"""What does entering the training do to log p of an image?

In the design staggered, images enter at stated epochs, in cohorts dealt at random, and one cohort never does. The effect on the
cohort that enters after g epochs, t epochs into the training, is (Callaway & Sant'Anna 2021, with controls that are never treated;
Lesci et al. 2024 of language models)

    ATT(g, t) = E[Y_t - Y_b | enters after g] - E[Y_t - Y_b | never enters],    Y = log p in nats,

with b the last scored epoch up to g, when the models are not shown the cohort yet. The first cohort has no such epoch, and needs
none, since cohorts are dealt at random: its Y_b is 0. Before b the same formula is a placebo, whose expectation is 0.

Each repeat deals and trains anew, so it is one observation: intervals are over repeats (standard errors clustered by repeat).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engram.analyses.inputs import Answer, Inputs
from engram.analyses.learning import mean_over
from engram.designs.cohorts import NEVER
from engram.files.artifacts import AXES, variable
from engram.scores import intervals
from engram.scores.stage import Comparison, read_log_px


def analyse(given: Inputs) -> Answer:
    """Effects by every estimator, cohort and scored epoch, and of every image at the last one."""
    comparison = Comparison.of(given.membership)
    enters = given.membership["enters"].values[:, comparison.images]
    cohorts, epochs = np.unique(enters[enters != NEVER]), np.array(sorted(next(iter(given.likelihoods.values()))))
    found = [_of_estimator(files, comparison, enters, cohorts) for files in given.likelihoods.values()]
    by_repeat = [att(each.gaps, epochs, cohorts) for each in found]
    effect = np.array([each.effect for each in found])
    of_image = "effect of entering on log p of the image at the last scored epoch, mean over cohorts and repeats"
    variables = {
        "sample": variable(("sample",), comparison.images, "1", AXES["sample"]),
        "epoch": variable(("epoch",), epochs, "1", AXES["epoch"]),
        "cohort": variable(("cohort",), cohorts, "1", "number of epochs after which the cohort enters"),
        "estimator": variable(("estimator",), list(given.likelihoods), "1", "estimator of log p"),
        "effect": variable(("estimator", "sample"), effect, "nats", of_image),
        **intervals.variables(
            "att",
            [[[intervals.mean(values) for values in of_epoch.T] for of_epoch in of_cohort] for of_cohort in by_repeat],
            "effect of entering on log p, in nats, mean over images",
            ("estimator", "epoch", "cohort"),
        ),
        **intervals.variables(
            "placebo",
            [intervals.mean(placebo(each, epochs, cohorts)) for each in by_repeat],
            "mean effect, in nats, on cohorts that have not entered",
        ),
    }
    return Answer(variables, {"cohorts": cohorts.tolist()}, {"repeats": len(np.unique(comparison.repeat))})


def att(gaps: np.ndarray, epochs: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
    """ATT(g, t) of every repeat, nats, from E[Y_t | enters after g] - E[Y_t | never enters]; both (epochs, repeats, cohorts).

    >>> att(np.array([[[5.0, 1.0]], [[6.0, 4.0]]]), np.array([10, 20]), np.array([0, 10])).tolist()
    [[[5.0, 0.0]], [[6.0, 3.0]]]
    """
    before = baselines(epochs, cohorts)
    return gaps - np.where(before < 0, 0, gaps[before, :, np.arange(len(cohorts))].T)


def baselines(epochs: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
    """Position in `epochs`, rising, of the last one up to each cohort's entry; -1 where there is none: (cohorts,).

    >>> baselines(np.array([5, 10, 20]), np.array([0, 10, 15])).tolist()
    [-1, 1, 1]
    """
    return np.searchsorted(epochs, cohorts, side="right") - 1


def placebo(effects: np.ndarray, epochs: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
    """Mean of the `effects` (epochs, repeats, cohorts) on cohorts before their baseline, (repeats,); NaN where none is scored."""
    is_before = np.arange(len(epochs))[:, None] < baselines(epochs, cohorts)
    chosen = effects.swapaxes(1, 2)[is_before]
    return chosen.mean(axis=0) if len(chosen) else np.full(effects.shape[1], np.nan)


class _Found(NamedTuple):
    """gaps: (epochs, repeats, cohorts), nats, as `att` takes them. effect: (n,), of each image."""

    gaps: np.ndarray
    effect: np.ndarray


def _of_estimator(
    files: Mapping[int, Sequence[str | Path]], comparison: Comparison, enters: np.ndarray, cohorts: np.ndarray
) -> _Found:
    """One epoch's log p is in memory at a time: an effect is linear in log p."""
    epochs, effect = np.array(sorted(files)), np.zeros(enters.shape[1])
    before, gaps = baselines(epochs, cohorts), []
    for number, epoch in enumerate(epochs):
        log_px = read_log_px(files[epoch], comparison).mean(axis=1, dtype=np.float64)
        gaps.append(gaps_of(log_px, enters, comparison.repeat, cohorts))
        for cohort, baseline in zip(cohorts, before, strict=True):
            counts = int(number == len(epochs) - 1) - int(number == baseline)
            if counts:
                gap = mean_over(log_px, enters == cohort) - mean_over(log_px, enters == NEVER)
                effect += counts * gap / len(cohorts)
    return _Found(np.array(gaps), effect)


def gaps_of(log_px: np.ndarray, enters: np.ndarray, repeat: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
    """Mean log p of each cohort minus that of the images that never enter, by repeat: (repeats, cohorts), nats.

    log_px: (models, n), nats, at one epoch; enters: (models, n), as engram.designs.cohorts gives them; repeat: (models,).
    """
    rows = [repeat == number for number in np.unique(repeat)]
    means = [[log_px[row][enters[row] == cohort].mean() for cohort in (*cohorts, NEVER)] for row in rows]
    return np.array(means)[:, :-1] - np.array(means)[:, -1:]
