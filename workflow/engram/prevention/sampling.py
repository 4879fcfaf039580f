"""DDIM whose every step may change the image that it predicts: where all ways of prevention during sampling begin."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from engram.geometry.flipd import Predict
from engram.models.diffusion import alpha_and_sigma

# The images (n, *image_shape) that a step predicts, changed, from them and its number.
Change = Callable[[Tensor, int], Tensor]


@torch.no_grad()
def sampled(predict: Predict, z: Tensor, gammas: Tensor, change: Change | None = None) -> Tensor:
    """Images x (n, *image_shape) from noise z at gammas[0], by steps down to gammas[-1]; without `change`, by plain DDIM.

    Step number i, at gammas[i], goes on with the epsilon that was predicted there, and with the x that this leaves of z, or with
    what `change` makes of that.

        >>> z, gammas = torch.ones(1, 1), torch.tensor([0.0, -2.0, -4.0])
        >>> sampled(lambda z, gamma: torch.zeros_like(z), z, gammas)  # nothing is noise: x is z / alpha
        tensor([[1.4142]])
        >>> sampled(lambda z, gamma: torch.zeros_like(z), z, gammas, change=lambda x, step: x + 1)  # in each of two steps
        tensor([[3.4142]])
    """
    x = z
    for step, (gamma_t, gamma_s) in enumerate(pairwise(gammas)):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_and_sigma(gamma_t), alpha_and_sigma(gamma_s)
        epsilon = predict(z, gamma_t.expand(len(z)))
        x = (z - sigma_t * epsilon) / alpha_t
        if change is not None:
            x = change(x, step)
        z = alpha_s * x + sigma_s * epsilon
    return x
