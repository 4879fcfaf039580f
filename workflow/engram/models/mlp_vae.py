"""The paper's model for MNIST: a fully connected VAE, 1024-512-256-16 and back, with Bernoulli pixels."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from engram.models.base import LatentVariableModel
from engram.models.pixels import bernoulli


class BernoulliMLPVAE(LatentVariableModel):
    """MLP VAE with Bernoulli pixels; `hidden` are the encoder's layer widths, mirrored in the decoder.

    The parameters of p(x | z) are logits, (..., n, pixels). 1,325,600 weights at (1, 32, 32) with the default sizes, as published.
    """

    observation = "binary"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 16, hidden: tuple[int, ...] = (512, 256)):
        super().__init__(image_shape, latent_dim)
        pixels = torch.Size(image_shape).numel()
        self.encoder = _relu_layers(pixels, *hidden)
        self.encoder_mean = nn.Linear(hidden[-1], latent_dim)
        self.encoder_log_variance = nn.Linear(hidden[-1], latent_dim)
        self.decoder = nn.Sequential(_relu_layers(latent_dim, *reversed(hidden)), nn.Linear(hidden[0], pixels))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(x.flatten(1))
        return self.encoder_mean(features), self.encoder_log_variance(features)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        return bernoulli.log_prob(x.flatten(1), self.decode(z))

    def information(self, parameters: Tensor) -> Tensor:
        probability = torch.sigmoid(parameters)
        return probability * (1 - probability)

    def mean(self, parameters: Tensor) -> Tensor:
        return torch.sigmoid(parameters).reshape(-1, *self.image_shape)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean(parameters), generator=generator)


def _relu_layers(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())))
