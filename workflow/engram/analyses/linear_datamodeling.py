"""The linear datamodeling score: does an attribution to single training images foretell log p of models trained on halves?

An attribution tau (training images, test images) foretells log p of test image x, under a model trained on the half S, by the
sum of tau_i(x) over i in S. Its score is Spearman's correlation of forecast and log p over halves, mean over test images
(Park et al. 2023). Halves come as repeats of two that complement each other, so repeats are drawn anew.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from engram.scores.intervals import Interval

RESAMPLES = 400
COMPARISONS = (
    2**23
)  # pairs of halves compared at once, over test images, and their ranks in all resamples: about 32 MiB each


def forecast(attribution: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """(halves, x): the sum of attribution (n, x) over each half of in_training (halves, n) minus half the sum over all images.

    What is subtracted alters no rank over halves, but makes forecasts by several models alike enough to be averaged.

    >>> forecast(np.array([[1.0], [2.0], [4.0]]), np.array([[True, True, False], [False, False, True]])).tolist()
    [[-0.5], [0.5]]
    """
    return _signed(in_training) @ attribution


def _signed(in_training: np.ndarray) -> np.ndarray:
    """1/2 for an image in the half and -1/2 for one that is not."""
    return in_training.astype(np.float32) - np.float32(0.5)


def of_other_repeats(forecasts: np.ndarray, of_model: np.ndarray, repeat: np.ndarray) -> np.ndarray:
    """Mean (halves, x) of the forecasts (models, halves, x), for each half without the models of its own repeat.

    of_model (models,): each model's repeat, and repeat (halves,) each half's. So no half is foretold by itself or by its
    complement.
    """
    counts = (of_model[:, None] != repeat).astype(np.float32)
    return np.einsum("ms,msx->sx", counts / counts.sum(axis=0), forecasts)


def regression(log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray) -> np.ndarray:
    """What the halves of other repeats foretell, (halves, x): a linear datamodel (Ilyas et al. 2022) of log_px (halves, x).

    Ridge regression on membership as 1/2 or -1/2, with the penalty n / 4, at which a training with as much noise as all n
    images have influence is weighed best. It takes trainings and no gradient, so it is what an attribution has to beat to be
    worth more than the trainings that judge it.
    """
    signed = _signed(in_training)
    products = (signed @ signed.T).astype(np.float64)
    foretold = np.empty(log_px.shape)
    for number in np.unique(repeat):
        own, others = np.flatnonzero(repeat == number), np.flatnonzero(repeat != number)
        of_others = products[np.ix_(others, others)] + signed.shape[1] / 4 * np.eye(len(others))
        known = log_px[others] - log_px[others].mean(axis=0)
        foretold[own] = products[np.ix_(own, others)] @ np.linalg.solve(of_others, known)
    return foretold


class Resamples(NamedTuple):
    """Weights of a Bayesian bootstrap (Rubin 1981): halves (1 + RESAMPLES, halves), alike within each of `repeats`, and images
    (1 + RESAMPLES, x). The first of each, all 1, gives the estimate."""

    halves: np.ndarray
    images: np.ndarray
    repeats: int

    @classmethod
    def of(cls, repeat: np.ndarray, images: int, rng: np.random.Generator) -> "Resamples":
        numbers, place = np.unique(repeat, return_inverse=True)
        of_repeats, of_images = (rng.standard_exponential((1 + RESAMPLES, size)) for size in (len(numbers), images))
        of_repeats[0], of_images[0] = 1, 1
        return cls(of_repeats[:, place].astype(np.float32), of_images.astype(np.float32), len(numbers))

    def over_images(self, values: np.ndarray) -> np.ndarray:
        """Weighted mean over test images of values (1 + RESAMPLES, x): (1 + RESAMPLES,); NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return (self.images * values).sum(axis=1) / self.images.sum(axis=1)

    def interval(self, estimates: np.ndarray) -> Interval:
        """The first of `estimates` (1 + RESAMPLES,), with Student's t interval from the standard deviation of the others.

        The bootstrap's variance of a mean of r repeats is (r - 1) / (r + 1) of what it should be, which is made good.
        """
        r = self.repeats
        half_width = stats.t.ppf(0.975, r - 1) * np.std(estimates[1:]) * np.sqrt((r + 1) / (r - 1))
        return Interval(*(float(estimates[0] + side) for side in (0, -half_width, half_width)))


