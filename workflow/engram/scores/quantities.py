"""The numbers that describe a data set's memorization scores, each with its uncertainty over repeats.

A repetition of an experiment on the same images differs in its folds and trainings, not in its images: so the interval is
the jackknife's, over repeats, and not a bootstrap over images.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from engram.scores.intervals import Interval
from engram.scores.statistics import log_mean_exp, memorization_scores

HIGH_QUANTILE = 0.95  # of M: above it an image is called highly memorized, as in the paper


def highly_memorized(score: np.ndarray, as_published: bool = False) -> np.ndarray:
    """Which images are highly memorized, (n,) bool: score above its 0.95 quantile.

    `as_published` splits where the reference code's histogram of rho does: at a score of 0.95 nats.
    """
    return score > (HIGH_QUANTILE if as_published else np.quantile(score, HIGH_QUANTILE))


class Scored(NamedTuple):
    """Of every image, (n,) each, nats: score M, and the log mean density U under in and V under out models."""

    m: np.ndarray
    u: np.ndarray
    v: np.ndarray


Quantity = Callable[[Scored], float]


def _share(part: np.ndarray, of: np.ndarray) -> float:
    """How many of the images `of` are in `part`, as a share, (n,) bool both; NaN if there are none."""
    return float((part & of).sum() / of.sum()) if of.any() else math.nan


def _central(s: Scored) -> np.ndarray:
    return (s.u >= -14500) & (s.u <= -12000)


QUANTITIES: dict[str, Quantity] = {
    "mean of M": lambda s: s.m.mean(),
    "median of M": lambda s: np.median(s.m),
    "0.95 quantile of M": lambda s: np.quantile(s.m, 0.95),
    "0.999 quantile of M": lambda s: np.quantile(s.m, 0.999),
    "minimum of M": lambda s: s.m.min(),
    "maximum of M": lambda s: s.m.max(),
    "share of images with M < 0": lambda s: np.mean(s.m < 0),
    "images with M <= 0.95": lambda s: np.sum(s.m <= 0.95),
    "share of images with U in [-14500, -12000]": lambda s: np.mean(_central(s)),
    "share of highly memorized with U in [-14500, -12000]": lambda s: _share(_central(s), highly_memorized(s.m)),
    "share highly memorized where U < -17000": lambda s: _share(highly_memorized(s.m), s.u < -17000),
    "share highly memorized where U > -11000": lambda s: _share(highly_memorized(s.m), s.u > -11000),
    "mean log p, images in training (U)": lambda s: s.u.mean(),
    "mean log p, images held out (V)": lambda s: s.v.mean(),
}


def score_all(log_px: np.ndarray, is_in: np.ndarray, repeat: np.ndarray, statistic: str) -> Scored:
    """Arguments as in engram.scores.memorization_scores."""
    score = memorization_scores(log_px, is_in, statistic, repeat)
    return Scored(score, log_mean_exp(log_px, is_in), log_mean_exp(log_px, ~is_in))


def estimate(
    log_px: np.ndarray, is_in: np.ndarray, repeat: np.ndarray, statistic: str, quantities: Mapping[str, Quantity]
) -> dict[str, Interval]:
    """Each quantity of the scores, with the 95 % interval of `jackknife`; log_px is (models, draws, n) nats.

    The other arguments are as in engram.scores.memorization_scores.
    """
    numbers = np.unique(repeat)
    kept = [repeat != number for number in numbers] if len(numbers) > 1 else []
    without = [score_all(log_px[models], is_in[models], repeat[models], statistic) for models in kept]
    with_all = score_all(log_px, is_in, repeat, statistic)
    return {
        name: jackknife(float(quantity(with_all)), np.array([quantity(scored) for scored in without], dtype=float))
        for name, quantity in quantities.items()
    }


def jackknife(estimate: float, without: np.ndarray) -> Interval:
    """`estimate` +- Student's t times its jackknife standard error; `without` are the L estimates without a repeat each.

    The interval is NaN for fewer than two repeats. It is rough for minima and maxima, which hang on single images.
    """
    if len(without) < 2:
        return Interval(estimate, math.nan, math.nan)
    half_width = stats.t.ppf(0.975, len(without) - 1) * np.sqrt((len(without) - 1) * without.var())
    return Interval(estimate, float(estimate - half_width), float(estimate + half_width))
