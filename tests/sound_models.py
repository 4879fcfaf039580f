"""Models that are as they should be, on which those of tests/wrong_models.py stand, and some more that the check might take amiss.

The unusual ones that also train and score are in tests/right_models.py.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import softplus

from engram.models.base import LatentVariableModel
from engram.models.diffusion import DiffusionModel

PIXELS = 16
HIDDEN = 12


class Binary(LatentVariableModel):
    """A VAE with Bernoulli pixels, for images of any shape."""

    observation = "binary"

    def __init__(self, image_shape, latent_dim: int = 3, hidden: int = HIDDEN, slope: float = 0.1):
        super().__init__(image_shape, latent_dim)
        pixels = math.prod(image_shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.LeakyReLU(slope))
        self.encoder_mean, self.encoder_log_variance = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)
        self.decoder = nn.Sequential(nn.Linear(latent_dim, hidden), nn.LeakyReLU(slope), nn.Linear(hidden, pixels))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(x)
        return self.encoder_mean(features), self.encoder_log_variance(features)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        logits = self.decode(z)
        return (x.flatten(1) * logits - softplus(logits)).sum(-1)

    def information(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid() * (-parameters).sigmoid()

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid().reshape(-1, *self.image_shape)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean(parameters), generator=generator)


class Gaussian(Binary):
    """Gaussian pixels of one learned variance."""

    observation = "logit"

    def __init__(self, image_shape, latent_dim: int = 3):
        super().__init__(image_shape, latent_dim)
        self.log_variance = nn.Parameter(torch.tensor(-1.0))

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        square = (x.flatten(1) - self.decode(z)) ** 2
        return -0.5 * (square * torch.exp(-self.log_variance) + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def information(self, parameters: Tensor) -> Tensor:
        return torch.exp(-self.log_variance).expand_as(parameters)

    def observe(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.empty_like(parameters).normal_(generator=generator)
        return (parameters + torch.exp(0.5 * self.log_variance) * noise).reshape(-1, *self.image_shape)


class Fixed(Gaussian):
    """Gaussian pixels for images of PIXELS pixels alone, which engram can therefore not enumerate or integrate."""

    def __init__(self, image_shape, latent_dim: int = 3):
        assert math.prod(image_shape) == PIXELS
        super().__init__(image_shape, latent_dim)


class FixedNotDrawn(Fixed):
    """The same, from which no x can be drawn."""

    observe = property()  # as if there were none


class Exact(nn.Module):
    """An exact model: each pixel is 1 with a probability that depends on the pixel before it."""

    observation = "binary"

    def __init__(self, image_shape):
        super().__init__()
        self.image_shape = image_shape
        pixels = math.prod(image_shape)
        self.bias, self.weight = nn.Parameter(0.3 * torch.randn(pixels)), nn.Parameter(torch.randn(pixels))

    def logits(self, pixels: Tensor) -> Tensor:
        before = torch.cat([torch.zeros_like(pixels[:, :1]), pixels[:, :-1]], 1)
        return self.bias + self.weight * before

    def log_prob(self, x: Tensor) -> Tensor:
        logits = self.logits(x.flatten(1))
        return (x.flatten(1) * logits - softplus(logits)).sum(1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.log_prob(x)

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        x = torch.zeros(n, len(self.bias)).to(self.bias)
        for pixel in range(len(self.bias)):
            p = self.logits(x)[:, pixel].sigmoid()
            x[:, pixel] = torch.bernoulli(p, generator=generator) if observation or pixel + 1 < len(self.bias) else p
        return x.reshape(-1, *self.image_shape)


class TwoLevels(Binary):
    """z = (top, bottom): top ~ N(0, 1), bottom ~ N(top, 1/4); p(x | z) as in Binary, a proposal of its own."""

    def __init__(self, image_shape):
        super().__init__(image_shape, latent_dim=2)
        self.noise_shape = (2,)

    def propose(self, x: Tensor) -> "Proposed":
        mean, log_variance = self.encode(x)
        return Proposed(Normal(mean[:, :1], torch.exp(0.5 * log_variance[:, :1])), mean[:, 1:])

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        z, log_ratio = self.propose(x).draw(noise.unsqueeze(1))
        return (self.log_prob_given_latent(x, z) + log_ratio).squeeze(0) + 0 * self.encode(x)[1].sum(-1)

    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(n, 2, generator=generator)
        return self.mean(self.decode(torch.stack([noise[:, 0], noise[:, 0] + 0.5 * noise[:, 1]], -1)))


class Proposed:
    """top ~ q, bottom ~ N(top + shift, 1/4)."""

    def __init__(self, top: Normal, shift: Tensor):
        self.top, self.shift = top, shift

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        of_top, of_bottom = noise.transpose(0, 1).split(1, -1)
        top = self.top.mean + self.top.stddev * of_top
        bottom = top + self.shift + 0.5 * of_bottom
        log_p = Normal(0.0, 1.0).log_prob(top) + Normal(top, 0.5).log_prob(bottom)
        log_q = self.top.log_prob(top) + Normal(top + self.shift, 0.5).log_prob(bottom)
        return torch.cat([top, bottom], -1), (log_p - log_q).squeeze(-1)


class Bounded(nn.Module):
    """A bound alone, with noise of a shape of its own, as a diffusion model has."""

    observation, noise_shape = "binary", (2, 3)

    def __init__(self, image_shape):
        super().__init__()
        pixels = math.prod(image_shape)
        self.encoder, self.decoder = nn.Linear(pixels, 6), nn.Linear(6, pixels)

    def bound(self, x: Tensor, noise: Tensor) -> Tensor:
        q = Normal(self.encoder(x.flatten(1)).unsqueeze(1), 1.0)
        z = q.mean + noise.flatten(2)
        log_px = Bernoulli(logits=self.decoder(z)).log_prob(x.flatten(1).unsqueeze(1)).sum(-1)
        return log_px - kl_divergence(q, Normal(0.0, 1.0)).sum(-1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.bound(x, noise.unsqueeze(1)).squeeze(1)


class Denoiser(DiffusionModel):
    """One layer that sees z and gamma."""

    def __init__(self, image_shape):
        super().__init__(image_shape, gamma_0=-6.0, gamma_1=5.0, steps=3)
        pixels = math.prod(image_shape)
        self.layer = nn.Linear(pixels + 1, pixels)

    def predict_noise(self, z: Tensor, gamma: Tensor) -> Tensor:
        return self.layer(torch.cat([z.flatten(1), gamma[:, None]], 1)).reshape(z.shape)


class BlindDenoiser(Denoiser):
    """Sees no gamma: a bound like any other."""

    def predict_noise(self, z: Tensor, gamma: Tensor) -> Tensor:
        return super().predict_noise(z, torch.zeros_like(gamma))


class WideDenoiser(Denoiser):
    """Computes in float64, samples included."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.double()


class SpectralNorm(Binary):
    """A layer whose parametrization changes buffers in training mode."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.decoder[0] = nn.utils.parametrizations.spectral_norm(self.decoder[0])


class NonPersistentAndRandom(Binary):
    """Random features in a buffer that state_dict leaves out: it is stored with the weights, which is what loading relies on."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.register_buffer("features", torch.randn(3, 3), persistent=False)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z @ self.features)


class Counting(Binary):
    """A buffer that training mode changes in place, and evaluation mode reads."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.register_buffer("seen", torch.ones(()))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            self.seen.add_(len(x))
        return super().encode(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z) * (1 + 1 / self.seen.detach())


class DataDependent(Binary):
    """A batch of bright images takes another way, through weights that others never use."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.bright = nn.Linear(math.prod(image_shape), HIDDEN)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.bright(x.flatten(1)) if x.mean() > 0.9 else self.encoder(x)
        return self.encoder_mean(features), self.encoder_log_variance(features)


class HalfLearned(Binary):
    """Starts as no function of z at all: the decoder's last layer begins at zero."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        nn.init.zeros_(self.decoder[2].weight)
