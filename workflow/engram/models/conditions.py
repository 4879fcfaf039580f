"""What a model is given of an image beside x: its class, if the model learns log p(x | class), else nothing."""

import numpy as np
import torch
from torch import Tensor

from engram.errors import UserError
from engram.models.protocols import classes


def conditions(model: object, labels: np.ndarray | None) -> tuple[Tensor, ...]:
    """The class of each of n images, (n,) int64, or nothing for a model without classes: the last arguments of its methods.

    labels: (n,), each image's class by its index, -1 for none; None where they are not known. Raises UserError, naming an
    image, unless each has one of the model's classes.

        >>> conditions(torch.nn.Linear(2, 2), np.array([3, -1]))
        ()
    """
    known = classes(model)
    if not known:
        return ()
    needs = f"classes is {known}, so every image must be of a class from 0 to {known - 1}"
    if labels is None:
        raise UserError(f"{needs}, but no labels are given; give label, the class of each image")
    outside = np.flatnonzero((labels < 0) | (labels >= known))
    if len(outside):
        raise UserError(f"{needs}; {len(outside):,} of {len(labels):,} are not: {_unfit(labels, outside)}")
    return (torch.from_numpy(np.asarray(labels, dtype=np.int64)),)


def _unfit(labels: np.ndarray, outside: np.ndarray) -> str:
    """One of the images `outside`, which has a class that there is not, and what to do."""
    unlabelled = outside[labels[outside] < 0]
    if len(unlabelled):
        return f"image {unlabelled[0]} has no label; leave classes out, or take a data set in which every image has one"
    return f"image {outside[0]} is of class {labels[outside[0]]}; write classes: {labels.max() + 1}"
