"""What FLIPD would be of a diffusion model that had memorized a set of images perfectly: the closed-form diffusion of the set.

Its density at time t is a normal about each image, and its dimension at x is the mean squared distance of the images from x under
their posterior, in units of the noise: 0 where only x itself is near, and the dimension of the set at that scale where many are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

AT_ONCE = 2**24  # distances that are held, so that memory stays bounded


def closed_form_dimension(x: Tensor, images: Tensor, gammas: Sequence[float]) -> Tensor:
    """sum_j p_j |x - x_j|^2 / w^2 with p = softmax(-|x - x_j|^2 / 2 w^2) and w = sigma / alpha = exp(gamma / 2).

    x: (n, *image_shape), images: (m, *image_shape); (gammas, n), in float64. It is `flipd` of the denoiser that expects the noise
    which would have led from one of the images to z.

        >>> line = torch.arange(-500, 501)[:, None] / 100.0
        >>> closed_form_dimension(torch.zeros(1, 1), line, [-6.0, -12.0])  # at the scales 0.05 and 0.0025
        tensor([[1.0000],
                [0.0095]], dtype=torch.float64)
    """
    rows, others = x.flatten(1).double(), images.flatten(1).double()
    parts = rows.split(max(1, AT_ONCE // len(others)))
    return torch.cat([_dimensions(part, others, gammas) for part in parts], 1)


def _dimensions(x: Tensor, images: Tensor, gammas: Sequence[float]) -> Tensor:
    squared = torch.addmm(x.square().sum(1)[:, None] + images.square().sum(1), x, images.T, alpha=-2).clamp_(min=0)
    each = [squared * torch.exp(squared.new_tensor(-gamma)) for gamma in gammas]
    return torch.stack([((-0.5 * scaled).softmax(1) * scaled).sum(1) for scaled in each])
