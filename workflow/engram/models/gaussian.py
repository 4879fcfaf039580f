"""A normal distribution of logit observations, fitted in closed form: log p is exact, and so is what it memorizes.

With n training images, the log p of an image under the density fitted to all of them exceeds that under the density fitted to the
others by an amount that depends on its distance from the mean alone (tests/test_closed_forms.py has the formulas).
"""

import math

import torch
from torch import Tensor, nn

from engram.errors import UserError
from engram.models.observations import to_pixels

COVARIANCES = ("full", "diagonal", "spherical")


class Gaussian(nn.Module):
    """N(mean, covariance) by maximum likelihood; in float64.

    covariance: "full", "diagonal" (each pixel's own variance), or "spherical" (`variance` for every pixel, not fitted).
    least_variance: variances below it are raised to it; of a full covariance, those along its principal axes. Pixels that hardly
    change would otherwise decide log p alone, and more pixels than images leave some axes without any variance.
    """

    observation = "logit"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        covariance: str = "full",
        variance: float = 1.0,
        least_variance: float = 0.01,
    ):
        super().__init__()
        if covariance not in COVARIANCES:
            raise UserError(f"covariance is {covariance!r}; choose {', '.join(COVARIANCES)}")
        if not (variance > 0 and least_variance > 0):
            raise UserError(f"variance {variance} and least_variance {least_variance} must be above 0")
        self.image_shape, self.covariance = tuple(image_shape), covariance
        self.least_variance = least_variance
        pixels = math.prod(image_shape)
        self.register_buffer("center", torch.zeros(pixels, dtype=torch.float64))
        self.register_buffer("variances", torch.full((pixels,), variance, dtype=torch.float64))
        # Principal axes, one a row; those of the pixels themselves need not be stored.
        if covariance == "full":
            self.register_buffer("axes", torch.eye(pixels, dtype=torch.float64))

    def fit(self, x: Tensor) -> None:
        """Mean and covariance of x (n, *image_shape)."""
        rows = x.flatten(1).double()
        self.center.copy_(rows.mean(0))
        deviations = rows - self.center
        if self.covariance == "diagonal":
            self.variances.copy_((deviations**2).mean(0).clamp(min=self.least_variance))
        elif self.covariance == "full":
            variances, axes = torch.linalg.eigh(deviations.T @ deviations / len(rows))
            self.variances.copy_(variances.clamp(min=self.least_variance))
            self.axes.copy_(axes.T)

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(x; mean, covariance) in nats, (n,)."""
        deviations = x.flatten(1).double() - self.center
        along = deviations @ self.axes.T if self.covariance == "full" else deviations
        return -0.5 * (along**2 / self.variances + (2 * math.pi * self.variances).log()).sum(1)

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Draws of x, or with observation=False these in [0, 1]: (n, *image_shape)."""
        normals = torch.randn(n, len(self.center), generator=generator, dtype=torch.float64, device=self.center.device)
        along = normals * self.variances.sqrt()
        x = self.center + (along @ self.axes if self.covariance == "full" else along)
        x = x.reshape(n, *self.image_shape)
        return x if observation else to_pixels(x, self.observation)
