"""Models whose training sets were drawn independently of one another, such as random subsets: what replaces repeats.

An image's score by mean_log is then a difference of means of two independent samples, log p of the models trained on it and
log p of the others, and has a standard error in closed form.
"""

import numpy as np
from scipy.stats import chi2

from engram.scores.statistics import blocks

FALSE_ALARM = 1e-6  # chance of calling exchangeable labels dependent, by either check
LEAST_EXPECTED = 5.0  # images that two models share on the rarer side; with fewer, chi-square says little


def standard_error(log_px: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """Standard error of every image's mean_log score, (n,), nats; NaN with a single model on one side.

    log_px: (models, n) or (models, draws, n), nats, draws being averaged; in_training: (models, n) bool. It is
    sqrt(s_in^2 / m_in + s_out^2 / m_out) with s^2 the sample variances (Welch 1938): what a bootstrap over the models of
    each side tends to with its number of resamples, once its factor (m - 1) / m is taken out (Efron & Tibshirani 1993,
    section 5.3). So no resampling is needed, and its square is unbiased.
    """
    variance = np.zeros(in_training.shape[1])
    for images, values in blocks(log_px):
        values = values.mean(axis=1)
        for side in (in_training[:, images], ~in_training[:, images]):
            count = side.sum(axis=0)
            mean = np.multiply(values, side).sum(axis=0) / count
            squares = np.multiply(values - mean, side) ** 2
            with np.errstate(invalid="ignore"):
                variance[images] += squares.sum(axis=0) / (count * (count - 1))
    return np.sqrt(variance)


def why_not_exchangeable(in_training: np.ndarray) -> str | None:
    """What shows that an image's labels depend on the model, or on one another, or None: (models, n) bool.

    Exchangeable means: given how many models were trained on an image, any of them are as likely to be those. Then the sizes
    of the training sets, and the overlap of any two, scatter as these counts say. With few images, or fewer than four
    models, nothing shows. Folds of one split are exchangeable, folds of several are so only within each.
    """
    share = in_training.mean(axis=0)
    deviation = in_training - share
    if _sizes_differ(deviation, share):
        return "their sizes differ by more than chance, and models trained on more images give other log p"
    if _overlaps_differ(deviation, share):
        return "they overlap otherwise than random subsets do, as folds of several splits or repeated subsets"
    return None


def _sizes_differ(deviation: np.ndarray, share: np.ndarray) -> bool:
    """Sums of deviations, of variance sum q (1 - q) each and correlation -1 / (models - 1), by chi-square."""
    models = len(deviation)
    variance = (share * (1 - share)).sum() * models / (models - 1)
    return bool(chi2.sf((deviation.sum(axis=1) ** 2).sum() / variance, models - 1) < FALSE_ALARM)


def _overlaps_differ(deviation: np.ndarray, share: np.ndarray) -> bool:
    """Sums of products of two models' deviations, by chi-square with m (m - 3) / 2 degrees of freedom for m models.

    For one image, m q models of deviation 1 - q and m (1 - q) of deviation -q, the moments of the product of two of them,
    drawn without replacement, are exact.
    """
    models, freedom = len(deviation), len(deviation) * (len(deviation) - 3) / 2
    if freedom <= 0 or (np.minimum(share, 1 - share) ** 2).sum() < LEAST_EXPECTED:
        return False
    pairs = models * (models - 1)
    counts, values = models * np.array([share, 1 - share]), np.array([1 - share, -share])
    both = (counts * (counts - 1) * values**4).sum(axis=0) / pairs
    mixed = 2 * counts.prod(axis=0) * values.prod(axis=0) ** 2 / pairs
    mean = -share * (1 - share) / (models - 1)
    variance = (both + mixed - mean**2).sum()
    if variance <= 0:
        return False
    product = (deviation @ deviation.T)[np.triu_indices(models, 1)]
    chi_square = ((product - mean.sum()) ** 2).sum() / variance
    return bool(chi2.sf(chi_square * freedom / (pairs / 2), freedom) < FALSE_ALARM)
