"""Diffusion in continuous time (Kingma et al. 2021, "Variational Diffusion Models"): a bound on log p, and samples.

x is a grey level on [-1, 1]. At time t from 0 to 1, z = alpha x + sigma epsilon with alpha^2 = sigmoid(-gamma), sigma^2 =
sigmoid(gamma), and gamma = -log signal-to-noise ratio, which rises linearly from gamma_0 to gamma_1. A model says what epsilon
was. All terms are in nats, and together a bound on the log-probability of the 8-bit image.
"""

import math
from abc import ABC, abstractmethod
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from engram.errors import UserError, suggest
from engram.models.observations import some_weights
from engram.runtime.device import at_once

LEVELS = 256
GRID = 201  # values of epsilon for its mean
SAMPLERS = ("ancestral", "ddim")
PIXELS_AT_ONCE = 2**16  # through the network on a CPU, which bounds memory; more at once are slower, too


def alpha_and_sigma(gamma: Tensor) -> tuple[Tensor, Tensor]:
    """How much of x and of the noise is in z."""
    return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()


def prior_divergence(x: Tensor, gamma_1: float) -> Tensor:
    """KL of z at time 1 given x from N(0, I), (n,): 1/2 sum (1 - s^2) x^2 + s^2 - log s^2 - 1 with s^2 = sigmoid(gamma_1)."""
    variance = torch.sigmoid(x.new_tensor(gamma_1))
    return 0.5 * ((1 - variance) * x**2 + variance - variance.log() - 1).flatten(1).sum(1)


def reconstruction(x: Tensor, epsilon: Tensor, gamma_0: float) -> Tensor:
    """log p(x | z) at time 0, (n,): each pixel's level among 256, by its distance from z / alpha = x + exp(gamma_0 / 2) epsilon."""
    width = x.new_tensor(0.5 * gamma_0).exp()
    levels = torch.linspace(-1, 1, LEVELS, dtype=x.dtype, device=x.device)
    observed = x + width * epsilon
    logits = -0.5 * ((observed.unsqueeze(-1) - levels) / width) ** 2
    own = -0.5 * epsilon**2
    return (own - logits.logsumexp(-1)).flatten(1).sum(1)


@cache
def expected_reconstruction(
    gamma_0: float, dtype: torch.dtype = torch.float64, device: torch.device | None = None
) -> Tensor:
    """Mean over epsilon of `reconstruction` for each of the 256 levels, (256,): a sum over a fine grid, to 1e-6 nats.

    Kept where it was wanted, so that steps recorded on a GPU find it there.
    """
    epsilon = torch.linspace(-8, 8, GRID, dtype=torch.float64)
    weight = torch.softmax(-0.5 * epsilon**2, 0)
    levels = torch.linspace(-1, 1, LEVELS, dtype=torch.float64)
    pairs = torch.cartesian_prod(levels, epsilon)
    mean = reconstruction(pairs[:, :1], pairs[:, 1:], gamma_0).reshape(LEVELS, GRID) @ weight
    return mean.to(device, dtype)


def ancestral_step(z: Tensor, predicted: Tensor, gamma_t: Tensor, gamma_s: Tensor, noise: Tensor) -> Tensor:
    """A draw of z at an earlier time s given z at t and the epsilon predicted there, by standard normal noise of z's shape."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_and_sigma(gamma_t), alpha_and_sigma(gamma_s)
    change = -torch.expm1(gamma_s - gamma_t)
    mean = alpha_s / alpha_t * (z - sigma_t * change * predicted)
    return mean + sigma_s * change.sqrt() * noise


def ddim_step(z: Tensor, predicted: Tensor, gamma_t: Tensor, gamma_s: Tensor) -> Tensor:
    """z at an earlier time s from the x and the epsilon predicted of z at t, without chance (Song et al. 2021, DDIM).

    Many small steps follow the probability-flow ODE: in one dimension a quantile of z at t goes to the same quantile at s.

        >>> z, gamma_t, gamma_s = torch.ones(1), torch.tensor(0.0), torch.tensor(-2.0)
        >>> ddim_step(z, torch.zeros(1), gamma_t, gamma_s)  # all of z is x, which alpha_s / alpha_t makes larger
        tensor([1.3273])
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = alpha_and_sigma(gamma_t), alpha_and_sigma(gamma_s)
    return alpha_s / alpha_t * (z - sigma_t * predicted) + sigma_s * predicted


