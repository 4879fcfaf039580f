"""Probabilistic principal component analysis, by maximum likelihood (Tipping and Bishop 1999): a linear VAE, solved.

x = mean + axes' scaled z + noise of one variance. log p is exact.
"""

import math

import torch
from torch import Tensor, nn

from engram.errors import UserError
from engram.models.observations import to_pixels


class PPCA(nn.Module):
    """N(mean, W W' + noise_variance I) with `latent_dim` columns in W; in float64.

    noise_variance is the mean variance along the axes left out, at least `least_variance`.
    """

    observation = "logit"

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 16, least_variance: float = 0.01):
        super().__init__()
        pixels = math.prod(image_shape)
        if not 1 <= latent_dim < pixels:
            raise UserError(f"latent_dim is {latent_dim}; images of {pixels} pixels take 1 to {pixels - 1}")
        self.image_shape, self.least_variance = tuple(image_shape), least_variance
        self.principal = latent_dim
        self.register_buffer("center", torch.zeros(pixels, dtype=torch.float64))
        self.register_buffer("axes", torch.eye(pixels, dtype=torch.float64)[:latent_dim].clone())
        self.register_buffer("variances", torch.ones(latent_dim, dtype=torch.float64))
        self.register_buffer("noise_variance", torch.ones((), dtype=torch.float64))

    def fit(self, x: Tensor) -> None:
        """The principal axes of x (n, *image_shape), and the variances along them."""
        rows = x.flatten(1).double()
        self.center.copy_(rows.mean(0))
        deviations = rows - self.center
        variances, axes = torch.linalg.eigh(deviations.T @ deviations / len(rows))
        left_out = variances[: -self.principal].mean().clamp(min=self.least_variance)
        self.noise_variance.copy_(left_out)
        self.variances.copy_(variances[-self.principal :].clamp(min=float(left_out)))
        self.axes.copy_(axes.T[-self.principal :])

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(x; mean, W W' + noise_variance I) in nats, (n,)."""
        deviations = x.flatten(1).double() - self.center
        along = deviations @ self.axes.T
        across = (deviations**2).sum(1) - (along**2).sum(1)
        others = len(self.center) - self.principal
        log_volume = self.variances.log().sum() + others * self.noise_variance.log()
        square = (along**2 / self.variances).sum(1) + across / self.noise_variance
        return -0.5 * (square + log_volume + len(self.center) * math.log(2 * math.pi))

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Draws of x, or with observation=False their means given z in [0, 1]: (n, *image_shape)."""
        normals = torch.randn(
            n, self.principal + len(self.center), generator=generator, dtype=torch.float64, device=self.center.device
        )
        z, noise = normals.split([self.principal, len(self.center)], 1)
        mean = self.center + (z * (self.variances - self.noise_variance).clamp(min=0).sqrt()) @ self.axes
        x = mean + noise * self.noise_variance.sqrt() if observation else mean
        x = x.reshape(n, *self.image_shape)
        return x if observation else to_pixels(x, self.observation)
