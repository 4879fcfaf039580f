"""Cohorts of images that enter a training at stated epochs, for the design `staggered`."""

from collections.abc import Sequence

import numpy as np

NEVER = -1  # in place of an epoch: the model is not shown the image


def enters(in_training: np.ndarray, cohorts: Sequence[int]) -> np.ndarray:
    """The epochs after which the models of a repeat are shown each image, (model, sample) int; NEVER of images held out.

    in_training: (model, sample) bool of a k_fold with a fold more than there are cohorts. cohorts: the epochs, rising from 0.
    The folds take turns: model k is shown fold k + 1 from the first epoch of `cohorts`, fold k + 2 from the second, and so on,
    counted in a circle. So over the models of a repeat every image is in each cohort once, and held out once.

    >>> enters(np.array([[False, True, True], [True, False, True], [True, True, False]]), [0, 10])
    array([[-1,  0, 10],
           [10, -1,  0],
           [ 0, 10, -1]])
    """
    models = len(in_training)
    fold = (~in_training).argmax(axis=0)  # anything for an image that no model is trained on
    cohort = (fold - np.arange(models)[:, None] - 1) % models
    return np.where(in_training, np.array([*cohorts, NEVER])[cohort], NEVER)
