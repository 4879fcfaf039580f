"""What changes in the course of a training: the learning rate, and the weight of the KL divergence."""

import math


def learning_rate(schedule: str, first: float, progress: float) -> float:
    """The learning rate when a share `progress`, from 0 to 1, of the training is done.

    "constant", or falling to 0 at the end along a straight line ("linear") or half a cosine ("cosine").

    >>> learning_rate("cosine", 0.001, 0.5)
    0.0005
    """
    match schedule:
        case "cosine":
            return first * 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return first * (1 - progress)
    return first


def kl_weight(epochs_done: float, warm_up: float) -> float:
    """The weight of the KL divergence in the objective: from 0 it rises to 1 in the first `warm_up` epochs.

    >>> kl_weight(2.5, warm_up=10)
    0.25
    """
    return min(1.0, epochs_done / warm_up)
