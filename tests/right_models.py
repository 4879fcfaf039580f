"""Models of one's own that are unusual and right: each trains, resumes with the same bits, is stored, loaded and scored."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence
from torch.nn.functional import linear
from torch.nn.utils.parametrizations import weight_norm

from engram.models import LatentVariableModel


class Plain(LatentVariableModel):
    """A VAE with one hidden layer; the others change a part of it."""

    observation = "binary"

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim)
        self.pixels = math.prod(image_shape)
        self.into = nn.Linear(self.pixels, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent_dim)
        self.out = nn.Sequential(nn.Linear(latent_dim, hidden), nn.Tanh(), nn.Linear(hidden, self.pixels))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior(torch.tanh(self.into(x.flatten(1)))).chunk(2, -1)

    def decode(self, z: Tensor) -> Tensor:
        return self.out(z)

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        return Bernoulli(logits=self.decode(z), validate_args=False).log_prob(x.flatten(1)).sum(-1)

    def information(self, parameters: Tensor) -> Tensor:
        probability = torch.sigmoid(parameters)
        return probability * (1 - probability)

    def mean(self, parameters: Tensor) -> Tensor:
        return torch.sigmoid(parameters).reshape(-1, *self.image_shape)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean(parameters), generator=generator)


class Tied(Plain):
    """The decoder's last layer is the encoder's first, transposed, and two modules share one bias."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.out = nn.Linear(latent_dim, hidden)
        self.other = nn.Linear(latent_dim, hidden)
        self.other.bias = self.out.bias

    def decode(self, z: Tensor) -> Tensor:
        return linear(torch.tanh(self.out(z)) + self.other(z), self.into.weight.T)


class Frozen(Plain):
    """Random features that are never trained."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.into.requires_grad_(False)


class Double(Plain):
    """Computes in float64."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.double()


class WeightNormed(Plain):
    """Weights as a direction and a length."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.into = weight_norm(self.into)


class BatchNormed(Plain):
    """Buffers that training changes in place."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.into = nn.Sequential(nn.Linear(self.pixels, hidden, bias=False), nn.BatchNorm1d(hidden))


class Dropout(Plain):
    """Drops features by chance, in training mode alone."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6, dropout: float = 0.3):
        super().__init__(image_shape, latent_dim, hidden)
        self.into = nn.Sequential(self.into, nn.Dropout(dropout))


class Sampling(Plain):
    """Adds noise of its own to x, in training mode alone."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().encode(x + 0.1 * torch.randn_like(x) if self.training else x)


class NotPersistent(Plain):
    """A buffer that state_dict leaves out, though training changes it: a running mean of x."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.register_buffer("center", torch.zeros(self.pixels), persistent=False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            self.center.lerp_(x.flatten(1).mean(0), 0.1)
        return super().encode(x.flatten(1) - self.center)


class Shared(Plain):
    """One module that is used twice, under two names."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.inner = nn.Linear(hidden, hidden)
        self.out = nn.Sequential(nn.Linear(latent_dim, hidden), self.inner, nn.Tanh(), nn.Linear(hidden, self.pixels))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior(torch.tanh(self.inner(torch.tanh(self.into(x.flatten(1)))))).chunk(2, -1)


class Branching(Plain):
    """Which way it computes depends on values, which vmap cannot take."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().encode(x)
        return (mean.clamp(-3, 3), log_variance) if mean.abs().max() > 3 else (mean, log_variance)


class SometimesReached(Plain):
    """A parameter that only bright batches reach."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.of_bright = nn.Parameter(torch.zeros(latent_dim))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().encode(x)
        return (mean + self.of_bright, log_variance) if self.training and x.mean() > 0.3 else (mean, log_variance)


class Named(Plain):
    """Parameters and modules called as the file's own variables and the training's own state are."""

    def __init__(self, image_shape, latent_dim: int = 2, hidden: int = 6):
        super().__init__(image_shape, latent_dim, hidden)
        self.fold, self.epoch = nn.Parameter(torch.zeros(self.pixels)), nn.Parameter(torch.zeros(hidden))
        self.weight = nn.Parameter(torch.ones(()))
        self.step, self.model = nn.Linear(hidden, 2 * latent_dim), nn.Linear(latent_dim, self.pixels)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.tanh(self.into(x.flatten(1) + self.fold) + self.epoch)
        return (self.posterior(features) + self.weight * self.step(features)).chunk(2, -1)

    def decode(self, z: Tensor) -> Tensor:
        return self.out(z) + self.model(z)


