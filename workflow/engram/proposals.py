"""Where importance samples of z come from: a normal distribution per image.

A proposal draws z = mean + scale @ noise with a triangular scale (n, latent_dim, latent_dim), noise standard normal.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Proposal:
    """N(mean, scale scale') for each of n images; `fell_back` (n,) marks a simpler one than was asked for."""

    mean: Tensor
    scale: Tensor
    fell_back: Tensor

    def __getitem__(self, rows: Tensor) -> "Proposal":
        return Proposal(self.mean[rows], self.scale[rows], self.fell_back[rows])

    def sample(self, noise: Tensor) -> Tensor:
        """z (samples, n, latent_dim) from standard normal noise (n, samples, latent_dim)."""
        return self.mean + (noise @ self.scale.mT).transpose(0, 1)

    def log_prior_ratio(self, z: Tensor, noise: Tensor) -> Tensor:
        """log p(z) - log q(z) in nats, (samples, n), of z = sample(noise) and the prior p = N(0, I)."""
        log_determinant = self.scale.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        return 0.5 * (noise**2).sum(-1).T - 0.5 * (z**2).sum(-1) + log_determinant


def encoder_proposal(model, x: Tensor) -> Proposal:
    """The encoder's approximate posterior q(z | x), as the paper used it; the prior where that is not finite."""
    mean, log_variance = model.encode(x)
    deviation = torch.exp(0.5 * log_variance)
    usable = (mean.isfinite() & deviation.isfinite() & (deviation > 0)).all(-1)
    mean = torch.where(usable[:, None], mean, 0)
    deviation = torch.where(usable[:, None], deviation, 1)
    return Proposal(mean, torch.diag_embed(deviation), ~usable)
