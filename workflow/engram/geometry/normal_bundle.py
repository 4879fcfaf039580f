"""The dimension of what a diffusion model learned, by counting the directions out of it (Stanczuk et al. 2024).

About an image at little noise all scores point back to the model's manifold: they span the space normal to it. For images of few
numbers only, as an image takes 4 D of them and their singular values.
"""

import torch
from torch import Tensor

from engram.geometry.flipd import Predict
from engram.models.diffusion import alpha_and_sigma

SCORES = 4  # times D of them for each image


def normal_bundle(predict: Predict, x: Tensor, gamma: float, noise: Tensor) -> Tensor:
    """D minus the number of directions that the predicted noise of x (n, *image_shape) spans at z = alpha x + sigma noise, (n,).

    noise: (n, scores, *image_shape) standard normal, with SCORES D of them or more. Directions are counted up to the largest
    fall from one singular value to the next, or to zero: a model whose manifold fills the space has no such fall, and gets 0.

        >>> def predict(z, gamma):  # of a line among three dimensions
        ...     return z / alpha_and_sigma(gamma[:, None])[1] * torch.tensor([0.0, 1.0, 1.0])
        >>> noise = torch.randn(1, 12, 3, generator=torch.Generator().manual_seed(0))
        >>> normal_bundle(predict, torch.zeros(1, 3), -9.0, noise)
        tensor([1])
    """
    spectra = torch.stack([_spectrum(predict, *of_image, gamma) for of_image in zip(x, noise, strict=True)])
    falls = spectra - torch.nn.functional.pad(spectra[:, 1:], (0, 1))
    return spectra.shape[1] - 1 - falls.argmax(1)


@torch.no_grad()
def _spectrum(predict: Predict, x: Tensor, noise: Tensor, gamma: float) -> Tensor:
    """Singular values of the noise predicted about one image, (D,)."""
    gammas = noise.new_full((len(noise),), gamma)
    alpha, sigma = alpha_and_sigma(gammas[0])
    return torch.linalg.svdvals(predict(alpha * x + sigma * noise, gammas).flatten(1))
