"""Models that give a lower bound on log p(x) alone: the mean of unbiased estimates of it, with its standard error."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engram.likelihood.importance import Estimate
from engram.models.protocols import BoundedModel, noise_shape


@dataclass(frozen=True)
class Bounds:
    """Samples of the bound for images x (n, *image_shape), under the model's conditions (engram.models.conditions)."""

    model: BoundedModel
    x: Tensor
    conditions: tuple[Tensor, ...] = ()

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return noise_shape(self.model)

    def values(self, noise: Tensor) -> Tensor:
        """Estimates of the bound in nats, (n, samples), from noise (n, samples, *noise_shape)."""
        return self.model.bound(self.x, noise, *self.conditions)

    def estimate(self, values: Tensor) -> Estimate:
        return average(values)

    def __getitem__(self, rows: Tensor) -> "Bounds":
        return Bounds(self.model, self.x[rows], tuple(values[rows] for values in self.conditions))


def average(values: Tensor) -> Estimate:
    """The bound from its samples (n, samples): their mean, and its standard error, infinite for a single sample.

    The error takes the samples for independent; of evenly spaced ones it is too large, and `error_of_draws` is right. All
    samples count alike, so all are effective, and there is no tail of weights to fear. log_px is the bound, too.
    """
    n, samples = values.shape
    wide = values.double()
    error = wide.std(1) / math.sqrt(samples) if samples > 1 else torch.full_like(wide[:, 0], torch.inf)
    full = torch.full_like(error, samples)
    parts = wide.mean(1), wide.mean(1), error, full, torch.full_like(error, torch.nan)
    spent = torch.full((n,), samples, dtype=torch.int64, device=values.device)
    return Estimate(*(part.to(values.dtype) for part in parts), torch.zeros_like(spent, dtype=torch.bool), spent)


def error_of_draws(log_px: Tensor) -> Tensor:
    """Standard error of the bound from one draw, nats: its standard deviation over the draws, the same for each of them.

    log_px: (..., draws, n), of two or more draws, which are independent of one another; so is the answer. How the samples
    within a draw depend on one another does not matter.
    """
    return log_px.double().std(-2, keepdim=True).to(log_px.dtype).expand_as(log_px)
