"""Away from images of low dimension: where a diffusion model has memorized an image, it learned no direction to leave it by.

LID by FLIPD (engram.geometry.flipd) is low there. Samples of low LID can be rejected, or sampling can be moved up the gradient of
LID while there still is noise to choose by. LID is asked for at gamma -6.2, which is t = 0.01 of Kamkari et al. (2024): noise of
6 grey levels of 255.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from engram.geometry.flipd import Predict, flipd, signs
from engram.models.diffusion import alpha_and_sigma
from engram.prevention.sampling import Change

GAMMA = -6.2
FIRST = 0.0  # gamma from which on images are moved: before, noise is stronger than the image, and what is predicted is a blur
PROBES = 2  # that tell images below the threshold in the control


def kept(dimension: Tensor, threshold: float) -> Tensor:
    """Rejection: which samples have a dimension (n,) of at least the threshold, (n,) bool.

    For a threshold, take a quantile of held-out images' LID, fixed beforehand.
    """
    return dimension >= threshold


def upwards(
    predict: Predict, threshold: float, strength: float, generator: torch.Generator, gamma: float = GAMMA
) -> Change:
    """Guidance by LID: a change of `engram.prevention.sampling.sampled` that moves images below the threshold up its gradient.

    strength: how far in each step, in units of the noise that is left: the distance is strength sigma / alpha sqrt(D). A probe of
    signs, drawn anew in each step, estimates LID and its gradient.
    """

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        return dimension_and_gradient(predict, x, gamma, signs((1, *x.shape), generator, x))

    return _moving(gradient, threshold, strength, gamma)


def anywhere(
    predict: Predict, threshold: float, strength: float, generator: torch.Generator, gamma: float = GAMMA
) -> Change:
    """The control of `upwards`: images below the threshold move as far, each in a direction drawn at random."""

    def at_random(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            dimension = flipd(predict, x, gamma, signs((PROBES, *x.shape), generator, x)).value
        return dimension, torch.randn(x.shape, generator=generator, device=generator.device).to(x)

    return _moving(at_random, threshold, strength, gamma)


def _moving(ways: Callable[[Tensor], tuple[Tensor, Tensor]], threshold: float, strength: float, gamma: float) -> Change:
    """Moves images below the threshold; `ways` gives dimensions (n,) of x (n, *image_shape), and directions in its shape."""

    def change(x: Tensor, gamma_t: float) -> Tensor:
        if not gamma <= gamma_t <= FIRST:
            return x
        dimension, direction = ways(x)
        flat = direction.flatten(1)
        unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        alpha, sigma = alpha_and_sigma(x.new_tensor(gamma_t))
        distance = ~kept(dimension, threshold) * (strength * sigma / alpha * flat.shape[1] ** 0.5)
        return x + (distance[:, None] * unit).reshape(x.shape)

    return change


def dimension_and_gradient(predict: Predict, x: Tensor, gamma: float, probes: Tensor) -> tuple[Tensor, Tensor]:
    """FLIPD, (n,), and its gradient in x, (n, *image_shape), for x (n, *image_shape); probes (probes, n, *image_shape) as there."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        gammas = x.new_full((len(x),), gamma)
        alpha, sigma = alpha_and_sigma(gammas[0])
        z = alpha * x
        predicted = predict(z, gammas)
        traces = [_along(predicted, z, probe) for probe in probes]
        dimension = x[0].numel() - sigma * torch.stack(traces).mean(0) + predicted.square().flatten(1).sum(1)
        (gradient,) = torch.autograd.grad(dimension.sum(), x)
    return dimension.detach(), gradient


def _along(predicted: Tensor, z: Tensor, probe: Tensor) -> Tensor:
    """probe . (d predicted / dz) probe for each image, (n,), that can be differentiated once more."""
    (back,) = torch.autograd.grad(predicted, z, probe, create_graph=True)
    return (back * probe).flatten(1).sum(1)
