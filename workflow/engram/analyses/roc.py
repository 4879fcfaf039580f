"""ROC curves of attacks pooled over target models, with intervals that keep all targets of an image together.

A pair is an image and a target; its score should be higher where the target was trained on the image. One threshold serves all
targets. Pairs of one image are alike, so images, and not pairs, are what the intervals draw anew.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import norm

from engram.files.artifacts import variable
from engram.randomness import generator
from engram.scores import intervals
from engram.scores.intervals import Interval

FALSE_POSITIVE_RATES = 10.0 ** (np.arange(-40, 1) / 10)  # 10 to the factor of ten, from 0.0001 to 1
RESAMPLES = 400
IMAGES = 4096  # at once
RESAMPLING = "membership inference", "resamples"  # name of the stream of weights


class Roc(NamedTuple):
    """area: under the curve. rates: (rates, 3), the true positive rate and its interval at FALSE_POSITIVE_RATES.

    beaten: (n,), the share of non-members' scores below a member's, mean over the targets trained on the image.
    members, non_members: pairs. non_member_images: distinct images among them. Rates below 1 / non_member_images are NaN: that
    many images cannot tell them.
    """

    area: Interval
    rates: np.ndarray
    beaten: np.ndarray
    members: int
    non_members: int
    non_member_images: int


def rocs(scores: Mapping[str, np.ndarray], is_in: np.ndarray, seed: int) -> dict[str, Roc]:
    """The ROC of every attack by name, from its scores as `roc` takes them.

    The weights of images are the same for all attacks, so that their curves can be compared.
    """
    return {name: roc(of_attack, is_in, generator(seed, *RESAMPLING)) for name, of_attack in scores.items()}


def roc(scores: np.ndarray, is_in: np.ndarray, rng: np.random.Generator) -> Roc:
    """scores (targets, n), higher for members, NaN for no score; is_in (targets, n) bool.

    Images without a scored pair of either kind are left out; if there are none, every number is NaN. Between two thresholds
    the attacker tosses a coin, so that curves are joined by straight lines and ties count half.

    >>> roc(np.array([[3.0, 2.0], [1.0, 0.0]]), np.array([[True, True], [False, False]]), np.random.default_rng(0)).area.estimate
    1.0
    """
    is_scored = ~np.isnan(scores)
    both = (is_scored & is_in).any(axis=0) & (is_scored & ~is_in).any(axis=0)
    member, non_member = is_scored & is_in & both, is_scored & ~is_in & both
    if not both.any():
        nothing = Interval(np.nan, np.nan, np.nan)
        return Roc(nothing, np.full((len(FALSE_POSITIVE_RATES), 3), np.nan), np.full(len(both), np.nan), 0, 0, 0)
    area, beaten = area_under_curve(scores, member, non_member)
    rates = true_positive_rates(scores[:, both], member[:, both], non_member[:, both], rng)
    rates[FALSE_POSITIVE_RATES * both.sum() < 1 - 1e-9] = np.nan
    return Roc(area, rates, beaten, int(member.sum()), int(non_member.sum()), int(both.sum()))


def axes(attacks: Iterable[str]) -> dict[str, tuple]:
    """The artifact's variables that number its curves."""
    return {
        "attack": variable(("attack",), list(attacks), "1", "membership-inference attack"),
        "false_positive_rate": variable(("false_positive_rate",), FALSE_POSITIVE_RATES, "1", "false positive rate"),
    }


def variables(curves: Mapping[str, Roc]) -> dict[str, tuple]:
    """The artifact's variables of attacks' curves: each over the axis attack, and of each attack, by its name, whom an image
    beats, over sample."""
    of_attacks, of_rates = ("attack",), ("attack", "false_positive_rate")
    areas, rates = ([getattr(curve, name) for curve in curves.values()] for name in ("area", "rates"))
    found = {
        **intervals.variables("area_under_curve", areas, "area under the ROC curve", of_attacks),
        **intervals.variables("true_positive_rate", rates, "true positive rate", of_rates),
    }
    for name in ("members", "non_members", "non_member_images"):
        counts = [getattr(curve, name) for curve in curves.values()]
        found[name] = variable(of_attacks, counts, "1", f"{name.replace('_', ' ')} of the pooled curve")
    for name, curve in curves.items():
        meaning = f"share of non-members below a member by {name}, mean over the targets trained on the image"
        found[name] = variable(("sample",), curve.beaten, "1", meaning, may_be_undefined=True)
    return found


