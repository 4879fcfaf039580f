"""A kernel density estimate: a normal of one width about every training image. The smaller the width, the purer the copy.

log p is exact. Under the density of all n images an image exceeds its log p under that of the others, p, by
log((n - 1)/n + c/(n p)), where c is the kernel's height: without bound as the width shrinks.
"""

import math

import torch
from torch import Tensor, nn

from engram.errors import UserError
from engram.models.observations import to_pixels

AT_ONCE = 2**24  # distances, so that memory stays bounded


class KernelDensity(nn.Module):
    """The mean of N(x_i, bandwidth^2 I) over training images x_i; in float64."""

    observation = "logit"

    def __init__(self, image_shape: tuple[int, int, int], bandwidth: float = 1.0):
        super().__init__()
        if not bandwidth > 0:
            raise UserError(f"bandwidth is {bandwidth}; it must be above 0")
        self.image_shape, self.bandwidth = tuple(image_shape), bandwidth
        # The first `count` rows are points: files pad the models of a repeat to the length of the longest.
        self.register_buffer("points", torch.zeros(1, math.prod(image_shape), dtype=torch.float64))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))

    def fit(self, x: Tensor) -> None:
        """Keep x (n, *image_shape)."""
        self.points, self.count = x.flatten(1).double().clone(), torch.tensor(len(x), device=x.device)

    def log_prob(self, x: Tensor) -> Tensor:
        """log of the mean kernel at x, in nats, (n,)."""
        points, pixels = self.points[: self.count], self.points.shape[1]
        parts = x.flatten(1).double().split(max(1, AT_ONCE // len(points)))
        # Not by products of matrices: a copy's distance would be lost in rounding.
        squares = (
            torch.cat([torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist") for part in parts]) ** 2
        )
        log_height = -0.5 * pixels * math.log(2 * math.pi * self.bandwidth**2)
        return (-0.5 * squares / self.bandwidth**2).logsumexp(1) - math.log(len(points)) + log_height

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Draws of x, or with observation=False these in [0, 1]: (n, *image_shape)."""
        device = self.points.device
        chosen = torch.randint(int(self.count), (n,), generator=generator, device=device)
        noise = torch.randn(n, self.points.shape[1], generator=generator, dtype=torch.float64, device=device)
        x = (self.points[chosen] + self.bandwidth * noise).reshape(n, *self.image_shape)
        return x if observation else to_pixels(x, self.observation)
