"""The local dimension of data at a point, from its nearest different points: estimators in closed form.

In a flat manifold of dimension m that is sampled evenly, the distances from a point to its neighbours grow like the mth root of
their number. Maximum likelihood and TwoNN read m off them; the expected simplex skewness and local principal components look at
the directions of the neighbours instead, the tight estimator at both. None knows of curvature, edges or uneven sampling within the
neighbourhood, and the higher the dimension, the more neighbours lie at its edge: with few points all come out low. Standard errors
are of the sampling alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import gammaln

NEIGHBOURS = 20  # of what looks at distances
PATCH = 100  # neighbours of what looks at directions
KEPT = 0.9  # share of the smallest ratios that the regression of TwoNN is fitted to
NO_DISTANCE = 1e-4  # in radii of the neighbourhood
SHARE_OF_LARGEST = 0.05  # of the largest variance, above which a principal component counts
GRAMS = 2**22  # numbers of neighbours, or of their Gram matrices, that are held at once


class Estimate(NamedTuple):
    """Dimension at each point and its standard error, (n,) each."""

    value: np.ndarray
    standard_error: np.ndarray


def maximum_likelihood(distance: np.ndarray) -> Estimate:
    """(k - 1) / sum_j log(R_k / R_j) from distances R_1 <= ... <= R_k to different points, (n, k) with k above 3.

    Levina & Bickel (2004). In an even, flat neighbourhood the sum is a gamma variable of shape k - 1 and rate m. So the estimate
    has mean m (k - 1) / (k - 2), and its standard deviation is estimated without bias by value / sqrt(k - 3). Infinite where all
    neighbours are equally far, as in no manifold.

    >>> maximum_likelihood(np.array([[0.25, 0.5, 0.5, 1.0]]) ** (1 / 3)).value.round(3)  # as if in three dimensions
    array([3.246])
    """
    k = distance.shape[1]
    value = _over(k - 1, np.log(distance[:, -1:] / distance[:, :-1]).sum(axis=1))
    return Estimate(value, value / np.sqrt(k - 3))


def pooled(value: np.ndarray) -> float:
    """The dimension that points with maximum likelihood estimates (n,) share: their harmonic mean (MacKay & Ghahramani 2005)."""
    return float(_over(1, np.mean(1 / value)))


def two_nn(distance: np.ndarray) -> float:
    """One dimension for all points from distances to their two nearest, (n, 2) or more (Facco et al. 2017).

    The slope through 0 of -log(1 - F) against log(R_2 / R_1), over the smallest 90 % of ratios, F being their share of all.
    """
    n = len(distance)
    kept = int(KEPT * n)
    ratio = np.sort(_log_ratio(distance))[:kept]
    exponential = -np.log1p(-np.arange(1, kept + 1) / n)
    return float(ratio @ exponential / (ratio @ ratio)) if ratio.any() else np.inf


def two_nn_maximum_likelihood(distance: np.ndarray) -> float:
    """n / sum log(R_2 / R_1) from the same distances, all of them."""
    return float(_over(1, np.mean(_log_ratio(distance))))


def local_two_nn(distance: np.ndarray, index: np.ndarray) -> Estimate:
    """TwoNN over each point and its k neighbours by `index` (n, k): k / sum log(R_2 / R_1).

    distance: (n, 2) or more. The sum is that of k + 1 exponential variables. If they were independent, the value and its standard
    error, value / sqrt(k - 1), had no bias; as neighbours share distances, the error is a tenth to a quarter too small.
    """
    k = index.shape[1]
    ratio = _log_ratio(distance)
    value = _over(k, ratio + ratio[index].sum(axis=1))
    return Estimate(value, value / np.sqrt(k - 1))


def _over(count: float, total: np.ndarray) -> np.ndarray:
    """Infinite where the total is 0: where neighbours are equally far."""
    with np.errstate(divide="ignore"):
        return np.divide(count, total)


def _log_ratio(distance: np.ndarray) -> np.ndarray:
    return np.log(distance[:, 1] / distance[:, 0])


def centred_grams(points: np.ndarray, index: np.ndarray) -> Iterator[np.ndarray]:
    """Inner products of each point's neighbours about their mean, some points at a time: (points, k, k).

    points: (n, d); index: (n, k).
    """
    k = index.shape[1]
    at_once = max(1, GRAMS // (k * max(k, points.shape[1])))
    for start in range(0, len(index), at_once):
        patch = torch.from_numpy(points[index[start : start + at_once]]).double()
        patch -= patch.mean(1, keepdim=True)
        yield (patch @ patch.mT).numpy()


def simplex_skewness(gram: np.ndarray) -> Estimate:
    """The dimension in which random vectors are as skew to one another as the neighbours about their mean, (n,) from (n, k, k).

    The areas of the parallelograms of all pairs of vectors, over what they would be at right angles: version a with d = 1 of
    Johnsson et al. (2015). The standard error is that of a jackknife over neighbours, whose mean stays where it is.
    """
    squared = np.einsum("nii->ni", gram)
    squares = squared[:, :, None] * squared[:, None, :]
    area = np.sqrt(np.maximum(squares - gram**2, 0)).sum(axis=2)
    most = np.sqrt(squares).sum(axis=2) - squared  # a vector is no pair with itself
    k = gram.shape[1]
    with_all = area.sum(axis=1, keepdims=True) / 2, most.sum(axis=1, keepdims=True) / 2
    value = _dimension_of((with_all[0] / with_all[1])[:, 0], k)
    without = _dimension_of((with_all[0] - area) / (with_all[1] - most), k)
    return Estimate(value, np.sqrt(k - 1) * without.std(axis=1))


def _dimension_of(skewness: np.ndarray, k: int) -> np.ndarray:
    """Linear between whole dimensions m, whose skewness is E |sin| = Gamma(m/2)^2 / (Gamma((m+1)/2) Gamma((m-1)/2)).

    k vectors about their mean are at most as skew as in k^2 dimensions.
    """
    m = np.arange(2, k**2 + 1)
    expected = np.exp(2 * gammaln(m / 2) - gammaln((m + 1) / 2) - gammaln((m - 1) / 2))
    return np.interp(skewness, np.append(0, expected), np.append(1, m))


def tight(distance: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Maximum likelihood from the neighbours' distances to one another, too: (n,), the estimator TLE of Amsaleg et al. (2019).

    distance: (n, k) to different points, rising; gram: (n, k, k), inner products of the same neighbours about any point. The
    distance of two neighbours, and that of one from the other's reflection at the point, are measured as if from the middle
    of a ball of radius R_k that touches the neighbourhood from within. Pairs with one below 1e-4 R_k are left out. Infinite where
    all neighbours are equally far.
    """
    k, away = distance.shape[1], (distance / distance[:, -1:]) ** 2
    one, other = away[:, :, None], away[:, None, :]
    squared = np.einsum("nii->ni", gram)
    apart = (squared[:, :, None] + squared[:, None, :] - 2 * gram) / distance[:, -1:, None] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        direct, reflected = (_from_middle(each, one, other) for each in (apart, 2 * one + 2 * other - apart))
        is_pair = (direct > NO_DISTANCE) & (reflected > NO_DISTANCE) & ~np.eye(k, dtype=bool)
        logs = np.log(away).sum(axis=1) + np.where(is_pair, np.log(direct) + np.log(reflected), 0).sum(axis=(1, 2))
        return np.where(logs < -NO_DISTANCE, -2 * (k + is_pair.sum(axis=(1, 2))) / logs, np.inf)


def _from_middle(squared: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """x with x^2 (1 - one) + x (one + squared - other) = squared: of two points, by squared distances in units of R_k."""
    half = one + squared - other
    return 2 * squared / (np.sqrt(half**2 + 4 * squared * (1 - one)) + half)


def principal_components(gram: np.ndarray) -> np.ndarray:
    """How many variances of the neighbours about their mean are above 5 % of the largest, (n,) from (n, k, k).

    Fukunaga & Olsen (1971). It counts, and so has no standard error.
    """
    variances = np.linalg.eigvalsh(gram)
    return (variances > SHARE_OF_LARGEST * variances[:, -1:]).sum(axis=1)
