"""Why an image is memorized, by two dimensions (Ross et al. 2024, "A Geometric Framework for Understanding Memorization").

    overfitting-driven   the model's dimension at the image is below that of the data: the model adds mass that the data do not
    data-driven          it is not, but the data's own dimension is small there: copies, or images that hardly vary
    not memorized        neither
    undecided            the errors of the dimensions are too large to tell

All thresholds were fixed before any label was compared with a score. A dimension is held against a threshold by its 95 % interval,
two standard errors to either side, and what the interval does not settle is undecided.

Two estimators of dimension count on scales of their own: those of the data differ by -15 to +5 % on a ball of known dimension, the
Jacobian of a VAE has at most latent_dim dimensions, and what FLIPD says of a network is relative. So there are two comparisons:

- **absolute**, where the model's dimension is exact: it is below the data's if the gap exceeds half a dimension, the least that
  rounds to a whole one, and a quarter of the data's dimension, which is above what data estimators err by on known manifolds.
- **relative**, elsewhere: an image's gap is that between what the model has at images of like data dimension (the median of its
  tenth of the images) and what it has at this one. It must exceed three times the spread of these gaps, which is half the width
  of their middle 68 %; 1 in 700 normal ones does. Half a dimension again is the least. This takes most images for not memorized.
  Where the model's dimension hardly varies, the middle 80 % of images within a tenth of the median, nothing is labelled.
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
ERRORS = 2  # standard errors to either side
VARIES = 0.1  # of the median: if the middle 80 % of images lie within, the model's dimension hardly varies


class Labelled(NamedTuple):
    """Labels (n,) of LABELS or UNLABELLED; gap (n,), what the model lacks of the dimension that is expected; why none is labelled."""

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
    >>> label(data, Dimensions(np.array([1.0, 0, 0.9, 0]), np.array([0, 0, 0.5, 0])), is_absolute=True).labels.tolist()
    ['not memorized', 'overfitting-driven', 'undecided', 'data-driven']
    """
    labels, gap = np.full(len(data.value), UNLABELLED, dtype=object), np.full(len(data.value), np.nan)
    known = ~np.isnan(data.value) & ~np.isnan(model.value)
    if not known.any():
        return Labelled(labels, gap, "no image has both dimensions")
    data, model = (Dimensions(*(part[known] for part in each)) for each in (data, model))
    if is_absolute:
        gap[known] = data.value - model.value
        error = np.hypot(data.standard_error, model.standard_error)
        least = np.maximum(LEAST_GAP, GAP * data.value)
    else:
        gap[known], least = relative_gap(data.value, model.value)
        error = model.standard_error
        if hardly_varies(model.value):
            return Labelled(labels, gap, "the model's dimension hardly varies over the images")
    labels[known] = _labels(data, gap[known], least, error)
    return Labelled(labels, gap, "")


def hardly_varies(dimension: np.ndarray) -> bool:
    """Whether the middle 80 % of images (n,) lie within a tenth of their median."""
    low, middle, high = np.quantile(dimension, [0.1, 0.5, 0.9])
    return bool(high - low <= VARIES * abs(middle))


def relative_gap(data: np.ndarray, model: np.ndarray) -> tuple[np.ndarray, float]:
    """What the model lacks, (n,), of its median dimension at images of like data dimension, and how much of it is too much."""
    ranked = np.argsort(np.argsort(data, kind="stable"), kind="stable")
    group = ranked * min(GROUPS, len(data)) // len(data)
    expected = np.array([np.median(model[group == each]) for each in range(group.max() + 1)])
    gap = expected[group] - model
    low, high = np.quantile(gap, [0.1587, 0.8413])
    return gap, max(LEAST_GAP, SPREADS * (high - low) / 2)


def _labels(data: Dimensions, gap: np.ndarray, least: np.ndarray | float, error: np.ndarray) -> np.ndarray:
    """Of images with both dimensions, (n,)."""
    small, width = SMALL * np.median(data.value), ERRORS * error
    of_data = ERRORS * data.standard_error
    has_gap, has_none = gap - width > least, gap + width <= least
    is_small, is_large = data.value + of_data < small, data.value - of_data >= small
    found = np.full(len(gap), UNDECIDED, dtype=object)
    found[has_none & is_large] = NOT_MEMORIZED
    found[has_none & is_small] = DATA
    found[has_gap] = OVERFITTING
    return found
