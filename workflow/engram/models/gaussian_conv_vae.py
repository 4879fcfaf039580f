"""The paper's models for CIFAR-10 and CelebA: convolutional VAEs of logit observations with Gaussian pixels.

Mean images are the decoded means brought back to [0, 1], as the paper showed and compared them.
"""

import torch
from torch import Tensor, nn

from engram.models.conv_vae import ConvVAE
from engram.models.observations import to_pixels
from engram.models.pixels import gaussian

LEAST_LOG_VARIANCE = -7.0
INITIAL_LOG_VARIANCE = -2.0


class GaussianConvVAE(ConvVAE):
    """The decoder gives the mean and the log-variance of every pixel; the latter is clamped from below, at -7.

    The parameters of p(x | z) are (..., n, 2 channels, height, width), means first. 1,579,456 weights at (3, 32, 32) with
    the default sizes, as published for CIFAR-10.
    """

    observation = "logit"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 64, features: int = 32):
        super().__init__(image_shape, latent_dim, features, outputs=2 * image_shape[0])

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        mean, log_variance = _moments(self.decode(z))
        return gaussian.log_prob(x.flatten(1), mean.flatten(-3), log_variance.flatten(-3))

    def information(self, parameters: Tensor) -> Tensor:
        _, decoded = parameters.chunk(2, -3)
        of_mean = gaussian.information_of_mean(decoded.clamp(min=LEAST_LOG_VARIANCE))
        return torch.cat([of_mean, gaussian.information_of_log_variance(decoded, LEAST_LOG_VARIANCE)], -3)

    def mean(self, parameters: Tensor) -> Tensor:
        return to_pixels(_moments(parameters)[0], self.observation)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return gaussian.draw(*_moments(parameters), generator)


def _moments(parameters: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = parameters.chunk(2, -3)
    return mean, log_variance.clamp(min=LEAST_LOG_VARIANCE)


class GaussianConvVAEScalarVariance(ConvVAE):
    """The decoder gives the mean of every pixel; one learned log-variance, -2 at first, serves all.

    The parameters of p(x | z) are means, (..., n, *image_shape). 1,479,553 weights at (3, 32, 32) with the default sizes,
    as published for CelebA.
    """

    observation = "logit"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 32, features: int = 32):
        super().__init__(image_shape, latent_dim, features, outputs=image_shape[0])
        self.log_variance = nn.Parameter(torch.tensor(INITIAL_LOG_VARIANCE))

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        return gaussian.log_prob(x.flatten(1), self.decode(z).flatten(-3), self.log_variance)

    def information(self, parameters: Tensor) -> Tensor:
        return gaussian.information_of_mean(self.log_variance).expand_as(parameters)

    def mean(self, parameters: Tensor) -> Tensor:
        return to_pixels(parameters, self.observation)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return gaussian.draw(parameters, self.log_variance, generator)
