"""From a stored grey or colour image to the observation x that a model sees, and back to pixel space.

A grey level becomes an observation by chance: a Bernoulli pixel is 1 with probability grey/255 ("binary"), a continuous one
is dequantized with uniform noise and stretched to the real line by a logit ("logit"; Papamakarios et al. 2017). A model of
the 8-bit levels themselves sees grey/255, without any noise ("pixels"), or the same on [-1, 1] ("centred").
"""

import math
from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from engram.errors import UserError
from engram.randomness import image_uniforms

OBSERVATION = ("likelihood", "observation")  # names of the random streams behind x
WITHOUT_NOISE = ("pixels", "centred")  # all draws of an image are equal
LOGIT_MARGIN = 0.05  # lambda of the paper: keeps the logit finite at black and white


def draw(images: torch.Tensor, uniforms: torch.Tensor, observation: str) -> torch.Tensor:
    """Observations x of uint8 `images` from uniforms on [0, 1) of the same shape.

    Raises UserError for another `observation`.
    """
    if observation == "binary":
        return (uniforms * 255 < images).float()
    if observation == "pixels":
        return images.float() / 255
    if observation == "centred":
        return images.float() / 127.5 - 1
    if observation != "logit":
        raise UserError(f"a model's observation is {observation!r}; choose binary, logit, pixels or centred")
    pixels = (images.float() + uniforms) / 256
    return torch.logit(LOGIT_MARGIN + (1 - 2 * LOGIT_MARGIN) * pixels)


def draw_fixed(
    images: torch.Tensor, rows: np.ndarray, observation: str, root: int, dataset: str, number: int
) -> torch.Tensor:
    """The draw of x from uint8 `images` (n, pixels) that every model judges: their `rows` in a data set name its noise.

    root: the experiment's seed; number: which of several draws.
    """
    return draw(images, image_uniforms(rows, images.shape[1:], root, *OBSERVATION, dataset, number), observation)


def some_weights(model: nn.Module) -> torch.Tensor | None:
    """A parameter, or else a buffer, whose device and type x and noise are given to the model in; None if it has neither."""
    of_model = chain(model.parameters(), model.buffers())
    return next((value for value in of_model if value.is_floating_point()), None)


def precision(model: nn.Module) -> torch.dtype:
    """The type of numbers that a model computes in."""
    weights = some_weights(model)
    return torch.float32 if weights is None else weights.dtype


def to_pixels(y: torch.Tensor, observation: str) -> torch.Tensor:
    """Values in [0, 1] of observations (or of means of observations)."""
    if observation == "centred":
        return (y + 1) / 2
    if observation != "logit":
        return y
    return ((torch.sigmoid(y) - LOGIT_MARGIN) / (1 - 2 * LOGIT_MARGIN)).clamp(0, 1)


def log_pixel_volume(x: torch.Tensor, observation: str) -> torch.Tensor:
    """log |dx / dpixel| in nats, (n,): what turns log p(x) into the log-probability of the 8-bit image.

    Zero but for logit observations: + D log(1 - 2 lambda) - D log 256 - sum(y - 2 softplus(y)).
    """
    if observation != "logit":
        return x.new_zeros(len(x))
    y = x.flatten(1).double()
    per_pixel = math.log(1 - 2 * LOGIT_MARGIN) - math.log(256)
    return (y.shape[1] * per_pixel - (y - 2 * softplus(y)).sum(1)).to(x.dtype)
