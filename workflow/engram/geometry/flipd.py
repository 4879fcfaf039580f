"""FLIPD: the dimension of what a diffusion model learned, at an image (Kamkari et al. 2024, "A Geometric View of Data Complexity").

z = alpha x + sigma epsilon with -log signal-to-noise ratio gamma (engram.models.diffusion); the model says what epsilon was. Noise
of width sigma / alpha is as good as none beside the directions in which the model's images spread wider, and these are counted.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from engram.models.diffusion import alpha_and_sigma

Predict = Callable[[Tensor, Tensor], Tensor]  # epsilon, (n, *image_shape), from z of this shape and gamma (n,)


class Dimension(NamedTuple):
    """Dimensions (n,) and their standard errors, which are 0 where nothing was drawn."""

    value: Tensor
    standard_error: Tensor


def flipd(predict: Predict, x: Tensor, gamma: float, probes: Tensor | None = None) -> Dimension:
    """D - sigma tr(d predict / dz) + |predict|^2 at z = alpha x, for x (n, *image_shape) of D numbers each.

    The trace is exact, by D backward passes, or with `probes` (probes, n, *image_shape), two or more of independent signs +1
    and -1, by as many as there are of them (Hutchinson 1990). Values depend on gamma, and networks' also on how well they
    learned: show the curve over gamma, and rank images by it. They need not lie between 0 and D.

        >>> x, variances = torch.zeros(1, 3), torch.tensor([1.0, 1.0, 1e-9])  # a plane, as good as
        >>> def predict(z, gamma):
        ...     alpha, sigma = alpha_and_sigma(gamma[:, None])
        ...     return sigma * z / (alpha**2 * variances + sigma**2)
        >>> flipd(predict, x, gamma=-9.0).value
        tensor([1.9998])
    """
    products, sigma, length = _terms(predict, x, gamma, _axes(x) if probes is None else probes)
    trace, error = products.sum(0), torch.zeros_like(length)
    if probes is not None:
        trace, error = products.mean(0), products.std(0) / len(probes) ** 0.5
    return Dimension(x[0].numel() - sigma * trace + length, sigma * error)


@torch.enable_grad()
def flipd_and_gradient(predict: Predict, x: Tensor, gamma: float, probes: Tensor) -> tuple[Tensor, Tensor]:
    """FLIPD by `probes`, (n,), and its gradient in x, (n, *image_shape); arguments as there, and one probe suffices."""
    x = x.detach().requires_grad_()
    products, sigma, length = _terms(predict, x, gamma, probes, create_graph=True)
    dimension = x[0].numel() - sigma * products.mean(0) + length
    (gradient,) = torch.autograd.grad(dimension.sum(), x)
    return dimension.detach(), gradient


def signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    """Independent signs +1 and -1, for `probes`, of the device and precision of `like`."""
    return torch.randint(2, shape, generator=generator, device=generator.device).to(like) * 2 - 1


def _axes(x: Tensor) -> Iterator[Tensor]:
    """Every direction of D, the same for all images."""
    for axis in range(x[0].numel()):
        direction = torch.zeros_like(x).flatten(1)
        direction[:, axis] = 1
        yield direction.reshape(x.shape)


@torch.enable_grad()
def _terms(
    predict: Predict, x: Tensor, gamma: float, directions: Iterable[Tensor], create_graph: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """direction . (d predict / dz) direction, (directions, n), sigma, and |predict|^2, (n,), at z = alpha x.

    Of a model that looks at every image alone. With `create_graph` they can be differentiated in x once more.
    """
    gammas = x.new_full((len(x),), gamma)
    alpha, sigma = alpha_and_sigma(gammas[0])
    z = alpha * x if create_graph else (alpha * x).detach().requires_grad_()
    predicted = predict(z, gammas)

    def along(direction: Tensor) -> Tensor:
        (back,) = torch.autograd.grad(predicted, z, direction, retain_graph=True, create_graph=create_graph)
        return (back * direction).flatten(1).sum(1)

    products = torch.stack([along(direction) for direction in directions])
    length = (predicted if create_graph else predicted.detach()).square().flatten(1).sum(1)
    return products, sigma, length
