"""Do other measures of memorization agree with the score M, how well do they find what it finds, and on which images do they not?

Every measure is turned so that higher values speak for memorization. M itself has errors, so that even a perfect measure would
not correlate with it fully: the ceiling is the root of M's reliability. A measure of models that M is computed from, too,
shares their errors, and may exceed it.
"""

import json

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from engram.analyses.inputs import Answer, Inputs
from engram.analyses.roc import area_under_curve
from engram.conventions import FDR
from engram.files.artifacts import variable
from engram.scores import intervals
from engram.scores.intervals import Interval

TOP = 0.05  # the share of images of highest score that a measure should find
COPIES = "recurrence"  # the column that counts an image's copies among samples
SHOWN = 5  # images of the greatest disagreement, of either kind
UNDEFINED = Interval(np.nan, np.nan, np.nan)


def ceiling(split_half_reliability: float) -> float:
    """The highest rank correlation with M that a measure without any share in M's errors can have; NaN where that is not known.

    The root of M's reliability, which is 2 r / (1 + r) for a correlation r of the scores from two halves of the models
    (Spearman 1910, Brown 1910).

    >>> round(ceiling(0.5), 3)
    0.816
    """
    r = max(split_half_reliability, 0.0)
    return float(np.sqrt(2 * r / (1 + r)))


def detection(measure: np.ndarray, is_memorized: np.ndarray) -> Interval:
    """Area under the ROC curve of a measure (n,) that should be higher where is_memorized (n,) bool; NaN values are left out."""
    known = ~np.isnan(measure)
    member, other = known & is_memorized, known & ~is_memorized
    if not (member.any() and other.any()):
        return UNDEFINED
    return area_under_curve(measure[None], member[None], other[None])[0]


def disagreements(measure: np.ndarray, score: np.ndarray, shown: int = SHOWN) -> np.ndarray:
    """Positions of the images whose ranks by measure and score (n,) differ most, (2, shown), -1 where there are no more.

    The first row is of images that stand higher by the score, the second of those that stand higher by the measure.

    >>> disagreements(np.array([0.0, 1.0, 2.0, 9.0]), np.array([9.0, 1.0, 2.0, 0.0]), shown=1).tolist()
    [[0], [3]]
    """
    known = np.flatnonzero(~np.isnan(measure))
    higher = rankdata(score[known]) - rankdata(measure[known])
    found = np.full((2, shown), -1)
    for row, difference in zip(found, (higher, -higher), strict=True):
        order = np.argsort(-difference, kind="stable")[:shown]
        order = order[difference[order] > 0]
        row[: len(order)] = known[order]
    return found


def between(measures: np.ndarray) -> np.ndarray:
    """Rank correlation of every two measures, (measures, measures), over the images (measures, n) where both are known."""
    known = ~np.isnan(measures)
    pairs = np.full((len(measures), len(measures)), np.nan)
    for i, j in zip(*np.triu_indices(len(measures)), strict=True):
        both = known[i] & known[j]
        pairs[i, j] = pairs[j, i] = intervals.spearman(measures[i, both], measures[j, both]).estimate
    return pairs


def upwards(table: xr.Dataset) -> dict[str, np.ndarray]:
    """Every measure of the table, (n,), by name, turned so that higher values speak for memorization."""
    falls = json.loads(table.attrs["falls"])
    return {name: (-1 if falls[name] else 1) * table[name].values.astype(float) for name in falls}


def analyse(given: Inputs) -> Answer:
    """Of every measure: rank correlation with the score, area under the curve for the images of highest score, for those
    memorized at FDR 5 % and for those that samples copy, and the images of greatest disagreement; and rank correlations between
    measures. The score itself is judged by copies, too."""
    table = given.measures
    score, sample, by_name = table["score"].values, table["sample"].values, upwards(table)
    values = np.array([*by_name.values()])
    high, memorized = score >= np.quantile(score, 1 - TOP), table["q_value"].values <= FDR
    copied = table[COPIES].values > 0 if COPIES in table else np.zeros(len(score), dtype=bool)
    of_copies = "area under the ROC curve for images that samples of the full model copy"
    found = np.array([disagreements(measure, score) for measure in values])
    of_measure = ("measure",)
    variables = {
        "measure": variable(of_measure, [*by_name], "1", "measure of memorization"),
        "other": variable(("other",), [*by_name], "1", "measure of memorization"),
        "images": variable(of_measure, (~np.isnan(values)).sum(axis=1), "1", "images with a value"),
        **_variables("spearman", "rank correlation with the score", [_spearman(each, score) for each in values]),
        **_variables("area_high", "area under the ROC curve for the 5 % of highest score", _detect(values, high)),
        **_variables("area_memorized", "area under the ROC curve for images at FDR 5 %", _detect(values, memorized)),
        **_variables("area_copied", of_copies, _detect(values, copied)),
        **intervals.variables("area_copied_by_score", detection(score, copied), f"{of_copies}, by the score", ()),
        "between": variable(("measure", "other"), between(values), "1", "rank correlation of two measures", True),
        "disagreement": variable(
            ("measure", "side", "rank"),
            np.where(found < 0, -1, sample[found]),
            "1",
            "index of the image: side 0 stands higher by the score, side 1 by the measure; -1 = no more",
        ),
    }
    summary = {"ceiling": ceiling(float(table.attrs["split_half_reliability"])), "estimator": table.attrs["estimator"]}
    numbers = {"memorized": int(memorized.sum()), "copied": int(copied.sum())}
    return Answer(variables, {"top": TOP, "fdr": FDR}, summary | numbers)


def _spearman(measure: np.ndarray, score: np.ndarray) -> Interval:
    known = ~np.isnan(measure)
    return intervals.spearman(measure[known], score[known])


def _detect(measures: np.ndarray, is_memorized: np.ndarray) -> list[Interval]:
    return [detection(measure, is_memorized) for measure in measures]


def _variables(name: str, meaning: str, values: list[Interval]) -> dict[str, tuple]:
    return intervals.variables(name, values, meaning, ("measure",))
