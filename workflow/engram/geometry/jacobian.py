"""The dimension of a generator's images about one of them: the singular values of its Jacobian, d image / d z.

z has a standard normal prior, and images are in pixel units, 0 to 1. So a singular value is how far an image moves, in Euclidean
distance, along one direction of z by one standard deviation of the prior.
"""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from engram.runtime.device import at_once

NUMBERS = 2**22  # in the Jacobians that are held at once on a CPU, so that memory stays bounded
GREY_LEVEL = 1 / 255

Generate = Callable[[Tensor], Tensor]  # images, (n, *image_shape), from z (n, latent_dim), each from its own z alone


def singular_values(generate: Generate, z: Tensor) -> Tensor:
    """Of d generate / dz at each z (n, latent_dim): (n, min(latent_dim, pixels)), falling, in float64.

    They are the roots of the eigenvalues of J'J, so those below 1e-8 of the largest are rounding.

        >>> weight = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
        >>> singular_values(lambda z: z @ weight.T, torch.zeros(1, 2))
        tensor([[4., 3.]], dtype=torch.float64)
    """
    with torch.no_grad():
        pixels = generate(z[:1]).numel()
        images = max(1, at_once(NUMBERS, z.device) // (z.shape[1] * pixels))
        return torch.cat([_singular_values(generate, part) for part in z.split(images)])[:, : min(z.shape[1], pixels)]


def visible(pixels: int) -> float:
    """How large a singular value is at least of a direction that counts: one grey level in root mean square over the pixels.

    Fixed beforehand, by what an 8-bit image can show: along any other direction, one standard deviation of z moves the image by
    less than rounding hides. The same rule serves a flow, whose noise of dequantization (1/256 of a pixel's range) lies below it.
    """
    return GREY_LEVEL * math.sqrt(pixels)


def numerical_rank(singular: Tensor, pixels: int) -> Tensor:
    """How many directions count, (...), from singular values (..., directions) of images with so many pixels.

    >>> numerical_rank(torch.tensor([[4.0, 3.0, 0.01]]), pixels=64)
    tensor([2])
    """
    return (singular > visible(pixels)).sum(-1)


def _singular_values(generate: Generate, z: Tensor) -> Tensor:
    jacobian = _jacobian(generate, z).flatten(2).transpose(0, 1).double()
    return torch.linalg.eigvalsh(jacobian @ jacobian.mT).clamp(min=0).sqrt().flip(-1)


def _jacobian(generate: Generate, z: Tensor) -> Tensor:
    """(latent_dim, n, *image_shape), in forward mode."""
    tangents = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None].expand(-1, *z.shape)

    def push(tangent: Tensor) -> Tensor:
        return torch.func.jvp(generate, (z,), (tangent,))[1]

    with warnings.catch_warnings():
        # torch warns of its own use of torch.jit when a process first needs forward mode.
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
        return torch.func.vmap(push)(tangents)
