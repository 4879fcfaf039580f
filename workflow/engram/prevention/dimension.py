"""Away from images of low dimension: where a diffusion model has memorized an image, it learned no direction to leave it by.

LID by FLIPD (engram.geometry.flipd) is low there. Samples of low LID can be rejected, or sampling can be moved up the gradient of
LID while there still is noise to choose by.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from engram.geometry.flipd import Predict, flipd, flipd_and_gradient, signs
from engram.models.diffusion import alpha_and_sigma
from engram.prevention.sampling import Change

PROBES = 2  # of LID in guidance and its control; thresholds must be of as many, since noisier LIDs have lower quantiles


def kept(dimension: Tensor, threshold: float) -> Tensor:
    """Rejection: which samples have a dimension (n,) of at least the threshold, (n,) bool.

    A quantile of held-out images' LID, fixed beforehand, can be one; but where a model copies much, held-out images are so far
    from what it learned, and their LID so high, that hardly a sample is kept.
    """
    return dimension >= threshold


def upwards(
    predict: Predict, gammas: Tensor, thresholds: Mapping[int, float], strength: float, generator: torch.Generator
) -> Change:
    """Guidance by LID: a change of `engram.prevention.sampling.sampled` that moves images of low LID up its gradient.

    thresholds: by the number of a step, the LID below which it moves an image; in other steps nothing moves. LID is asked for at
    the noise that is left in the step, and estimated with its gradient from PROBES probes of signs. strength: how far in each step,
    in units of that noise: the distance is strength sigma / alpha sqrt(D).
    """

    def gradient(x: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
        return flipd_and_gradient(predict, x, gamma, signs((PROBES, *x.shape), generator, x))

    return _moving(gradient, gammas, thresholds, strength)


def anywhere(
    predict: Predict, gammas: Tensor, thresholds: Mapping[int, float], strength: float, generator: torch.Generator
) -> Change:
    """The control of `upwards`: images of low LID move as far, each in a direction drawn at random."""

    def at_random(x: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
        dimension = flipd(predict, x, gamma, signs((PROBES, *x.shape), generator, x)).value
        return dimension, torch.randn(x.shape, generator=generator, device=generator.device).to(x)

    return _moving(at_random, gammas, thresholds, strength)


def _moving(
    ways: Callable[[Tensor, float], tuple[Tensor, Tensor]],
    gammas: Tensor,
    thresholds: Mapping[int, float],
    strength: float,
) -> Change:
    """Moves images below the thresholds; `ways` gives LID (n,) of x (n, *image_shape) at gamma, and directions in its shape."""

    def change(x: Tensor, step: int) -> Tensor:
        if step not in thresholds:
            return x
        dimension, direction = ways(x, float(gammas[step]))
        flat = direction.flatten(1)
        unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        alpha, sigma = alpha_and_sigma(gammas[step])
        distance = ~kept(dimension, thresholds[step]) * (strength * sigma / alpha * flat.shape[1] ** 0.5)
        return x + (distance[:, None] * unit).reshape(x.shape)

    return change
