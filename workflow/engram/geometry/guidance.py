"""The guidance vector: what a conditional diffusion model says of the noise given a class or a text, beyond what it says without.

epsilon given c minus epsilon without c is -sigma grad_z log p(c | z). It is long where z goes to few images once c is known, and
so for prompts of memorized images (Wen et al. 2024, "Detecting, Explaining, and Mitigating Memorization in Diffusion Models"; at
one noise: Ross et al. 2024, "A Geometric Framework for Understanding Memorization in Generative Models").
"""

from torch import Tensor

from engram.geometry.flipd import Predict


def guidance(given: Predict, without: Predict, z: Tensor, gamma: float) -> Tensor:
    """The guidance vector, (n, *image_shape), at z (n, *image_shape) and one gamma, from epsilon given c and without c.

    >>> import torch
    >>> z = torch.zeros(2, 3)
    >>> guidance(lambda z, gamma: z + 2, lambda z, gamma: z, z, gamma=0.0)[0]
    tensor([2., 2., 2.])
    """
    gammas = z.new_full((len(z),), gamma)
    return given(z, gammas) - without(z, gammas)


def guidance_norm(given: Predict, without: Predict, z: Tensor, gamma: float) -> Tensor:
    """Euclidean norm of the guidance vector, (n,), at z (n, *image_shape): of noise, or alpha x of an image (Ross et al. 2024)."""
    return guidance(given, without, z, gamma).flatten(1).norm(dim=1)
