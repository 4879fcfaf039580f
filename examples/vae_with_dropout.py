"""A VAE with dropout, whose pixels are ordered grey levels.

Its base class brings the objective and samples; the file adds the network and the distribution of a pixel, an ordered logit
(McCullagh 1980): with rising thresholds t_1 ... t_255, which all pixels share and training finds,

    P(level < k) = sigmoid(t_k - shift),    shift = what the decoder says of a pixel

so that the 256 probabilities add up to one. To run it, set in config.yaml, in an experiment:

    dataset: mnist1k
    model: {name: "examples.vae_with_dropout:OrdinalVAE", latent_dim: 16, dropout: 0.2}
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad, softplus

from engram.models import LatentVariableModel

LEVELS = 256


class OrdinalVAE(LatentVariableModel):
    """The parameters of p(x | z) are the pixels' shifts, (..., n, pixels); each is brighter the larger its own."""

    observation = "pixels"  # x is the grey level / 255

    def __init__(
        self, image_shape: tuple[int, int, int], latent_dim: int = 16, hidden: int = 256, dropout: float = 0.2
    ):
        super().__init__(image_shape, latent_dim)
        pixels = math.prod(image_shape)
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2 * latent_dim)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, pixels)
        )
        self.lowest = nn.Parameter(torch.tensor(-3.0))
        self.steps = nn.Parameter(torch.full((LEVELS - 2,), -3.7))  # softplus(-3.7) is 1/41: the highest is near 3

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder(x).chunk(2, -1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        # log(F(b) - F(a)) = log F(b) + log F(-a) + log(1 - exp(a - b)), for logistic F: nothing cancels, however far the tail.
        below, above = self.bounds()
        level, shift = (x.flatten(1) * (LEVELS - 1)).round().long(), self.decode(z)
        width = torch.log(-torch.expm1(below - above))
        log_p = logsigmoid(above[level] - shift) + logsigmoid(shift - below[level]) + width[level]
        return log_p.sum(-1)

    def information(self, parameters: Tensor) -> Tensor:
        # The derivative of log(F(b) - F(a)) by the shift is F(a) + F(b) - 1; the mean of its square over all levels is exact.
        information, up_to_last = torch.zeros_like(parameters), torch.zeros_like(parameters)
        for bound in self.bounds()[1]:
            up_to_this = torch.sigmoid(bound - parameters)
            information += (up_to_this - up_to_last) * (up_to_this + up_to_last - 1) ** 2
            up_to_last = up_to_this
        return information

    def mean(self, parameters: Tensor) -> Tensor:
        above = sum(
            torch.sigmoid(parameters - threshold) for threshold in self.thresholds()
        )  # sum over k of P(level >= k)
        return (above / (LEVELS - 1)).reshape(-1, *self.image_shape)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.empty_like(parameters).uniform_(generator=generator)
        level = torch.searchsorted(self.thresholds(), parameters + uniform.logit())
        return (level / (LEVELS - 1)).reshape(-1, *self.image_shape)

    def thresholds(self) -> Tensor:
        """t_1 ... t_255, rising."""
        return torch.cat([self.lowest[None], self.lowest + softplus(self.steps).cumsum(0)])

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The thresholds below and above each of the 256 levels; black reaches down to minus infinity, white up to infinity."""
        thresholds = self.thresholds()
        return pad(thresholds, (1, 0), value=-math.inf), pad(thresholds, (0, 1), value=math.inf)