def true_positive_rate(analysis: xr.Dataset, rate: float) -> Interval:
    """At a false positive rate, of an analysis reduced to one attack; NaN where too few non-members tell."""
    return intervals.read(analysis.sel(false_positive_rate=rate, method="nearest"), "true_positive_rate")


def area_under_curve(scores: np.ndarray, member: np.ndarray, non_member: np.ndarray) -> tuple[Interval, np.ndarray]:
    """Chance that a member's score exceeds a non-member's, ties counted half, and its mean for each image's member pairs.

    Scores and masks (targets, n). The interval is that of Obuchowski (1997, Biometrics 53) for clusters, which are the images.
    """
    inside, outside = scores[member], scores[non_member]
    beaten, beating = _share_below(inside, outside), 1 - _share_below(outside, inside)
    area, n = float(beaten.mean()), scores.shape[1]
    (_, image), (_, other) = member.nonzero(), non_member.nonzero()
    of_image = np.bincount(image, beaten, n)
    count, count_outside = np.bincount(image, minlength=n), np.bincount(other, minlength=n)
    deviation = (of_image - area * count) / len(inside)
    deviation += (np.bincount(other, beating, n) - area * count_outside) / len(outside)
    clusters = int((count + count_outside > 0).sum())
    variance = (deviation**2).sum() * clusters / (clusters - 1) if clusters > 1 else np.nan
    half_width = norm.ppf(0.975) * np.sqrt(variance)
    mean = np.divide(of_image, count, out=np.full(n, np.nan), where=count > 0)
    return Interval(area, *map(float, np.clip([area - half_width, area + half_width], 0, 1))), mean


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each value, the share of others that lie below it, equal ones counted half."""
    share, others = np.empty(len(values)), np.sort(others)
    order = np.argsort(values)  # searched in order, millions of values find their place several times as fast
    rising = values[order]
    share[order] = np.searchsorted(others, rising) + np.searchsorted(others, rising, "right")
    return share / (2 * len(others))


def true_positive_rates(
    scores: np.ndarray, member: np.ndarray, non_member: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """True positive rate and its 95 % interval at FALSE_POSITIVE_RATES, (rates, 3); scores and masks (targets, n).

    A Bayesian bootstrap over images (Rubin 1981): in each resample every image has a random weight from Exp(1), all its
    pairs with it. The first row of weights, all 1, is the estimate.
    """
    thresholds = _thresholds(scores[non_member])
    counts = np.zeros((2, 1 + RESAMPLES, len(thresholds) + 1))
    for start in range(0, scores.shape[1], IMAGES):
        images = slice(start, start + IMAGES)
        reached = np.searchsorted(thresholds, scores[:, images], "right")
        weights = rng.standard_exponential((1 + RESAMPLES, reached.shape[1]), dtype=np.float32)
        weights[0] = 1
        for count, pairs in zip(counts, (member[:, images], non_member[:, images]), strict=True):
            count += weights @ _histogram(reached, pairs, len(thresholds) + 1)
    from_above = counts[..., ::-1].cumsum(axis=-1)
    true, false = from_above / from_above[..., -1:]
    curves = np.array([np.interp(FALSE_POSITIVE_RATES, x, y) for x, y in zip(false, true, strict=True)])
    return np.column_stack([curves[0], *np.quantile(curves[1:], [0.025, 0.975], axis=0)])


def _thresholds(outside: np.ndarray) -> np.ndarray:
    """Rising: scores of non-members just before and after each of FALSE_POSITIVE_RATES, and right above them.

    These are the corners of the curve between which it is straight where a rate is read.
    """
    falling = np.sort(outside)[::-1]
    before = np.floor(FALSE_POSITIVE_RATES * len(falling)).astype(int)
    scores = falling[np.clip(np.concatenate([before - 1, before, [0]]), 0, len(falling) - 1)]
    return np.unique([scores, np.nextafter(scores, np.inf, dtype=scores.dtype)])


def _histogram(reached: np.ndarray, pairs: np.ndarray, bins: int) -> np.ndarray:
    """Of each image, how many of the `pairs` reach so many thresholds: (images, bins) float32, from (targets, images) both."""
    place = np.arange(reached.shape[1]) * bins + reached
    counts = np.bincount(place[pairs], minlength=reached.shape[1] * bins)
    return counts.reshape(-1, bins).astype(np.float32)
