"""How much training on an image changes that very image's objective, estimated from the gradients of a single model.

TracIn (Pruthi et al. 2020) sums the learning rate times the gradient's squared norm over epochs. With the inverse of the Fisher
information it is the influence function (engram.analyses.ekfac). Both are means over draws of x and noise.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses import ekfac
from engram.analyses.gradients import TRIED, Differentiated
from engram.analyses.objective import Judged
from engram.models.protocols import FittedModel, has, offers
from engram.training.schedules import learning_rate


def why_no_gradients(model: object) -> str | None:
    """Why a model has no gradients to speak of; None if it has."""
    if offers(model, FittedModel):
        return "the model is fitted in closed form: it has no parameters that were trained by gradients"
    if not has(model, "forward"):
        return "the model offers no objective, forward(x, noise)"
    return None


def differentiated(model: nn.Module, judged: Judged) -> Differentiated:
    """The model with what is known of its layers. Raises UserError, with the reason, where torch.func cannot take it."""
    return Differentiated.of(model, *next(judged.blocks(model, 0, at_most=TRIED)))


def squared_norms(model: Differentiated, judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Of each image's gradient with respect to all parameters, and to the last layer's: (n,), (n,), means over draws."""
    draws = []
    for draw in range(judged.draws(model.model)):
        blocks = judged.blocks(model.model, draw, model.images_at_once)
        draws.append([torch.cat(part) for part in zip(*(model(*some).squared_norms() for some in blocks), strict=True)])
    return tuple(torch.stack(part).double().mean(0).numpy() for part in zip(*draws, strict=True))


def rate_at(training: Mapping[str, Any], epoch: int) -> float:
    """The learning rate in the middle of the epoch that ends at `epoch`, by the settings of the training in config.yaml.

    >>> rate_at({"learning_rate": 0.001, "epochs": 40}, 40)
    0.001
    """
    schedule = training.get("learning_rate_schedule", "constant")
    return learning_rate(schedule, training["learning_rate"], (epoch - 0.5) / training["epochs"])


def ekfac_self_influence(model: Differentiated, judged: Judged) -> np.ndarray:
    """g'(F + damping)^-1 g of each image, (n,), mean over draws; F of the first draw, layers without a product left out."""

    def layers(draw: int) -> Iterator[ekfac.Block]:
        return (model(*some).layers() for some in judged.blocks(model.model, draw, model.images_at_once))

    curvature = ekfac.fit(lambda: layers(0))

    def of_draw(draw: int) -> Tensor:
        return torch.cat([sum(curvature[name].self_influence(part) for name, part in block) for block in layers(draw)])

    return np.mean([of_draw(draw).double().numpy() for draw in range(judged.draws(model.model))], axis=0)
