"""When is an image learned, and when is it forgotten? Definitions for densities, over log p by epoch, model and image.

Densities know no right and wrong. A model has *learned* an image where its log p is beyond what models that never saw the image
would reach: above their prediction limit, which one more such model exceeds with a chance of 5 %, for normal log p. An image is
compared with itself under other models of the same epoch, so it counts neither how easy it is nor how far training has come.

Events are those of Toneva et al. (2019, "An empirical study of example forgetting during deep neural network learning"), at scored
epochs in place of presentations. In all functions axes are epoch, model, image; `is_in` and `is_out` (models, n) say which models
are trained on an image and which are not.
"""

import numpy as np
from scipy.stats import t

LEVEL = 0.95  # of the limit: an unseen image counts as learned in 5 % of models


def above_limit(values: np.ndarray, is_out: np.ndarray) -> np.ndarray:
    """By how much each model's value exceeds the limit that the out models set, (models, n), in the unit of `values` (models, n).

    The limit is mean + t s sqrt(1 + 1 / m), with mean and standard deviation s of the m out models and t the quantile of
    Student's distribution with m - 1 degrees of freedom: the one-sided prediction limit of one more normal value (Hahn & Meeker
    1991, section 4.6). An out model is compared with the others, without itself. NaN with fewer than two to compare with. No s
    is smaller than what float32, in which log p is stored, can tell apart, so that models that agree exceed nothing.

    >>> above_limit(np.array([[0.0], [2.0], [9.0]]), np.array([[True], [True], [False]])).round(3).tolist()
    [[nan], [nan], [-2.936]]
    """
    count = is_out.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = values - np.where(is_out, values, 0).sum(axis=0) / count
        own = np.where(is_out, centred, 0)
        others = count - is_out
        # Leaving out a value at distance c from the mean of m moves the mean by -c / (m - 1), and takes c^2 m / (m - 1) off the
        # sum of squares.
        squares = np.maximum((own**2).sum(axis=0) - own**2 * count / (count - 1), 0)
        resolution = np.finfo(np.float32).eps * abs(values).max(axis=0)
        deviation = np.maximum(np.sqrt(squares / (others - 1)), resolution)
        quantiles = t.ppf(LEVEL, np.arange(len(values)))  # by degrees of freedom: they are slow to compute
        width = quantiles[np.maximum(others - 1, 0)] * deviation * np.sqrt(1 + 1 / others)
        excess = centred + own / (count - 1) - width
    return np.where(others > 1, excess, np.nan)


def first_learned(learned: np.ndarray, is_in: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """The first of `epochs` by which half of the in models have learned an image, at this epoch or before: (n,).

    learned: (epochs, models, n) bool. Infinite where fewer than half ever do, NaN without an in model.
    """
    ever = np.logical_or.accumulate(learned, axis=0)
    is_by_half = 2 * (ever & is_in).sum(axis=1) >= is_in.sum(axis=0)
    first = np.where(is_by_half.any(axis=0), epochs[is_by_half.argmax(axis=0)], np.inf)
    return np.where(is_in.any(axis=0), first, np.nan)


def forgetting_events(learned: np.ndarray) -> np.ndarray:
    """How often each model forgets an image: it is learned at an epoch and not at the next; (models, n).

    learned: (epochs, models, n) bool. As in Toneva et al., an image that is never learned counts as forgotten at every epoch.

    >>> forgetting_events(np.array([0, 1, 0, 1, 1, 0], dtype=bool)[:, None, None]).tolist()
    [[2]]
    >>> forgetting_events(np.zeros((6, 1, 1), dtype=bool)).tolist()
    [[6]]
    """
    events = (learned[:-1] & ~learned[1:]).sum(axis=0)
    return np.where(learned.any(axis=0), events, len(learned))


def mean_over(values: np.ndarray, models: np.ndarray) -> np.ndarray:
    """Mean of `values` (models, n) over some models of each image, (models, n) bool: (n,); NaN where there are none."""
    count = models.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(models, values, 0).sum(axis=0) / count
