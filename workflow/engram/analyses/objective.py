"""The objective of images under one trained model: log p by it, and whether gradients of it can be had.

Noise and draws of x are the same whenever they are asked for.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses.gradients import TRIED, Differentiated
from engram.analyses.judged_images import JudgedImages
from engram.errors import UserError
from engram.models.diffusion import PIXELS_AT_ONCE
from engram.models.observations import log_pixel_volume
from engram.models.protocols import BoundedModel, ExactModel, FittedModel, has, offers

DRAWS, DRAWS_OF_BOUND = 8, 16  # of x and noise, for each image; the noise of a diffusion's bound is larger


def draws_of(model: nn.Module) -> int:
    """How many draws of x and noise: one for a model that was fitted to that very draw of x."""
    if offers(model, FittedModel):
        return 1
    return DRAWS_OF_BOUND if offers(model, BoundedModel) else DRAWS


def blocks(
    model: nn.Module, judged: JudgedImages, draw: int, at_most: int | None = None
) -> Iterator[tuple[Tensor, ...]]:
    """What the objective takes of some images at a time, in order; at most so many.

    A diffusion model takes no more through its network at once, so that its layers see all of a block.
    """
    at_once = max(1, min(PIXELS_AT_ONCE // int(np.prod(judged.shape[1:])), at_most or len(judged)))
    return (part.given(model, draw) for _, part in judged.parts(at_once))


def way_to_log_px(model: object) -> str | None:
    """How -log p is had of a model, in a reader's words; None if it cannot."""
    if offers(model, ExactModel):
        return "exact"
    if offers(model, BoundedModel):
        return "by its bound, from one sample a draw"
    return "by its objective, of a VAE the evidence lower bound" if has(model, "forward") else None


@torch.no_grad()
def log_px(model: nn.Module, judged: JudgedImages) -> np.ndarray:
    """log p of each image in pixel space, mean over draws: (n,), nats."""

    def of_draw(draw: int) -> Iterator[Tensor]:
        for inputs in blocks(model, judged, draw):
            yield _log_px(model, *inputs).double() + log_pixel_volume(inputs[0], model.observation)

    return np.mean([torch.cat([*of_draw(draw)]).numpy() for draw in range(draws_of(model))], axis=0)


def differentiated(model: nn.Module, judged: JudgedImages) -> Differentiated:
    """The model with what is known of its layers. Raises UserError, with the reason, where torch.func cannot take it."""
    return Differentiated.of(model, *judged.part(slice(TRIED)).given(model, 0))


def why_no_gradients(model: nn.Module, judged: JudgedImages) -> str | None:
    """Why a model has no gradients to speak of, in words; None if it has."""
    if offers(model, FittedModel):
        return "the model is fitted in closed form: it has no parameters that were trained by gradients"
    if not has(model, "forward"):
        return "the model offers no objective, forward(x, noise)"
    try:
        differentiated(model, judged)
    except UserError as error:
        return str(error)
    return None


def _log_px(model: nn.Module, x: Tensor, noise: Tensor, *label: Tensor) -> Tensor:
    """log p(x) in nats, (n,), from a single sample of the noise (n, *noise_shape) where it is not exact."""
    if offers(model, ExactModel):
        return model.log_prob(x, *label)
    if offers(model, BoundedModel):
        return model.bound(x, noise[:, None], *label).squeeze(1)
    return model(x, noise, *label)
