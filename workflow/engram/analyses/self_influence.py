"""How much training on an image changes that very image's objective, estimated from the gradients of a single model.

TracIn (Pruthi et al. 2020) sums the learning rate times the gradient's squared norm over epochs. With the inverse of the Fisher
information it is the influence function (engram.analyses.ekfac). Both are means over draws of x and noise.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engram.analyses import ekfac
from engram.analyses.gradients import Differentiated
from engram.analyses.judged_images import JudgedImages
from engram.analyses.objective import blocks, draws_of
from engram.training.schedules import learning_rate


def squared_norms(model: Differentiated, judged: JudgedImages) -> tuple[np.ndarray, np.ndarray]:
    """Of each image's gradient with respect to all parameters, and to the last layer's: (n,), (n,), means over draws."""
    draws = []
    for draw in range(draws_of(model.model)):
        some = blocks(model.model, judged, draw, model.images_at_once)
        draws.append([torch.cat(part) for part in zip(*(model(*block).squared_norms() for block in some), strict=True)])
    return tuple(torch.stack(part).double().mean(0).numpy() for part in zip(*draws, strict=True))


def rate_at(training: Mapping[str, Any], epoch: int) -> float:
    """The learning rate in the middle of the epoch that ends at `epoch`, by the settings of the training in config.yaml.

    >>> rate_at({"learning_rate": 0.001, "epochs": 40}, 40)
    0.001
    """
    schedule = training.get("learning_rate_schedule", "constant")
    return learning_rate(schedule, training["learning_rate"], (epoch - 0.5) / training["epochs"])


def ekfac_self_influence(model: Differentiated, judged: JudgedImages) -> np.ndarray:
    """g'(F + damping)^-1 g of each image, (n,), mean over draws; F of the first draw, layers without a product left out."""

    def layers(draw: int) -> Iterator[ekfac.Block]:
        return (model(*block).layers() for block in blocks(model.model, judged, draw, model.images_at_once))

    curvature = ekfac.fit(lambda: layers(0))

    def of_draw(draw: int) -> Tensor:
        return torch.cat([sum(curvature[name].self_influence(part) for name, part in block) for block in layers(draw)])

    return np.mean([of_draw(draw).double().numpy() for draw in range(draws_of(model.model))], axis=0)
