"""Does a measure find what was planted, and does it rise with the number of copies?

Canaries (engram.datasets.canaries) are images of which one knows how often they stand in the training set, or that they are unlike
all others. Measures are turned so that higher values speak for memorization, and compared with those of ordinary training images.
Versions of one image are alike, so they are one cluster in every interval. A copy planted once is an ordinary image: it is no
canary to be found, but shows what the dose response should start from.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from scipy.stats import quantile_test

from engram.analyses.agreement import upwards
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.roc import area_under_curve
from engram.datasets.canaries import COPY, KINDS, NEAR_COPY, ORDINARY
from engram.datasets.duplicates import ALONE
from engram.files.artifacts import variable
from engram.scores import intervals
from engram.scores.intervals import Interval

SCORE = "score"
COPIES = COPY, NEAR_COPY  # kinds that stand there more than once
UNDEFINED = Interval(np.nan, np.nan, np.nan)


class Planted:
    """What was planted where, image by image: kind (n,) text, dose (n,) and cluster (n,), from 0, one for versions of an image."""

    def __init__(self, kind: np.ndarray, dose: np.ndarray, group: np.ndarray):
        n = len(kind)
        unit = np.where(group == ALONE, np.arange(n) + group.max(initial=ALONE) + 1, group)
        self.kind, self.dose = kind, dose
        _, self.first, self.cluster = np.unique(unit, return_index=True, return_inverse=True)
        order = np.argsort(self.cluster, kind="stable")
        self.version = np.empty(n, np.int64)  # place of an image among those of its cluster
        self.version[order] = np.arange(n) - np.searchsorted(self.cluster[order], self.cluster[order])

    @classmethod
    def of(cls, dataset: xr.Dataset, images: np.ndarray) -> "Planted":
        """Of some images, by their index in the data set."""
        return cls(*(dataset[name].values[images] for name in ("canary", "dose", "group")))

    def to_be_found(self, kind: str) -> np.ndarray:
        """(n,) bool: canaries of a kind but for copies that stand there once, which are ordinary images."""
        return (self.kind == kind) & ((self.kind != COPY) | (self.dose > 1))


def detection(measure: np.ndarray, planted: Planted, is_canary: np.ndarray) -> tuple[Interval, np.ndarray]:
    """Chance that a canary's measure exceeds an ordinary image's, and each cluster's mean share of ordinary images below it.

    measure: (n,), NaN for no value; is_canary: (n,) bool. The shares, (clusters,), are NaN where a cluster has no canary.
    """
    known = ~np.isnan(measure)
    canary, ordinary = known & is_canary, known & (planted.kind == ORDINARY)
    shape = planted.version.max(initial=0) + 1, len(planted.first)
    if not (canary.any() and ordinary.any()):
        return UNDEFINED, np.full(shape[1], np.nan)
    place = planted.version, planted.cluster
    scores, member, non_member = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    scores[place], member[place], non_member[place] = measure, canary, ordinary
    return area_under_curve(scores, member, non_member)


def median(ranks: np.ndarray) -> Interval:
    """The median of ranks (planted images,), with the interval between order statistics that a sign test does not refuse."""
    if not len(ranks):
        return UNDEFINED
    low, high = quantile_test(ranks, q=0.5, p=0.5).confidence_interval(0.95)
    return Interval(float(np.median(ranks)), float(low), float(high))


def dose_response(rank: np.ndarray, planted: Planted, kind: str, doses: np.ndarray) -> list[Interval]:
    """Median rank at each dose over the planted images of a kind; rank: (clusters,), NaN where there is none."""
    of_kind = (planted.kind[planted.first] == kind) & ~np.isnan(rank)
    dose = planted.dose[planted.first]
    return [median(rank[of_kind & (dose == each)]) for each in doses]


def trend(measure: np.ndarray, planted: Planted, kind: str) -> Interval:
    """Rank correlation of dose and measure (n,) over the planted images of a kind, each with the mean over its versions."""
    known = (planted.kind == kind) & ~np.isnan(measure)
    count = np.bincount(planted.cluster[known], minlength=len(planted.first))
    total = np.bincount(planted.cluster[known], measure[known], len(planted.first))
    there = count > 0
    return intervals.spearman(planted.dose[planted.first][there], total[there] / count[there])


def analyse(given: Inputs) -> Answer:
    """Of the score and of every measure: area under the curve by kind of canary, median rank by dose, and its trend."""
    planted = Planted.of(given.dataset, given.measures["sample"].values)
    kinds = [kind for kind in KINDS if planted.to_be_found(kind).any()]
    doses = np.unique(planted.dose[np.isin(planted.kind, COPIES)])
    measures = {SCORE: given.measures[SCORE].values.astype(float)} | upwards(given.measures)
    areas, ranks, trends = [], [], []
    for measure in measures.values():
        areas.append([detection(measure, planted, planted.to_be_found(kind))[0] for kind in kinds])
        rank = detection(measure, planted, planted.kind != ORDINARY)[1]
        ranks.append([dose_response(rank, planted, kind, doses) for kind in COPIES])
        trends.append([trend(measure, planted, kind) for kind in COPIES])
    variables = {
        "measure": variable(("measure",), [*measures], "1", "the score, and measures of memorization"),
        "kind": variable(("kind",), kinds, "1", "kind of canary"),
        "planted": variable(("kind",), [_images(planted, kind) for kind in kinds], "1", "different images of the kind"),
        "copies": variable(("copies",), COPIES, "1", "kind of copy"),
        "dose": variable(("dose",), doses, "1", "times an image stands in the training set"),
        **_variables("area", "area under the ROC curve against ordinary training images", areas, kind=len(kinds)),
        **_variables(
            "rank", "median share of ordinary training images below", ranks, copies=len(COPIES), dose=len(doses)
        ),
        **_variables("trend", "rank correlation of dose and measure over planted images", trends, copies=len(COPIES)),
    }
    summary = {"ordinary": int((planted.kind == ORDINARY).sum()), "estimator": given.measures.attrs["estimator"]}
    return Answer(variables, {}, summary)


def _images(planted: Planted, kind: str) -> int:
    return len(np.unique(planted.cluster[planted.to_be_found(kind)]))


def _variables(name: str, meaning: str, values: list, **axes: int) -> Mapping[str, tuple]:
    """Intervals by measure and further axes, whose lengths are given because any of them may be 0."""
    shaped = np.array(values, dtype=float).reshape(len(values), *axes.values(), len(Interval._fields))
    return intervals.variables(name, shaped, meaning, ("measure", *axes))
