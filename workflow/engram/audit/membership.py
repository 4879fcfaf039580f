"""Was a set of images trained on? One checkpoint's numbers for training images, beside those for held-out images.

All of it supposes that training and held-out images were drawn alike: otherwise it tells the two kinds of image apart, not what the
model remembers of them.
"""

import numpy as np
from scipy.stats import rankdata

from engram.analyses import roc
from engram.analyses.roc import FALSE_POSITIVE_RATES, Roc
from engram.analyses.set_test import RELABELLINGS
from engram.randomness import generator
from engram.scores.intervals import Interval


def roc_of_one_target(scores: np.ndarray, is_member: np.ndarray, rng: np.random.Generator) -> Roc:
    """The ROC of scores (n,), higher for members, of images that are each either a member or not.

    Every number is NaN if there are none of either kind, or one alone of both.

        >>> scores, is_member = np.array([4.0, 3.0, 1.0, 2.0]), np.array([True, True, False, False])
        >>> roc_of_one_target(scores, is_member, np.random.default_rng(0)).area.estimate
        1.0
    """
    members, others = int(is_member.sum()), int((~is_member).sum())
    beaten = np.full(len(scores), np.nan)
    if min(members, others) < 2:
        nothing = Interval(np.nan, np.nan, np.nan)
        return Roc(nothing, np.full((len(FALSE_POSITIVE_RATES), 3), np.nan), beaten, members, others, others)
    of_target = scores[None], is_member[None], ~is_member[None]
    area, beaten = roc.area_under_curve(*of_target)
    rates = roc.true_positive_rates(*of_target, rng)
    rates[FALSE_POSITIVE_RATES * others < 1 - 1e-9] = np.nan
    return Roc(area, rates, beaten, members, others, others)


def set_p_values(scores: np.ndarray, in_set: np.ndarray, seed: int, name: str) -> np.ndarray:
    """One-sided p-value of each row of scores (attacks, n), small where images `in_set`, (n,) bool, rank higher than the others.

    Exact if the set is exchangeable with the others when no image of it was trained on: its mean rank beside those of 9,999 sets
    of as many images drawn at random. NaN if there are none of either kind.
    """
    size, n = int(in_set.sum()), len(in_set)
    if not 0 < size < n:
        return np.full(len(scores), np.nan)
    ranks = rankdata(scores, axis=1)
    observed = ranks[:, in_set].sum(axis=1)
    rng = generator(seed, "audit", "set test", name)
    drawn = (ranks[:, rng.permutation(n)[:size]].sum(axis=1) for _ in range(RELABELLINGS))
    reaching = sum((each >= observed - 1e-9).astype(int) for each in drawn)
    return (reaching + 1) / (RELABELLINGS + 1)