class TwoLevels(nn.Module):
    """p(z2) p(z1 | z2) p(x | z1), with q(z1 | x) q(z2 | z1): its proposal is no normal about the encoder's mean.

    Of no class of engram's. The noise and z of an image are z1's and z2's numbers in one row.
    """

    observation = "binary"

    def __init__(self, image_shape, low: int = 3, high: int = 2):
        super().__init__()
        self.image_shape, self.low, self.high, self.latent_dim = image_shape, low, high, low + high
        pixels = math.prod(image_shape)
        self.up, self.upper = nn.Linear(pixels, 2 * low), nn.Linear(low, 2 * high)
        self.down, self.out = nn.Linear(high, 2 * low), nn.Linear(low, pixels)

    def propose(self, x: Tensor) -> "Hierarchy":
        return Hierarchy(self, _normal(self.up(x.flatten(1))))

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        return Independent(Bernoulli(logits=self.out(z[..., : self.low])), 1).log_prob(x.flatten(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        z, log_ratio = self.propose(x).draw(noise[:, None])
        return self.log_prob_given_latent(x, z[0]) + log_ratio[0]

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(n, self.latent_dim, generator=generator)
        above = _normal(self.down(noise[:, self.low :]))
        probability = torch.sigmoid(self.out(above.mean + above.stddev * noise[:, : self.low]))
        images = probability.reshape(n, *self.image_shape)
        return torch.bernoulli(images, generator=generator) if observation else images


@dataclass
class Hierarchy:
    model: TwoLevels
    below: Normal  # q(z1 | x)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        first, second = noise.transpose(0, 1).split([self.model.low, self.model.high], -1)
        z1 = self.below.mean + self.below.stddev * first
        above = _normal(self.model.upper(z1))
        z2 = above.mean + above.stddev * second
        prior = Normal(0, 1).log_prob(z2).sum(-1) + _normal(self.model.down(z2)).log_prob(z1).sum(-1)
        return torch.cat([z1, z2], -1), prior - self.below.log_prob(z1).sum(-1) - above.log_prob(z2).sum(-1)


def _normal(parameters: Tensor) -> Normal:
    mean, log_deviation = parameters.chunk(2, -1)
    return Normal(mean, log_deviation.exp(), validate_args=False)


class Flow(nn.Module):
    """An exact model: log_prob and an objective, and nothing more."""

    observation = "logit"

    def __init__(self, image_shape):
        super().__init__()
        pixels = math.prod(image_shape)
        self.center, self.log_scale = nn.Parameter(torch.zeros(pixels)), nn.Parameter(torch.zeros(pixels))
        self.mix = nn.Parameter(torch.zeros(pixels, pixels))

    def log_prob(self, x: Tensor) -> Tensor:
        y = (x.flatten(1) - self.center) * self.log_scale.exp()
        y = y + y @ self.mix.tril(-1)
        return Normal(0, 1).log_prob(y).sum(-1) + self.log_scale.sum()

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.log_prob(x)


class Bounded(nn.Module):
    """Offers a bound on log p alone, whose noise has a shape of its own: that of a VAE's one-sample bound."""

    observation = "binary"

    def __init__(self, image_shape, latent_dim: int = 2):
        super().__init__()
        self.vae, self.noise_shape = Plain(image_shape, latent_dim), (latent_dim, 1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.vae(x, noise.flatten(1))

    def bound(self, x: Tensor, noise: Tensor) -> Tensor:
        return torch.stack([self(x, some) for some in noise.unbind(1)], 1)


class WarmedUp(Plain):
    """Weighs the divergence itself, which it has from torch."""

    def forward(self, x: Tensor, noise: Tensor, kl_weight: float | Tensor = 1.0) -> Tensor:
        mean, log_variance = self.encode(x)
        posterior = Normal(mean, (log_variance / 2).exp(), validate_args=False)
        divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1)
        return self.log_prob_given_latent(x, posterior.mean + posterior.stddev * noise) - kl_weight * divergence


RIGHT = (
    *(
        Tied,
        Frozen,
        Double,
        WeightNormed,
        BatchNormed,
        Dropout,
        Sampling,
        NotPersistent,
        Shared,
        Branching,
        SometimesReached,
    ),
    *(Named, TwoLevels, Flow, Bounded, WarmedUp),
)
