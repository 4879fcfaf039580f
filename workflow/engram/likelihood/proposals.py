"""Where importance samples of z come from: a normal distribution per image, some of the samples wider.

A proposal draws z = mean + scale @ u with a triangular scale (n, latent_dim, latent_dim). u is standard normal, but for
one sample in eight, which is `tail` times as wide: without these, a tail heavier than the normal's is missed by most
runs, and by their error bars too. The weights are those of the mixture, so no sample's weight is large because a tail
was expected.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engram.models.protocols import LatentModel, OwnProposal, ProposingModel

EVERY = 8  # of so many samples the last is drawn from the tail


@dataclass(frozen=True)
class Proposal:
    """Proposals for n images: mean (n, latent_dim), scale (n, latent_dim, latent_dim), tail (n,), 1 for a plain normal.

    `fell_back` (n,) marks the images that got a simpler proposal than was asked for.
    """

    mean: Tensor
    scale: Tensor
    tail: Tensor
    fell_back: Tensor

    @property
    def latent_dim(self) -> int:
        return self.mean.shape[-1]

    def __getitem__(self, rows: Tensor) -> "Proposal":
        return Proposal(self.mean[rows], self.scale[rows], self.tail[rows], self.fell_back[rows])

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z (samples, n, latent_dim) and log p(z) - log q(z), (samples, n); the prior p(z) is N(0, I).

        `noise` is standard normal, (n, samples, latent_dim).
        """
        samples, latent_dim = noise.shape[1:]
        from_tail = torch.arange(samples, device=noise.device) % EVERY == EVERY - 1
        u = noise * torch.where(from_tail, self.tail[:, None], 1).unsqueeze(-1)
        z = self.mean + (u @ self.scale.mT).transpose(0, 1)
        share, tail, square = from_tail.double().mean(), self.tail[:, None], (u**2).sum(-1)
        within = torch.log1p(-share) - 0.5 * square
        beyond = torch.log(share) - 0.5 * square / tail**2 - latent_dim * tail.log()
        log_determinant = self.scale.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        return z, log_determinant - 0.5 * (z**2).sum(-1) - torch.logaddexp(within, beyond).T


@dataclass(frozen=True)
class ModelsOwn:
    """The proposals that a model makes itself, by `propose`, for images x (n, *image_shape); `fell_back` as above."""

    model: ProposingModel
    x: Tensor
    fell_back: Tensor

    @property
    def latent_dim(self) -> int:
        return self.model.latent_dim

    @cached_property
    def own(self) -> OwnProposal:
        return self.model.propose(self.x)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self.own.draw(noise)

    def __getitem__(self, rows: Tensor) -> "ModelsOwn":
        return ModelsOwn(self.model, self.x[rows], self.fell_back[rows])


def encoder_proposal(model: LatentModel, x: Tensor) -> Proposal:
    """The encoder's approximate posterior q(z | x), as the paper used it; the prior where that is not finite."""
    mean, log_variance = model.encode(x)
    deviation = torch.exp(0.5 * log_variance)
    usable = (mean.isfinite() & deviation.isfinite() & (deviation > 0)).all(-1)
    mean = torch.where(usable[:, None], mean, 0)
    deviation = torch.where(usable[:, None], deviation, 1)
    return Proposal(mean, torch.diag_embed(deviation), torch.ones_like(mean[:, 0]), ~usable)
