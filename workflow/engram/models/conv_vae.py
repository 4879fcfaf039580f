"""The layers that the paper's convolutional VAEs share, and the one with Bernoulli pixels."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from engram.datasets.sizes import DIVISOR, LEAST_SIDE, fits, fitting_size
from engram.errors import UserError
from engram.models.base import LatentVariableModel
from engram.models.pixels import bernoulli


class ConvVAE(LatentVariableModel):
    """Convolutions with batch normalization, from `features` to 8 `features` channels and back (Radford et al. 2016).

    A subclass says what the decoder's output (..., n, outputs, height, width) means. Raises UserError unless the sides of
    the image are multiples of 16, at least 32.
    """

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, features: int, outputs: int):
        super().__init__(image_shape, latent_dim)
        channels, height, width = image_shape
        if not fits(height, width):
            raise UserError(
                f"images are {height}x{width}; a convolutional model takes sides that are multiples of {DIVISOR}, "
                f"at least {LEAST_SIDE}: write image_size: {fitting_size(min(height, width))}, say, under datasets"
            )
        widths, corner = [features, 2 * features, 4 * features, 8 * features], (height // DIVISOR, width // DIVISOR)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, features, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            *(layer for a, b in pairwise(widths) for layer in _halving(a, b)),
            nn.Flatten(),
        )
        encoded = widths[-1] * corner[0] * corner[1]
        self.encoder_mean = nn.Linear(encoded, latent_dim)
        self.encoder_log_variance = nn.Linear(encoded, latent_dim)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(latent_dim, widths[-1], corner, bias=False),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            *(layer for a, b in pairwise(reversed(widths)) for layer in _doubling(a, b)),
            nn.ConvTranspose2d(features, outputs, 4, 2, 1, bias=False),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.encoder(x)
        return self.encoder_mean(encoded), self.encoder_log_variance(encoded)

    def decode(self, z: Tensor) -> Tensor:
        parameters = self.decoder(z.reshape(-1, self.latent_dim, 1, 1))
        return parameters.reshape(*z.shape[:-1], *parameters.shape[1:])


def _halving(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)


def _doubling(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()


class BernoulliConvVAE(ConvVAE):
    """Convolutional VAE with Bernoulli pixels; the parameters of p(x | z) are logits, (..., n, *image_shape)."""

    observation = "binary"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 16, features: int = 32):
        super().__init__(image_shape, latent_dim, features, outputs=image_shape[0])

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        return bernoulli.log_prob(x.flatten(1), self.decode(z).flatten(-3))

    def information(self, parameters: Tensor) -> Tensor:
        probability = torch.sigmoid(parameters)
        return probability * (1 - probability)

    def mean(self, parameters: Tensor) -> Tensor:
        return torch.sigmoid(parameters)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean(parameters), generator=generator)