def correlations(foretold: np.ndarray, log_px: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's correlation over halves of foretold and log_px (halves, x) with weights (w, halves): (w, x).

    Ties share their mean rank. 0 where either is constant over halves, which foretells nothing.

    >>> halves = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([[1.0], [3.0], [2.0], [4.0]])
    >>> round(float(correlations(*halves, np.ones((1, 4), np.float32))[0, 0]), 6)
    0.8
    """
    found = np.empty((len(weights), foretold.shape[1]))
    for images in _blocks(foretold.shape, len(weights)):
        a, b = (_ranks(values[:, images], weights) for values in (foretold, log_px))
        product, *squares = ((weights.T * pair).sum(axis=1).T for pair in (a * b, a * a, b * b))
        norm = np.sqrt(squares[0].astype(np.float64) * squares[1])
        found[:, images] = np.divide(product, norm, out=np.zeros_like(norm), where=norm != 0)
    return found


def ceiling(log_px: np.ndarray, repeat: np.ndarray, resamples: Resamples) -> np.ndarray:
    """The score of a perfect attribution, (1 + RESAMPLES,), from log_px (halves, x) of pairs of complementary halves.

    If log p is a sum over training images plus the noise of training, the sums of the two halves of a pair are opposite about
    their mean, and the noises independent. So the two correlate as -share, where share is the variance of the sum over that of
    log p, and a perfect forecast correlates with log p as sqrt(share). Correlations are of ranks, turned into those of normal
    variables and back (Pearson 1907: r = 2 sin(pi rank / 6)). What depends on pairs of images acts on both halves alike and
    lowers it.

    Raises ValueError unless every repeat has two halves.
    """
    order = np.argsort(repeat, kind="stable")
    if len(order) % 2 or (repeat[order[::2]] != repeat[order[1::2]]).any():
        raise ValueError("the ceiling takes repeats of two complementary halves")
    shares = np.empty((len(resamples.halves), log_px.shape[1]))
    weights = resamples.halves[:, order]
    for images in _blocks(log_px.shape, len(weights)):
        shares[:, images] = _opposed(_ranks(log_px[order][:, images], weights), weights)
    share = 2 * np.sin(np.pi / 6 * resamples.over_images(shares))
    return 6 / np.pi * np.arcsin(np.sqrt(np.clip(share, 0, 1)) / 2)


def _opposed(ranks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How far pairs differ more than they go together, of their variance: (w, x) from ranks (x, halves, w), pairs side by side."""
    first, second, of_pair = ranks[:, ::2], ranks[:, 1::2], weights[:, ::2]
    pairs = of_pair.shape[1]
    # The mean of the pairs' means is fixed at 0, which costs them a degree of freedom; which half is first is a toss.
    together = np.einsum("wp,xpw->wx", of_pair, (first + second) ** 2) / (pairs - 1)
    apart = np.einsum("wp,xpw->wx", of_pair, (first - second) ** 2) / pairs
    total = (apart + together).astype(np.float64)
    return np.divide(apart - together, total, out=np.zeros_like(total), where=total != 0)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted ranks about their mean: values (halves, x) and weights (w, halves) to (x, halves, w).

    A rank is the weight of what lies below minus that of what lies above, so that its weighted mean is 0.
    """
    columns = values.T
    return np.sign(columns[:, :, None] - columns[:, None]).astype(np.float32) @ weights.T


def _blocks(shape: tuple[int, ...], weights: int) -> list[slice]:
    """Slices of test images that bound what is held of (halves, x)."""
    halves, images = shape
    size = max(1, COMPARISONS // (halves * max(halves, weights)))
    return [slice(start, start + size) for start in range(0, images, size)]
