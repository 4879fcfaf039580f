"""Why an image is memorized, by two dimensions (Ross et al. 2024, "A Geometric Framework for Understanding Memorization").

    overfitting-driven   the model's dimension at the image is below what is expected of it: the model adds mass of its own there
    data-driven          it is not, but the data's own dimension is small: copies, or images that hardly vary
    not memorized        neither
    undecided            the errors of the dimensions are too large to tell

All thresholds were fixed before any label was compared with a score. What exceeds one but not two standard errors is undecided, and
so is an image at which not even a model of dimension 0 would stand out.

Estimators of dimension count on scales of their own: those of the data differ by -15 to +5 % on a ball of known dimension, the
Jacobian of a VAE has at most latent_dim dimensions, and what FLIPD says of a network is relative. So there are two comparisons:

- **absolute**, where the model's dimension is exact: the data's is expected. The gap must exceed half a dimension, the least that
  rounds to a whole one, and a quarter of the data's dimension, which is above what data estimators err by on known manifolds.
- **relative**, elsewhere: expected is the model's median dimension at images of like data dimension, those of the same tenth. The
  gap must exceed three times the spread of gaps, half the width of their middle 68 %, which 1 in 700 normal ones does, and half a
  dimension again. This takes most images for not memorized. Where the model's dimension hardly varies, the middle 80 % of images
  within a tenth of the median, nothing is labelled.
"""

from typing import NamedTuple

import numpy as np

OVERFITTING, DATA, NOT_MEMORIZED, UNDECIDED = "overfitting-driven", "data-driven", "not memorized", "undecided"
LABELS = (OVERFITTING, DATA, NOT_MEMORIZED, UNDECIDED)
UNLABELLED = ""

LEAST_GAP, GAP = 0.5, 0.25  # in dimensions, and as a share of the data's dimension
SPREADS = 3  # of the relative gaps
GROUPS = 10  # of images of like data dimension
SMALL = 0.5  # of the median image's data dimension: below it the data's dimension is small
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
    """Of n images; is_absolute says that both dimensions are on one scale. An image with a dimension unknown gets no label.

    >>> data = Dimensions(np.array([1.0, 1, 1, 0]), np.zeros(4))
    >>> label(data, Dimensions(np.array([1.0, 0, 0.4, 0]), np.array([0, 0, 0.5, 0])), is_absolute=True).labels.tolist()
    ['not memorized', 'overfitting-driven', 'undecided', 'data-driven']
    """
    labels, gap = np.full(len(data.value), UNLABELLED, dtype=object), np.full(len(data.value), np.nan)
    known = ~np.isnan(data.value) & ~np.isnan(model.value)
    if not known.any():
        return Labelled(labels, gap, "no image has both dimensions")
    data, model = (Dimensions(*(part[known] for part in each)) for each in (data, model))
    expected = data.value if is_absolute else typical(data.value, model.value)
    gap[known] = expected - model.value
    if is_absolute:
        least, error = np.maximum(LEAST_GAP, GAP * data.value), np.hypot(data.standard_error, model.standard_error)
    elif hardly_varies(model.value):
        return Labelled(labels, gap, "the model's dimension hardly varies over the images")
    else:
        least, error = max(LEAST_GAP, SPREADS * spread(gap[known])), model.standard_error
    labels[known] = _labels(data, gap[known], least, expected, ERRORS * error)
    return Labelled(labels, gap, "")


def hardly_varies(dimension: np.ndarray) -> bool:
    """Whether the middle 80 % of images (n,) lie within a tenth of their median."""
    low, middle, high = np.quantile(dimension, [0.1, 0.5, 0.9])
    return bool(high - low <= VARIES * abs(middle))


def typical(data: np.ndarray, model: np.ndarray) -> np.ndarray:
    """The model's median dimension, (n,), over the tenth of images whose data dimension is like an image's; data, model: (n,)."""
    place = np.argsort(np.argsort(data, kind="stable"), kind="stable")
    group = place * min(GROUPS, len(data)) // len(data)
    return np.array([np.median(model[group == each]) for each in range(group.max() + 1)])[group]


def spread(gap: np.ndarray) -> float:
    """Half the width of the middle 68 % of gaps (n,): the standard deviation of normal ones, whatever a few others are."""
    low, high = np.quantile(gap, [0.1587, 0.8413])
    return float(high - low) / 2


def _labels(
    data: Dimensions, gap: np.ndarray, least: np.ndarray | float, expected: np.ndarray, error: np.ndarray
) -> np.ndarray:
    """Of images with both dimensions, (n,); `error` is that of the gap, by which it must exceed 0."""
    middle = np.median(data.value)
    is_small, upper = data.value < SMALL * middle, data.value + ERRORS * data.standard_error
    found = np.full(len(gap), NOT_MEMORIZED, dtype=object)
    found[error > expected] = UNDECIDED
    found[is_small] = np.where(upper < middle, DATA, UNDECIDED)[is_small]
    found[gap > least] = np.where(gap > error, OVERFITTING, UNDECIDED)[gap > least]
    return found
