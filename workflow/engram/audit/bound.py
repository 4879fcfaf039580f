"""The bound of a checkpoint on log p of an image, or of its latent, in nats (Kingma et al. 2021, "Variational Diffusion Models").

Prior and reconstruction are those of engram.models.diffusion. The diffusion term, E of 1/2 gamma'(t) |epsilon - predicted|^2 over
t, is an integral over gamma that depends on the schedule by its ends alone (their equation 18), so gamma is drawn evenly from end
to end and the network is told the time at which its own schedule has it. A latent has no grey levels: its reconstruction is the
density of x under a normal about z / alpha of variance exp(gamma_0), and the bound is one on a density.
"""

import math

import torch
from torch import Tensor

from engram.geometry.flipd import Predict
from engram.models.diffusion import LEVELS, alpha_and_sigma, expected_reconstruction, prior_divergence


def outside_diffusion(x: Tensor, gamma_0: float, gamma_1: float, is_latent: bool) -> Tensor:
    """Reconstruction minus prior, (n,): the terms of the bound that ask no network."""
    prior = prior_divergence(x, gamma_1)
    if is_latent:
        return -0.5 * x[0].numel() * (math.log(2 * math.pi * math.e) + gamma_0) - prior
    level = ((x + 1) * (0.5 * (LEVELS - 1))).round().long()
    return expected_reconstruction(gamma_0, x.dtype, x.device)[level].flatten(1).sum(1) - prior


def diffusion(predict: Predict, x: Tensor, epsilon: Tensor, gamma: Tensor) -> Tensor:
    """|epsilon - predicted|^2, (n,), at gamma (n,), for x and epsilon (n, *shape)."""
    alpha, sigma = (part.reshape(-1, *[1] * (x.ndim - 1)) for part in alpha_and_sigma(gamma))
    return (epsilon - predict(alpha * x + sigma * epsilon, gamma)).square().flatten(1).sum(1)


@torch.no_grad()
def bound(
    predict: Predict, x: Tensor, epsilon: Tensor, first: Tensor, ends: tuple[float, float], is_latent: bool = False
) -> Tensor:
    """Bounds in nats, (n, draws), from as many independent draws, by which a mean and its standard error are known.

    epsilon: (draws, evaluations, n, *shape), standard normal; first: (draws, n), uniform on [0, 1): the evaluations of a draw
    are evenly spaced from there. ends: gamma at both ends of the schedule.
    """
    gamma_0, gamma_1 = ends
    draws, evaluations = epsilon.shape[:2]
    total = x.new_zeros(draws, len(x))
    for draw in range(draws):
        for evaluation in range(evaluations):
            t = (first[draw] + evaluation / evaluations).remainder(1)
            total[draw] += diffusion(predict, x, epsilon[draw, evaluation], gamma_0 + (gamma_1 - gamma_0) * t)
    loss = 0.5 * (gamma_1 - gamma_0) * total / evaluations
    return (outside_diffusion(x, gamma_0, gamma_1, is_latent) - loss).T
