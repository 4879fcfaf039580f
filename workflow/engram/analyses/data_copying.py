"""Data-copying test of Meehan, Chaudhuri & Dasgupta (2020): are samples nearer to the training set than fresh images are?

Within each of a few cells of the space, distances of samples to their nearest training image are compared with those of fresh
images by their ranks. C_T is the mean of the cells' z-scores, weighted by the share of fresh images there. Far below 0
samples lie too near to the training set, far above 0 too far. It speaks of the whole set; copying and under-fitting within one
cell cancel. Training images that are there twice change no distance to the nearest.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.cluster.vq import kmeans2, vq
from scipy.stats import mannwhitneyu, norm, rankdata, tiecorrect

from engram.analyses.neighbors import nearest

CELLS = 3  # as in Jiralerspong et al. (2023)
FEWEST = 20  # samples, and fresh images, in a cell that counts
ITERATIONS = 50


class DataCopying(NamedTuple):
    """C_T, its standard deviation for samples like fresh images, and the p-value that they are so near; of each cell (cells,)
    its z-score and numbers of samples and fresh images. A cell with too few has NaN; if all have, all is NaN.
    """

    c_t: float
    null_deviation: float
    p_value: float
    z: np.ndarray
    samples: np.ndarray
    fresh: np.ndarray


def z_score(of_fresh: np.ndarray, of_samples: np.ndarray) -> float:
    """(U - (mn/2 - 1/2)) / sqrt(mn (m + n + 1) / 12), from n and m distances to the nearest training image.

    U counts the pairs in which the sample's distance is larger, and half of those in which both are equal; 1/2 is the
    continuity correction, which the published program has.

    >>> round(z_score(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])), 4)
    2.0207
    """
    n, m = len(of_fresh), len(of_samples)
    u = mannwhitneyu(of_samples, of_fresh, method="asymptotic").statistic
    return float((u - (m * n / 2 - 0.5)) / np.sqrt(m * n * (m + n + 1) / 12))


def data_copying(fresh: tuple, samples: tuple, training: tuple, fewest: int = FEWEST) -> DataCopying:
    """C_T of `samples` against `fresh` images, each with `training` a pair of rows (n, d) and their cells (n,), from 0.

    Given the cells and how many of either set lie in each, the ranks of distances within a cell are a random order if
    samples are drawn like fresh images. So the null deviation, ties included, is exact, and cells add up independently; it is
    below 1, which a single z-score has. The p-value is Phi(C_T / deviation).
    """
    cells = int(training[1].max()) + 1
    count_fresh, count_samples = (np.bincount(cell, minlength=cells) for cell in (fresh[1], samples[1]))
    counted = (count_fresh >= fewest) & (count_samples >= fewest) & (np.bincount(training[1], minlength=cells) > 0)
    z, deviation = np.full((2, cells), np.nan)
    for cell in np.flatnonzero(counted):
        rows = [values[of == cell] for values, of in (fresh, samples, training)]
        distances = [nearest(part, rows[2])[1] for part in rows[:2]]
        z[cell] = z_score(*distances)
        deviation[cell] = np.sqrt(tiecorrect(rankdata(np.concatenate(distances))))
    if not counted.any():
        return DataCopying(np.nan, np.nan, np.nan, z, count_samples, count_fresh)
    weight = count_fresh[counted] / count_fresh[counted].sum()
    c_t, of_null = float(weight @ z[counted]), float(np.sqrt(weight**2 @ deviation[counted] ** 2))
    p_value = float(norm.cdf(c_t / of_null)) if of_null else 1.0  # all distances are equal: nothing is nearer
    return DataCopying(c_t, of_null, p_value, z, count_samples, count_fresh)


def cells_of(training: np.ndarray, *others: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Cell of each training row and of the others', (n,) each: the nearest of the means that k-means finds for `training`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an empty cell, which then does not count
        centres = kmeans2(training, min(CELLS, len(training)), iter=ITERATIONS, minit="++", seed=rng)[0]
    return [vq(rows, centres)[0] for rows in (training, *others)]
