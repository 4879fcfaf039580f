"""Diffusion in continuous time (Kingma et al. 2021, "Variational Diffusion Models"): a bound on log p, and samples.

x is a grey level on [-1, 1]. At time t from 0 to 1, z = alpha x + sigma epsilon with alpha^2 = sigmoid(-gamma), sigma^2 =
sigmoid(gamma), and gamma = -log signal-to-noise ratio, which rises linearly from gamma_0 to gamma_1. A model says what epsilon
was. All terms are in nats, and together a bound on the log-probability of the 8-bit image.
"""

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from engram.runtime.device import at_once

LEVELS = 256
NEGLIGIBLE = 9  # standard deviations: exp(-9^2 / 2) is below a double's last digit
PIXELS_AT_ONCE = 2**16  # through the network on a CPU, which bounds memory; more at once are slower, too


def alpha_and_sigma(gamma: Tensor) -> tuple[Tensor, Tensor]:
    """How much of x and of the noise is in z."""
    return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()


def prior_divergence(x: Tensor, gamma_1: float) -> Tensor:
    """KL of z at time 1 given x from N(0, I), (n,): 1/2 sum (1 - s^2) x^2 + s^2 - log s^2 - 1 with s^2 = sigmoid(gamma_1)."""
    variance = torch.sigmoid(x.new_tensor(gamma_1))
    return 0.5 * ((1 - variance) * x**2 + variance - variance.log() - 1).flatten(1).sum(1)


def reconstruction(x: Tensor, epsilon: Tensor, gamma_0: float) -> Tensor:
    """log p(x | z) at time 0, (n,): each pixel's level among 256, by its distance from z / alpha = x + exp(gamma_0 / 2) epsilon.

    One level after the other, so that memory is that of x, and only those near the nearest: all others together are less than
    a double's last digit.
    """
    width, half = math.exp(0.5 * gamma_0), (LEVELS - 1) / 2
    nearest = ((x + width * epsilon + 1) * half).round().clamp(0, LEVELS - 1)

    def square(level: Tensor) -> Tensor:
        return (epsilon + (x - (level / half - 1)) / width) ** 2

    least, total = square(nearest), torch.zeros_like(x)
    reach = min(LEVELS - 1, math.ceil(NEGLIGIBLE * width * half))
    for level in (nearest + away for away in range(-reach, reach + 1)):
        weight = torch.exp(0.5 * (least - square(level)))
        total = total + torch.where((level >= 0) & (level < LEVELS), weight, 0)
    return (0.5 * (least - epsilon**2) - total.log()).flatten(1).sum(1)


class DiffusionModel(nn.Module, ABC):
    """The bound, the objective and samples of a model that predicts noise; a subclass implements `predict_noise`.

    The noise of one image's objective, and of one sample of its bound, is a row of numbers: the first is t, through the normal
    distribution function, and the others are epsilon.
    """

    observation = "centred"

    def __init__(self, image_shape: tuple[int, int, int], gamma_0: float, gamma_1: float, steps: int):
        super().__init__()
        self.image_shape, self.gamma_0, self.gamma_1, self.steps = tuple(image_shape), gamma_0, gamma_1, steps
        self.noise_shape = (1 + torch.Size(image_shape).numel(),)

    @abstractmethod
    def predict_noise(self, z: Tensor, gamma: Tensor) -> Tensor:
        """epsilon, (n, *image_shape), of z at gamma (n,)."""

    def _predicted(self, z: Tensor, gamma: Tensor) -> Tensor:
        """What `predict_noise` gives, of so many images at a time that memory stays bounded.

        A batch of training is bounded by its size, and stays one for networks that look at all of it, as batch norm does.
        """
        if self.training:
            return self.predict_noise(z, gamma)
        images = max(1, at_once(PIXELS_AT_ONCE, z.device) // math.prod(self.image_shape[1:]))
        parts = zip(z.split(images), gamma.split(images), strict=True)
        return torch.cat([self.predict_noise(*part) for part in parts])

    def gamma(self, t: Tensor) -> Tensor:
        return self.gamma_0 + (self.gamma_1 - self.gamma_0) * t

    def diffusion_loss(self, x: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """1/2 gamma'(t) |epsilon - predicted epsilon|^2, (n,): its mean over t and epsilon is the bound's third term."""
        gamma = self.gamma(t)
        alpha, sigma = (part.reshape(-1, *[1] * (x.ndim - 1)) for part in alpha_and_sigma(gamma))
        error = epsilon - self._predicted(alpha * x + sigma * epsilon, gamma)
        return 0.5 * (self.gamma_1 - self.gamma_0) * (error**2).flatten(1).sum(1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The bound from one sample of t and epsilon, (n,): the objective."""
        return self._bound_at(x, torch.special.ndtr(noise[:, 0]), noise[:, 1:].reshape(x.shape))

    def bound(self, x: Tensor, noise: Tensor) -> Tensor:
        """Samples of the bound, (n, samples). The t of an image are evenly spaced from a random first one."""
        n, samples = noise.shape[:2]
        spaced = torch.arange(samples, device=x.device) / samples
        t = (torch.special.ndtr(noise[:, :1, 0]) + spaced).remainder(1)
        repeated = x.repeat_interleave(samples, 0)
        epsilon = noise[..., 1:].reshape(repeated.shape)
        return self._bound_at(repeated, t.flatten().to(x.dtype), epsilon).reshape(n, samples)

    def _bound_at(self, x: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        outside = reconstruction(x, epsilon, self.gamma_0) - prior_divergence(x, self.gamma_1)
        return outside - self.diffusion_loss(x, t, epsilon)

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Images, (n, *image_shape), by `steps` steps from time 1 to 0: in [0, 1], or with observation=True levels on [-1, 1]."""
        device = next(self.parameters()).device
        z = torch.randn(n, *self.image_shape, generator=generator, device=device)
        times = torch.linspace(1, 0, self.steps + 1, device=device)
        for t, s in pairwise(times):
            noise = torch.randn(z.shape, generator=generator, device=device)
            z = self._earlier(z, self.gamma(t), self.gamma(s), noise)
        levels = ((z / alpha_and_sigma(self.gamma(times[-1]))[0]).clamp(-1, 1) * 0.5 + 0.5).mul(LEVELS - 1).round()
        return 2 * levels / (LEVELS - 1) - 1 if observation else levels / (LEVELS - 1)

    def _earlier(self, z: Tensor, gamma_t: Tensor, gamma_s: Tensor, noise: Tensor) -> Tensor:
        """z at an earlier time s given z at t, by ancestral sampling."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_and_sigma(gamma_t), alpha_and_sigma(gamma_s)
        change = -torch.expm1(gamma_s - gamma_t)
        predicted = self._predicted(z, gamma_t.expand(len(z)))
        mean = alpha_s / alpha_t * (z - sigma_t * change * predicted)
        return mean + sigma_s * change.sqrt() * noise
