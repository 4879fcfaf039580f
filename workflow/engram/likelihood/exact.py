"""Models that give log p(x) itself: nothing is estimated."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engram.likelihood.importance import Estimate
from engram.models.protocols import ExactModel


@dataclass(frozen=True)
class Exact:
    """log p of images x (n, *image_shape), without noise or error: effective samples and Pareto k are not defined.

    conditions: what the model is given of each image beside x (engram.models.conditions).
    """

    model: ExactModel
    x: Tensor
    conditions: tuple[Tensor, ...] = ()
    noise_shape = (0,)

    def values(self, noise: Tensor) -> Tensor:
        return self.model.log_prob(self.x, *self.conditions)[:, None]

    def estimate(self, values: Tensor) -> Estimate:
        log_px = values[:, 0]
        zero, undefined = torch.zeros_like(log_px), torch.full_like(log_px, torch.nan)
        spent = torch.ones_like(zero, dtype=torch.int64)
        return Estimate(log_px, log_px, zero, undefined, undefined, zero.bool(), spent)

    def __getitem__(self, rows: Tensor) -> "Exact":
        return Exact(self.model, self.x[rows], tuple(values[rows] for values in self.conditions))