class DiffusionModel(nn.Module, ABC):
    """The bound, the objective and samples of a model that predicts noise; a subclass implements `predict_noise`.

    sampler: of images, "ancestral", which draws noise in each of its `steps`, or "ddim", whose image depends on z at time 1 alone.
    classes: with any, the bound is one on log p(x | class), and `predict_noise` takes a third argument, label (n,). Where a class
    is withheld, that is None or `classes`; in training so is a share `label_dropout` of the labels, so that the model learns to
    do without (Ho and Salimans 2022, "Classifier-free diffusion guidance"). Raises UserError for values that cannot be.

    The noise of one image's objective, and of one sample of its bound, is a row of numbers: the first is t, through the normal
    distribution function, and the others are epsilon; with classes one more, through the same function, drops the label.
    """

    observation = "centred"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        gamma_0: float,
        gamma_1: float,
        steps: int,
        sampler: str = "ancestral",
        classes: int = 0,
        label_dropout: float = 0.1,
    ):
        super().__init__()
        if sampler not in SAMPLERS:
            raise UserError(f"sampler is {sampler!r}; {suggest(sampler, SAMPLERS)}")
        if not 0 <= label_dropout < 1:
            raise UserError(
                f"label_dropout is {label_dropout}; it must be a share of the images, at least 0 and below 1"
            )
        self.image_shape, self.gamma_0, self.gamma_1 = tuple(image_shape), gamma_0, gamma_1
        self.steps, self.sampler, self.classes, self.label_dropout = steps, sampler, classes, label_dropout
        self.pixels = torch.Size(image_shape).numel()
        self.noise_shape = (1 + self.pixels + bool(classes),)

    @abstractmethod
    def predict_noise(self, z: Tensor, gamma: Tensor) -> Tensor:
        """epsilon, (n, *image_shape), of z at gamma (n,); with classes also `label`, (n,) or by default None."""

    def _predicted(self, z: Tensor, gamma: Tensor, label: Tensor | None) -> Tensor:
        """What `predict_noise` gives, of so many images at a time that memory stays bounded.

        A batch of training is bounded by its size, and stays one for networks that look at all of it, as batch norm does.
        """
        given = (z, gamma) if label is None else (z, gamma, label)
        if self.training:
            return self.predict_noise(*given)
        images = max(1, at_once(PIXELS_AT_ONCE, z.device) // math.prod(self.image_shape[1:]))
        parts = zip(*(values.split(images) for values in given), strict=True)
        return torch.cat([self.predict_noise(*part) for part in parts])

    def gamma(self, t: Tensor) -> Tensor:
        return self.gamma_0 + (self.gamma_1 - self.gamma_0) * t

    def diffusion_loss(self, x: Tensor, t: Tensor, epsilon: Tensor, label: Tensor | None = None) -> Tensor:
        """1/2 gamma'(t) |epsilon - predicted epsilon|^2, (n,): its mean over t and epsilon is the bound's third term."""
        gamma = self.gamma(t)
        alpha, sigma = (part.reshape(-1, *[1] * (x.ndim - 1)) for part in alpha_and_sigma(gamma))
        error = epsilon - self._predicted(alpha * x + sigma * epsilon, gamma, label)
        return 0.5 * (self.gamma_1 - self.gamma_0) * (error**2).flatten(1).sum(1)

    def forward(self, x: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """The bound from one sample of t and epsilon, (n,): the objective. In training mode some labels are dropped."""
        if label is not None and self.training:
            label = torch.where(torch.special.ndtr(noise[:, -1]) < self.label_dropout, self.classes, label)
        epsilon = noise[:, 1 : 1 + self.pixels].reshape(x.shape)
        return self._bound_at(x, torch.special.ndtr(noise[:, 0]), epsilon, label)

    def bound(self, x: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Samples of the bound, (n, samples). The t of an image are evenly spaced from a random first one."""
        n, samples = noise.shape[:2]
        spaced = torch.arange(samples, device=x.device) / samples
        t = (torch.special.ndtr(noise[:, :1, 0]) + spaced).remainder(1)
        repeated = x.repeat_interleave(samples, 0)
        epsilon = noise[..., 1 : 1 + self.pixels].reshape(repeated.shape)
        label = None if label is None else label.repeat_interleave(samples)
        return self._bound_at(repeated, t.flatten().to(x.dtype), epsilon, label).reshape(n, samples)

    def _bound_at(self, x: Tensor, t: Tensor, epsilon: Tensor, label: Tensor | None) -> Tensor:
        level = ((x + 1) * (0.5 * (LEVELS - 1))).round().long()
        of_level = expected_reconstruction(self.gamma_0, x.dtype, x.device)
        outside = of_level[level].flatten(1).sum(1) - prior_divergence(x, self.gamma_1)
        return outside - self.diffusion_loss(x, t, epsilon, label)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        observation: bool = False,
        generator: torch.Generator | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """Images, (n, *image_shape), by `steps` steps from time 1 to 0: in [0, 1], or with observation=True levels on [-1, 1].

        They are of the classes `label` (n,), which are drawn uniformly if a model with classes is not told any.
        """
        weights = some_weights(self)
        as_weights = {"device": weights.device, "dtype": weights.dtype}
        if self.classes and label is None:
            label = torch.randint(self.classes, (n,), generator=generator, device=weights.device)
        z = torch.randn(n, *self.image_shape, generator=generator, **as_weights)
        times = torch.linspace(1, 0, self.steps + 1, **as_weights)
        for t, s in pairwise(times):
            predicted = self._predicted(z, self.gamma(t).expand(n), label)
            z = self._earlier(z, predicted, self.gamma(t), self.gamma(s), generator)
        levels = ((z / alpha_and_sigma(self.gamma(times[-1]))[0]).clamp(-1, 1) * 0.5 + 0.5).mul(LEVELS - 1).round()
        return 2 * levels / (LEVELS - 1) - 1 if observation else levels / (LEVELS - 1)

    def _earlier(
        self, z: Tensor, predicted: Tensor, gamma_t: Tensor, gamma_s: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """z at an earlier time s given z at t, by the model's sampler."""
        if self.sampler == "ddim":
            return ddim_step(z, predicted, gamma_t, gamma_s)
        noise = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
        return ancestral_step(z, predicted, gamma_t, gamma_s, noise)
