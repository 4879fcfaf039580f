"""Gaussian pixels: log p(x | mean, log-variance), summed, and the Fisher information of the two."""

import math

import torch
from torch import Tensor


def log_prob(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, exp(log_variance)) in nats, summed over the last axis: (...) from arguments that broadcast.

    The log-variance may be one number for all pixels.
    """
    square = (x - mean) ** 2
    return -0.5 * (square * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(-1)


def information_of_mean(log_variance: Tensor) -> Tensor:
    """Fisher information of a pixel about its mean: 1 / variance."""
    return torch.exp(-log_variance)


def information_of_log_variance(log_variance: Tensor, least: float) -> Tensor:
    """Fisher information of a pixel about its log-variance before that is clamped to `least`: 1/2, and 0 where clamped."""
    return 0.5 * (log_variance > least).to(log_variance)


def draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One draw for each mean; the log-variance may be one number for all."""
    noise = torch.empty_like(mean).normal_(generator=generator)
    return mean + torch.exp(0.5 * log_variance) * noise
