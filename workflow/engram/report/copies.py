"""What the report says of copies among the images: how many there are, how the design treats them, and whether tests leak."""

import numpy as np
import xarray as xr

from engram.datasets.duplicates import ALONE
from engram.files.artifacts import TEST, TRAIN


def sentences(analysis: xr.Dataset, split: np.ndarray, in_training: np.ndarray) -> str:
    """How many copies there are among the images, and how the design treats those in training.

    analysis: the duplicates artifact; split: (n,) of the data set; in_training: (models, m) bool, of the first m images, to
    which all training images belong.
    """
    counts, training = analysis.attrs, int((split == TRAIN).sum())
    near = f"up to {counts['near_distance']:g} grey levels of 255 apart in the mean"
    copied, leaked = counts["training_with_copy"], counts["test_with_copy_in_training"]
    if not copied:
        within = f"No training image is a copy of another ({near})"
        return f"{within}{'.' if leaked else ', and no test image is a copy of a training image.'}"
    groups = counts["groups_of_copies"]
    return (
        f"{copied:,} of {training:,} training images are copies of one another ({near}; {counts['training_with_equal']:,} "
        f"are equal to the byte), in {groups:,} {'group' if groups == 1 else 'groups'} of at most {counts['largest_group']:,}. "
        + _treatment(held_out_together(analysis["copy_group"].values[: in_training.shape[1]], in_training))
    )


def leak(analysis: xr.Dataset, split: np.ndarray) -> list[str]:
    """A caution if test images are copies of training images, else none; of the same arguments."""
    leaked, test = analysis.attrs["test_with_copy_in_training"], int((split == TEST).sum())
    if not leaked:
        return []
    return [
        f"{leaked:,} of {test:,} test images are copies of training images. Models are trained on them, so whatever is judged by "
        "test images is biased: the loss on them, the unseen null, and each comparison of training with test images."
    ]


def held_out_together(group: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """Whether the images of each group are in the training sets of the same models, (groups,) bool.

    group: (n,) number from 0, -1 for none; in_training: (models, n) bool.

    >>> held_out_together(np.array([0, 0, -1, 1, 1]), np.array([[1, 1, 0, 1, 0], [0, 0, 1, 0, 1]], bool)).tolist()
    [True, False]
    """
    numbers, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    differs = (in_training != in_training[:, first[inverse]]).any(axis=0)
    apart = np.bincount(inverse, weights=differs) > 0
    return ~apart[numbers != ALONE]


def _treatment(together: np.ndarray) -> str:
    if together.all():
        return "Copies are held out together, so a score says what models learned from all copies of an image."
    which = (
        "Copies are" if not together.any() else f"The copies of {(~together).sum():,} of {len(together):,} groups are"
    )
    return (
        f"{which} held out apart: models that leave out one are trained on another, so that their scores say how much one copy "
        "more teaches; `groups_from: duplicates` in membership holds them out together."
    )
