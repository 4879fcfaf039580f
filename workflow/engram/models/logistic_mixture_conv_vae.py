"""A convolutional VAE of 8-bit images: each pixel's grey levels follow a mixture of discretized logistics."""

import torch
from torch import Tensor

from engram.models.conv_vae import ConvVAE
from engram.models.pixels import logistic_mixture


class LogisticMixtureConvVAE(ConvVAE):
    """The parameters of p(x | z), (..., n, outputs, height, width), are those of engram.models.pixels.logistic_mixture.

    It has no Fisher information in closed form, so that engram.likelihood keeps the encoder's proposal.
    """

    observation = "pixels"

    def __init__(
        self, image_shape: tuple[int, int, int], latent_dim: int = 64, features: int = 32, components: int = 5
    ):
        outputs = logistic_mixture.outputs(image_shape[0], components)
        super().__init__(image_shape, latent_dim, features, outputs)

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        return logistic_mixture.log_prob(x, self.decode(z))

    def mean(self, parameters: Tensor) -> Tensor:
        return logistic_mixture.mean(parameters, self.image_shape[0])

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return logistic_mixture.draw(parameters, self.image_shape[0], generator)
