"""Models that give log p(x) itself: nothing is estimated."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engram.likelihood.importance import Estimate
from engram.models.protocols import ExactModel


@dataclass(frozen=True)
class Exact:
    """log p of images x (n, *image_shape), as one sample of constant weight would give it: without noise or error."""

    model: ExactModel
    x: Tensor
    noise_shape = (0,)

    def values(self, noise: Tensor) -> Tensor:
        return self.model.log_prob(self.x)[:, None]

    def estimate(self, values: Tensor) -> Estimate:
        log_px = values[:, 0]
        zero = torch.zeros_like(log_px)
        return Estimate(log_px, log_px, zero, zero + 1, zero, zero.bool(), torch.ones_like(zero, dtype=torch.int64))

    def __getitem__(self, rows: Tensor) -> "Exact":
        return Exact(self.model, self.x[rows])
