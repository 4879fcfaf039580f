"""What prevention gains and what it costs: copies among samples, and how far samples and real images lie from each other.

Real images are held-out ones. Distances are Euclidean, between rows of features. How near held-out images come to samples depends
on how many samples there are, so it is asked of SET samples at a time.
"""

from typing import NamedTuple

import numpy as np

from engram.analyses.copying import COPY, nearest_different, sample_ratio
from engram.analyses.neighbors import nearest
from engram.scores import intervals
from engram.scores.intervals import Interval

NEAR_COPY = 1 / 2  # as COPY, for samples that may be copies spoilt: prevention must not merely push them over the limit
SET = 100  # samples in which a held-out image looks for its nearest


class Sets(NamedTuple):
    """Features of training and held-out images, (n, d) and (v, d), and the unit of copies of each training image, (n,)."""

    training: np.ndarray
    held_out: np.ndarray
    unit: np.ndarray


class Judged(NamedTuple):
    """Of some samples: features (m, d), `copying.sample_ratio` and index of the nearest training image, and distance to the
    nearest held-out image, (m,) each."""

    features: np.ndarray
    ratio: np.ndarray
    owner: np.ndarray
    distance: np.ndarray

    def some(self, which: np.ndarray) -> "Judged":
        """Those of an index or a mask."""
        return Judged(*(values[which] for values in self))


class TradeOff(NamedTuple):
    """Copies per 1,000 samples, and with near copies; mean distance of samples to their nearest held-out images, and of these to
    theirs."""

    copies: Interval
    near_copies: Interval
    distance: Interval
    coverage: Interval


def judged(samples: np.ndarray, sets: Sets) -> Judged:
    """From features of samples, (m, d)."""
    of_training = nearest_different(samples, sets.training, sets.unit, 2)
    _, distance = nearest(samples, sets.held_out)
    return Judged(samples, sample_ratio(of_training), of_training.index[:, 0], distance)


def trade_off(samples: Judged, held_out: np.ndarray) -> TradeOff:
    """The numbers with their 95 % intervals over samples: Wilson's, and Student's over samples and over sets of SET samples.

    An interval is NaN of fewer than two sets, and all is NaN of too few samples for it.
    """
    copies, near_copies = (_per_1000(samples.ratio < limit) for limit in (COPY, NEAR_COPY))
    sets = [samples.features[start : start + SET] for start in range(0, len(samples.features) - SET + 1, SET)]
    coverage = [nearest(held_out, of_set)[1].mean() for of_set in sets]
    return TradeOff(copies, near_copies, intervals.mean(samples.distance), intervals.mean(coverage))


def _per_1000(which: np.ndarray) -> Interval:
    return Interval(*(1000 * end for end in intervals.share(which.sum(), len(which))))
