"""DDIM whose every step may change the image that it predicts: where all ways of prevention during sampling begin."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from engram.geometry.flipd import Predict
from engram.models.diffusion import alpha_and_sigma

Change = Callable[
    [Tensor, float], Tensor
]  # the predicted images x (n, *image_shape) of a step, changed, from them and gamma


@torch.no_grad()
def sampled(predict: Predict, z: Tensor, gammas: Tensor, change: Change | None = None) -> Tensor:
    """Images x (n, *image_shape) from noise z at gammas[0], by steps down to gammas[-1]; without `change`, by plain DDIM.

    A step goes on with the epsilon that was predicted, and with the x that this leaves of z, or with what `change` makes of that.

        >>> z, gammas = torch.ones(1, 1), torch.tensor([0.0, -2.0, -4.0])
        >>> sampled(lambda z, gamma: torch.zeros_like(z), z, gammas)  # nothing is noise: x is z / alpha
        tensor([[1.4142]])
        >>> sampled(lambda z, gamma: torch.zeros_like(z), z, gammas, change=lambda x, gamma: x + 1)  # in each of two steps
        tensor([[3.4142]])
    """
    x = z
    for gamma_t, gamma_s in pairwise(gammas):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_and_sigma(gamma_t), alpha_and_sigma(gamma_s)
        epsilon = predict(z, gamma_t.expand(len(z)))
        x = (z - sigma_t * epsilon) / alpha_t
        if change is not None:
            x = change(x, float(gamma_t))
        z = alpha_s * x + sigma_s * epsilon
    return x
