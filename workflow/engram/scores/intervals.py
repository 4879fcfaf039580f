"""Estimates with 95 % intervals: what analyses, figures and claims state instead of bare numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from engram.files.artifacts import variable

RESAMPLES = 400


class Interval(NamedTuple):
    """An estimate and its 95 % confidence interval."""

    estimate: float
    low: float
    high: float

    def text(self, form: str = ".2f") -> str:
        """For a sentence: "0.31 [0.25, 0.37]", "0.31" where only the interval is undefined, or "not defined"."""
        if np.isnan(self.estimate):
            return "not defined"
        if np.isnan(self.low) or np.isnan(self.high):
            return f"{self.estimate:{form}}"
        return f"{self.estimate:{form}} [{self.low:{form}}, {self.high:{form}}]"


def share(count: int, total: int) -> Interval:
    """A binomial share with its Wilson interval; NaN where `total` is 0."""
    if total == 0:
        return Interval(np.nan, np.nan, np.nan)
    low, high = stats.binomtest(int(count), int(total)).proportion_ci(method="wilson")
    return Interval(count / total, low, high)


def spearman(a: np.ndarray, b: np.ndarray) -> Interval:
    """Spearman's rank correlation of a and b, (n,) each; infinities rank as largest. NaN if either is constant.

    Interval on Fisher's z scale with the variance (1 + r^2/2) / (n - 3) of Bonett & Wright (2000).
    """
    if len(a) < 4 or np.ptp(stats.rankdata(a)) == 0 or np.ptp(stats.rankdata(b)) == 0:
        return Interval(np.nan, np.nan, np.nan)
    r = float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])
    half_width = stats.norm.ppf(0.975) * np.sqrt((1 + r**2 / 2) / (len(a) - 3))
    z = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    return Interval(r, float(np.tanh(z - half_width)), float(np.tanh(z + half_width)))


def spearman_gains(
    several: Sequence[np.ndarray], b: np.ndarray, score: np.ndarray, rng: np.random.Generator
) -> list[Interval]:
    """By how much the rank correlation of each of `several` with a score exceeds b's, (n,) each; NaN if any is constant.

    A paired bootstrap over images: percentiles of 400 resamples, in each of which all are ranked anew, ties by their mean rank.
    """
    n, groups = len(score), [np.unique(values, return_inverse=True)[1] for values in (score, b, *several)]
    if n < 4:
        return [Interval(np.nan, np.nan, np.nan)] * len(several)
    with np.errstate(invalid="ignore"):  # where all are equal, in the images or in a resample
        correlations = np.array([_correlations(groups, count) for count in _counts(n, rng)])
    gains = correlations[:, 1:] - correlations[:, :1]
    limits = np.quantile(gains[1:], [0.025, 0.975], axis=0)
    limits = np.where(np.isnan(gains[0]), np.nan, limits)
    return [Interval(*map(float, interval)) for interval in zip(gains[0], *limits, strict=True)]


def area_gain(a: np.ndarray, b: np.ndarray, is_found: np.ndarray, rng: np.random.Generator) -> Interval:
    """By how much the area under the ROC curve of a exceeds b's, (n,) each, for images (n,) bool that should have higher values.

    A paired bootstrap over images, in the resamples of `spearman_gains` of an equal `rng`. Those without an image of either kind
    have no area and are left out; NaN if all images are of one kind.
    """
    if is_found.all() or not is_found.any():
        return Interval(np.nan, np.nan, np.nan)
    groups = [np.unique(values, return_inverse=True)[1] for values in (a, b)]
    resamples = [count for count in _counts(len(a), rng) if 0 < count @ is_found < len(a)]
    areas = np.array([[_area(group, is_found, count) for group in groups] for count in resamples])
    gains = areas[:, 0] - areas[:, 1]
    limits = np.quantile(gains[1:], [0.025, 0.975]) if len(gains) > 1 else (np.nan, np.nan)
    return Interval(*map(float, (gains[0], *limits)))


def _counts(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """How many there are of each image, (n,): one of each, and then in every resample."""
    return [np.ones(n), *(rng.multinomial(n, np.full(n, 1 / n)) for _ in range(RESAMPLES))]


def _area(group: np.ndarray, is_found: np.ndarray, count: np.ndarray) -> float:
    """Chance that a found image's value exceeds another's, ties counted half; group, count: as of `_correlations`."""
    found, others = (np.bincount(group, count * here, group.max() + 1) for here in (is_found, ~is_found))
    below = np.cumsum(others) - others / 2
    return float(found @ below / (found.sum() * others.sum()))


def _correlations(groups: Sequence[np.ndarray], count: np.ndarray) -> list[float]:
    """Spearman's correlation of the first with each of the others, for images of which there are so many each.

    groups: of each variable, the places of the images' values among its distinct values.
    """
    of_first, *others = (_centred_ranks(group, count) for group in groups)
    weighted = count * of_first
    spread = np.sqrt(weighted @ of_first)
    return [weighted @ ranks / (np.sqrt(count @ ranks**2) * spread) for ranks in others]


def _centred_ranks(group: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean rank of each image's group minus the mean of all ranks, (n,)."""
    sizes = np.bincount(group, count)
    return (np.cumsum(sizes) - sizes / 2 - count.sum() / 2)[group]


def mean(values: Sequence[float] | np.ndarray) -> Interval:
    """A mean with its Student t interval; the interval is NaN for fewer than two values."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else np.nan, np.nan, np.nan)
    half_width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return Interval(float(values.mean()), float(values.mean() - half_width), float(values.mean() + half_width))


def quantile_change(first: np.ndarray, last: np.ndarray, level: float, rng: np.random.Generator) -> Interval:
    """Change of a quantile from one score of n images to another, (n,) each; paired bootstrap over images."""

    def change(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.quantile(b, level, axis=axis) - np.quantile(a, level, axis=axis)

    bootstrap = stats.bootstrap(
        (first, last), change, paired=True, method="percentile", n_resamples=999, rng=rng, batch=50
    )
    return Interval(float(change(first, last)), *map(float, bootstrap.confidence_interval))


def variables(
    name: str, values: Sequence[Interval], long_name: str, axes: tuple[str, ...] = ("estimator",)
) -> dict[str, tuple]:
    """Three artifact variables: `name`, `name_low` and `name_high`. `values` are nested as deep as there are `axes`."""
    parts = {name: "", f"{name}_low": ", lower end of 95 % interval", f"{name}_high": ", upper end of 95 % interval"}
    numbers = np.asarray(values, dtype=float)
    return {
        key: variable(axes, numbers[..., i], "1", long_name + ending, may_be_undefined=True)
        for i, (key, ending) in enumerate(parts.items())
    }


def read(dataset: xr.Dataset, name: str) -> Interval:
    """The interval that `variables` stored under `name`, of a data set reduced to one place on its axes."""
    return Interval(*(float(dataset[key]) for key in (name, f"{name}_low", f"{name}_high")))
