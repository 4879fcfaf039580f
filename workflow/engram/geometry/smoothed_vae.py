"""LIDL of a VAE with Gaussian pixels, without training it again: p * N(0, delta^2 I) is the same VAE with larger variances.

Its log p takes importance sampling. Points are decoders' means: at an image itself, the model's own noise would count as dimensions
(engram.geometry.smoothing).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from engram.geometry.flipd import Dimension
from engram.geometry.lidl import lidl
from engram.likelihood.estimation import estimate
from engram.models.gaussian_conv_vae import LEAST_LOG_VARIANCE, GaussianConvVAE, GaussianConvVAEScalarVariance
from engram.models.pixels import gaussian
from engram.models.protocols import LatentModel

Moments = Callable[[Tensor], tuple[Tensor, Tensor]]  # mean and log-variance of x, by pixel, from a decoder's parameters


def lidl_of_vae(
    model: LatentModel, moments: Moments, x: Tensor, noise: Tensor, widths: Sequence[float], scale: float = 1.1
) -> Dimension:
    """At the decoder's mean for the encoder's mean of x (n, *image_shape), (n,), by the widths of all noise in units of its own.

    noise: (n, samples, latent_dim) standard normal, the same at all widths. `scale`: of the Laplace proposal. Pixels of unlike
    variances have one width together, the geometric mean, which is that of an image's own pixels; delta is the same for all images.
    """
    with torch.no_grad():
        z = model.encode(x)[0]
        at_zero = SmoothedVAE(model, moments, 0.0)
        own = at_zero.log_width(torch.zeros_like(z[:1])).exp().item()
        on = at_zero.decode(z)[..., 0, :].reshape(x.shape)
        blurred = [SmoothedVAE(model, moments, own * max(0.0, width**2 - 1) ** 0.5) for width in widths]
        log_p = [
            estimate(each, on, "laplace", noise.shape[1], proposal_scale=scale, noise=noise).log_px for each in blurred
        ]
        log_width = torch.stack([each.log_width(z) for each in blurred])
    return lidl(torch.stack(log_p).double(), log_width.double(), x[0].numel())


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
