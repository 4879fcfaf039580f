"""A VAE with two levels of latent variables, whose importance samples come from a proposal of its own.

    p(x, z1, z2) = p(z2) p(z1 | z2) p(x | z1),    q(z1, z2 | x) = q(z1 | x) q(z2 | z1)

The prior of z1 is no standard normal, and neither is q(z1, z2 | x) a normal with independent parts: so the model says by `propose`
how z is drawn, and what log p(z) - log q(z | x) is. All other factors are normal, and pixels are binary. The two levels lie side
by side in one row: z = (z1, z2). To run it, set in config.yaml, in an experiment:

    dataset: mnist1k
    model: {name: "examples.two_level_vae:TwoLevelVAE", lower: 16, upper: 8}
    training: {epochs: 40, batch_size: 64, learning_rate: 0.001, kl_warm_up: 10}
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import softplus


class TwoLevelVAE(nn.Module):
    """`lower` and `upper` are the sizes of z1 and z2."""

    observation = "binary"

    def __init__(self, image_shape: tuple[int, int, int], lower: int = 16, upper: int = 8, hidden: int = 256):
        super().__init__()
        self.image_shape, pixels = tuple(image_shape), math.prod(image_shape)
        self.sizes, self.latent_dim = [lower, upper], lower + upper
        self.lower_given_x = NormalLayers(pixels, hidden, lower)
        self.upper_given_lower = NormalLayers(lower, hidden, upper)
        self.lower_given_upper = NormalLayers(upper, hidden, lower)
        self.logits = layers(lower, hidden, pixels)

    def propose(self, x: Tensor) -> "TwoLevelProposal":
        return TwoLevelProposal(self, self.lower_given_x(x.flatten(1)))

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        lower, _ = z.split(self.sizes, -1)
        logits = self.logits(lower)
        return (x.flatten(1) * logits - softplus(logits)).sum(-1)

    def forward(self, x: Tensor, noise: Tensor, kl_weight: float | Tensor = 1.0) -> Tensor:
        """One-sample evidence lower bound; `kl_weight` is below 1 while training warms up."""
        z, log_ratio = self.propose(x).draw(noise[:, None])
        return self.log_prob_given_latent(x, z[0]) + kl_weight * log_ratio[0]

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(n, self.latent_dim, device=self.logits[0].weight.device, generator=generator)
        for_lower, upper = noise.split(self.sizes, -1)
        prior = self.lower_given_upper(upper)
        images = torch.sigmoid(self.logits(prior.mean + prior.stddev * for_lower)).reshape(n, *self.image_shape)
        return torch.bernoulli(images, generator=generator) if observation else images


@dataclass
class TwoLevelProposal:
    """q(z1, z2 | x) of n images."""

    model: TwoLevelVAE
    lower: Normal  # q(z1 | x)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z (samples, n, latent_dim) and log p(z) - log q(z | x), (samples, n), from noise (n, samples, latent_dim)."""
        for_lower, for_upper = noise.transpose(0, 1).split(self.model.sizes, -1)
        z1 = self.lower.mean + self.lower.stddev * for_lower
        upper = self.model.upper_given_lower(z1)
        z2 = upper.mean + upper.stddev * for_upper
        log_p = log_density(Normal(0.0, 1.0, validate_args=False), z2) + log_density(
            self.model.lower_given_upper(z2), z1
        )
        log_q = log_density(self.lower, z1) + log_density(upper, z2)
        return torch.cat([z1, z2], -1), log_p - log_q


class NormalLayers(nn.Module):
    """A normal distribution whose mean and deviation a network gives."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.layers = layers(inputs, hidden, 2 * outputs)

    def forward(self, given: Tensor) -> Normal:
        mean, log_variance = self.layers(given).chunk(2, -1)
        # Checks of values would need a look at them, which models that are trained as one do not allow.
        return Normal(mean, torch.exp(0.5 * log_variance), validate_args=False)


def layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def log_density(distribution: Normal, z: Tensor) -> Tensor:
    return distribution.log_prob(z).sum(-1)
