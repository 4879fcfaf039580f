"""Why an image is memorized, by two dimensions (Ross et al. 2024, "A Geometric Framework for Understanding Memorization").

    overfitting-driven   the model's dimension at the image is below what is expected of it: the model adds mass of its own there
    data-driven          the image is repeated; or there is no such gap, but the data's own dimension is small
    not memorized        neither
    undecided            the errors of the dimensions are too large to tell

All thresholds were fixed before any label was compared with a score. What exceeds one but not two standard errors is undecided, and
so is, where dimensions are exact, an image at which not even a model of dimension 0 would stand out.

Estimators of dimension count on scales of their own: those of the data come out 4 % low on a ball of 5 dimensions and 25 % low on
one of 20, the Jacobian of a VAE has at most latent_dim dimensions, and what FLIPD says of a network is relative. So there are two
comparisons:

- **absolute**, where the model's dimension is exact: the data's is expected. The gap must exceed half a dimension, the least that
  rounds to a whole one, and a quarter of the data's dimension, which is above what those of the data err by up to 15 dimensions.
  Beyond, the data's comes out lower still, which hides gaps and makes none.
- **relative**, elsewhere: expected is the model's median dimension at images of like data dimension: the same one where there are
  at most ten, else one of the same tenth. The gap must exceed three times the spread of gaps, half the width of their middle 68 %,
  which 1 in 700 normal ones does, and half a dimension again. This takes most images for not memorized. Nothing is labelled of
  fewer than a hundred images, or where the model's dimension hardly varies: the middle 80 % of images within a tenth of the median.

Repeated images, of data dimension 0, are data-driven in both, and no other image is held against them.
"""

from typing import NamedTuple

import numpy as np

OVERFITTING, DATA, NOT_MEMORIZED, UNDECIDED = "overfitting-driven", "data-driven", "not memorized", "undecided"
LABELS = (OVERFITTING, DATA, NOT_MEMORIZED, UNDECIDED)
UNLABELLED = ""

LEAST_GAP, GAP = 0.5, 0.25  # in dimensions, and as a share of the data's dimension
SPREADS = 3  # of the relative gaps
GROUPS = 10  # of images of like data dimension
FEWEST = 10 * GROUPS  # images that a relative comparison takes: of a few, the median is the image's own dimension
ALIKE = 5  # images of like data dimension at least, for the same reason
SMALL = 0.5  # of the median data dimension of images that are not repeated: below it the data's dimension is small
ERRORS = 2  # standard errors
VARIES = 0.1  # of the median: if the middle 80 % of images lie within, the model's dimension hardly varies


class Labelled(NamedTuple):
    """Labels (n,), of LABELS or UNLABELLED, what the model lacks of the expected dimension, (n,), and why none is labelled."""

    labels: np.ndarray
    gap: np.ndarray
    why_none: str


class Dimensions(NamedTuple):
    """Dimensions (n,) of n images and their standard errors; NaN where they are not known."""

    value: np.ndarray
    standard_error: np.ndarray


def label(data: Dimensions, model: Dimensions, is_absolute: bool) -> Labelled:
    """Of n images; is_absolute says that both dimensions are on one scale. A data dimension of 0 says that the image is repeated.

    An image with a dimension that is unknown or infinite gets no label. A standard error that is unknown, NaN, counts as none.

    >>> data = Dimensions(np.array([1.0, 1, 1, 0]), np.zeros(4))
    >>> label(data, Dimensions(np.array([1.0, 0, 0.4, 0]), np.array([0, 0, 0.5, 0])), is_absolute=True).labels.tolist()
    ['not memorized', 'overfitting-driven', 'undecided', 'data-driven']
    """
    labels, gap = np.full(len(data.value), UNLABELLED, dtype=object), np.full(len(data.value), np.nan)
    known = np.isfinite(data.value) & np.isfinite(model.value)
    if not known.any():
        return Labelled(labels, gap, "no image has both dimensions")
    data, model = (Dimensions(each.value[known], np.nan_to_num(each.standard_error[known])) for each in (data, model))
    different = int((data.value > 0).sum())
    if not is_absolute and different < FEWEST:
        return Labelled(
            labels, gap, f"{different} images that are not repeated are too few to compare; {FEWEST} are enough"
        )
    expected = data.value if is_absolute else typical(data.value, model.value)
    gap[known] = expected - model.value
    if is_absolute:
        least, error = np.maximum(LEAST_GAP, GAP * data.value), np.hypot(data.standard_error, model.standard_error)
    elif hardly_varies(model.value):
        return Labelled(labels, gap, "the model's dimension hardly varies over the images")
    else:
        least, error = max(LEAST_GAP, SPREADS * spread(gap[~np.isnan(gap)])), model.standard_error
    most = expected if is_absolute else np.inf  # FLIPD of a network may be any number, below 0, too
    labels[known] = _labels(data, gap[known], least, most, ERRORS * error)
    return Labelled(labels, gap, "")


def hardly_varies(dimension: np.ndarray) -> bool:
    """Whether the middle 80 % of images (n,) lie within a tenth of their median."""
    low, middle, high = np.quantile(dimension, [0.1, 0.5, 0.9])
    return bool(high - low <= VARIES * abs(middle))


def typical(data: np.ndarray, model: np.ndarray) -> np.ndarray:
    """The model's median dimension, (n,), over the images whose data dimension is like an image's; data, model: (n,).

    NaN of repeated images, of data dimension 0, and where fewer than ALIKE images are alike.
    """
    found, different = np.full(len(data), np.nan), data > 0
    group, model = alike(data[different]), model[different]
    medians = [
        np.median(model[group == each]) if (group == each).sum() >= ALIKE else np.nan for each in range(group.max() + 1)
    ]
    found[different] = np.array(medians)[group]
    return found


def alike(data: np.ndarray) -> np.ndarray:
    """The group of each image by its data dimension, (n,): equal ones are in one group, whatever the order of images.

    One group for each value where there are at most GROUPS of them, else between the quantiles.

    >>> alike(np.array([5.0, 1, 1, 2])).tolist()
    [2, 0, 0, 1]
    """
    values, group = np.unique(data, return_inverse=True)
    if len(values) <= GROUPS:
        return group
    return np.searchsorted(np.quantile(data, np.arange(1, GROUPS) / GROUPS), data)


def spread(gap: np.ndarray) -> float:
    """Half the width of the middle 68 % of gaps (n,): the standard deviation of normal ones, whatever a few others are."""
    low, high = np.quantile(gap, [0.1587, 0.8413])
    return float(high - low) / 2


def _labels(
    data: Dimensions, gap: np.ndarray, least: np.ndarray | float, most: np.ndarray | float, error: np.ndarray
) -> np.ndarray:
    """Of images with both dimensions, (n,); `most` is the largest gap that there can be, `error` what it must exceed."""
    is_repeated, upper = data.value == 0, data.value + ERRORS * data.standard_error
    small = 0 if is_repeated.all() else SMALL * np.median(data.value[~is_repeated])
    found = np.full(len(gap), NOT_MEMORIZED, dtype=object)
    found[error > most] = UNDECIDED
    found[data.value < small] = UNDECIDED
    found[upper < small] = DATA
    found[gap > least] = np.where(gap > error, OVERFITTING, UNDECIDED)[gap > least]
    found[np.isnan(gap)] = UNLABELLED
    found[is_repeated] = DATA
    return found
