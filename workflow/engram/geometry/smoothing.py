"""The density of a model under further normal noise, p * N(0, delta^2 I), without training it again.

A model whose x has normal noise of variance s^2 only needs that of s^2 + delta^2 in its place. The closed forms have such noise,
and so do VAEs with Gaussian pixels. Bernoulli pixels and mixtures of logistics have none, and a flow's blur has no closed form.

The slope of log p on log delta would count the model's own noise as dimensions: 37.5 in place of 4 for a probabilistic PCA of 64
pixels, 4 axes and noise of the same size as delta. So widths are sqrt(s^2 + delta^2), and points lie on the model's manifold.
"""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from engram.models.gaussian import Gaussian
from engram.models.gaussian_conv_vae import LEAST_LOG_VARIANCE, GaussianConvVAE, GaussianConvVAEScalarVariance
from engram.models.kernel_density import KernelDensity
from engram.models.pixels import gaussian
from engram.models.ppca import PPCA
from engram.models.protocols import LatentModel

ClosedForm = Gaussian | PPCA | KernelDensity
Moments = Callable[[Tensor], tuple[Tensor, Tensor]]  # mean and log-variance of x, by pixel, from a decoder's parameters


def smoothed(model: ClosedForm, delta: float) -> ClosedForm:
    """The model of p * N(0, delta^2 I)."""
    if isinstance(model, KernelDensity):  # a shallow copy: its images may be many
        found = copy.copy(model)
        found.bandwidth = math.hypot(model.bandwidth, delta)
        return found
    found = copy.deepcopy(model)
    found.variances += delta**2
    if isinstance(found, PPCA):
        found.noise_variance += delta**2
    return found


def own_noise(model: ClosedForm) -> float:
    """s, the width of the noise about the model's manifold; of a Gaussian that to which smaller ones are raised."""
    if isinstance(model, KernelDensity):
        return model.bandwidth
    return math.sqrt(model.noise_variance if isinstance(model, PPCA) else model.least_variance)


def on_manifold(model: ClosedForm, x: Tensor) -> Tensor:
    """x (n, *image_shape) without its noise: brought to the principal axes that vary more than noise does.

    A kernel density's manifold are its training images, where x is one of them already.
    """
    if isinstance(model, KernelDensity):
        return x
    rows = x.flatten(1).double() - model.center
    if isinstance(model, PPCA):
        rows = rows @ model.axes.T @ model.axes
    else:
        axes = getattr(model, "axes", torch.eye(rows.shape[1], dtype=rows.dtype))
        axes = axes[model.variances > model.least_variance]
        rows = rows @ axes.T @ axes
    return (model.center + rows).reshape(x.shape)


class SmoothedVAE(nn.Module):
    """A VAE with Gaussian pixels whose variances have grown by delta^2; its encoder is the old one.

    moments: of x, from what the old decoder gives. The new decoder gives mean and log-variance, (..., n, 2, pixels).
    """

    def __init__(self, model: LatentModel, moments: Moments, delta: float):
        super().__init__()
        self.model, self.moments, self.delta = model, moments, delta
        self.observation = model.observation

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        mean, log_variance = self.moments(self.model.decode(z))
        mean = mean.flatten(z.ndim - 1)
        log_variance = log_variance.flatten(z.ndim - 1) if log_variance.ndim else log_variance
        # Not by logaddexp, whose derivative is not a number at delta = 0.
        return torch.stack([mean, (log_variance.exp() + self.delta**2).log().expand_as(mean)], -2)

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        return gaussian.log_prob(x.flatten(1), *self.decode(z).unbind(-2))

    def information(self, parameters: Tensor) -> Tensor:
        log_variance = parameters[..., 1, :]
        return torch.stack([gaussian.information_of_mean(log_variance), torch.full_like(log_variance, 0.5)], -2)

    def log_width(self, z: Tensor) -> Tensor:
        """Mean over pixels of the log of their noise's width, (n,), at z (n, latent_dim)."""
        return 0.5 * self.decode(z)[..., 1, :].mean(-1)


def gaussian_moments(model: nn.Module) -> Moments | None:
    """How a known VAE tells mean and log-variance of its pixels; None if these are not Gaussian."""
    if isinstance(model, GaussianConvVAEScalarVariance):
        return lambda parameters: (parameters, model.log_variance)
    if isinstance(model, GaussianConvVAE):
        return _both
    return None


def _both(parameters: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = parameters.chunk(2, -3)
    return mean, log_variance.clamp(min=LEAST_LOG_VARIANCE)
