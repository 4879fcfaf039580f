"""The guidance vector: what a conditional diffusion model says of the noise given a class or a text, beyond what it says without.

epsilon given c minus epsilon without c is -sigma grad_z log p(c | z). It is long where z goes to few images once c is known, and
so for prompts of memorized images: at one noise (Ross et al. 2024, "A Geometric Framework for Understanding Memorization in
Generative Models"), or in the mean over the steps of sampling (Wen et al. 2024, "Detecting, Explaining, and Mitigating
Memorization in Diffusion Models").
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from engram.geometry.flipd import Predict
from engram.models.diffusion import ddim_step

SCALE = 7.5  # of guidance in sampling, that of Wen et al. and the default of Stable Diffusion's pipelines


class GuidedSampling(NamedTuple):
    """z at the last gamma (n, *image_shape), and the norm of the guidance vector at each step before it, (steps, n)."""

    z: Tensor
    norm: Tensor


def guidance(given: Predict, without: Predict, z: Tensor, gamma: float) -> Tensor:
    """The guidance vector, (n, *image_shape), at z (n, *image_shape) and one gamma, from epsilon given c and without c.

    >>> z = torch.zeros(2, 3)
    >>> guidance(lambda z, gamma: z + 2, lambda z, gamma: z, z, gamma=0.0)[0]
    tensor([2., 2., 2.])
    """
    gammas = z.new_full((len(z),), gamma)
    return given(z, gammas) - without(z, gammas)


def guidance_norm(given: Predict, without: Predict, z: Tensor, gamma: float) -> Tensor:
    """Euclidean norm of the guidance vector, (n,), at z (n, *image_shape): of noise, or alpha x of an image (Ross et al. 2024)."""
    return guidance(given, without, z, gamma).flatten(1).norm(dim=1)


@torch.no_grad()
def guided_sampling(
    given: Predict, without: Predict, z: Tensor, gammas: Tensor, scale: float = SCALE
) -> GuidedSampling:
    """DDIM from noise z (n, *image_shape) at gammas[0] down to gammas[-1] by epsilon without c plus scale times guidance.

    `norm.mean(0)` is the number of Wen et al., who take 50 steps and the mean over 4 images of a prompt.
    """
    norms = []
    for gamma_t, gamma_s in pairwise(gammas):
        at_t = gamma_t.expand(len(z))
        epsilon = without(z, at_t)
        vector = given(z, at_t) - epsilon
        norms.append(vector.flatten(1).norm(dim=1))
        z = ddim_step(z, epsilon + scale * vector, gamma_t, gamma_s)
    return GuidedSampling(z, torch.stack(norms))
