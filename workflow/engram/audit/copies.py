"""Copies of given training images among samples of a pipeline, by the rules of engram.analyses.copying.

Images of more than 64 pixels a side are compared at 64 (engram.audit.images.means), and so in bounded memory.
"""

from typing import NamedTuple

import numpy as np

from engram.analyses import copying
from engram.analyses.copy_tests import most_like_copies
from engram.analyses.copying import NEIGHBOURS, nearest_different
from engram.analyses.duplicates import NEAR
from engram.analyses.neighbors import nearest
from engram.audit.images import means
from engram.datasets.duplicates import groups
from engram.scores.intervals import Interval


class Copies(NamedTuple):
    """per_image: columns over all training images. ratio, owner: (samples,), whose nearest training image is `owner`.

    shares: of samples that are copies, and that are authentic, and of held-out images in their place; ratio_fresh: of these.
    shown: index of the samples most like copies.
    """

    per_image: dict[str, np.ndarray]
    ratio: np.ndarray
    owner: np.ndarray
    ratio_fresh: np.ndarray
    shares: dict[str, Interval]
    shown: np.ndarray


def why_not(training: np.ndarray | None) -> str:
    """Why there can be no copying tests; empty if there can. training: (n, pixels) uint8."""
    if training is None:
        return "no training images are given, with which samples would be compared"
    if (training == training[0]).all():
        return "all training images are the same, so that a sample is near to none alone"
    return ""


def copies(samples: np.ndarray, training: np.ndarray, fresh: np.ndarray, shape: tuple[int, int, int]) -> Copies:
    """All of it, from images (n, pixels) uint8 of `shape`; `fresh` are held-out images, of which there may be none."""
    unit = copying.units(groups(training, NEAR))
    of_training, of_samples, of_fresh = (means(images, shape)[0] for images in (training, samples, fresh))
    near = nearest_different(of_samples, of_training, unit, NEIGHBOURS + 1)
    ratio = copying.sample_ratio(near)
    per_image = copying.per_image(near, *nearest(of_training, of_samples), unit)
    shares, ratio_fresh = copying.shares(near, of_training, unit), np.empty(0)
    if len(fresh):
        near_fresh = nearest_different(of_fresh, of_training, unit, 2)
        ratio_fresh = copying.sample_ratio(near_fresh)
        shares |= copying.shares(near_fresh, of_training, unit, "_fresh")
    owner = near.index[:, 0]
    return Copies(per_image, ratio, owner, ratio_fresh, shares, most_like_copies(ratio, unit[owner]))
