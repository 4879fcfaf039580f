"""What importance weights say: an estimate of log p(x), its error, and whether either can be believed."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """log p of n images, and how far it can be trusted; every field is (n,), on the device of x.

    log_px, elbo: nats, in pixel space; elbo is the mean of the log weights under the proposal in use.
    standard_error: of log_px, in nats, by the delta method; infinite for a single sample, which cannot tell.
    effective_samples: (sum w)^2 / sum w^2.
    pareto_k: shape of the weights' tail, NaN if undefined; above 0.7 rely on neither log_px nor its standard error.
    fell_back: whether the image got a simpler proposal than asked for.
    samples: how many importance samples the image got.
    """

    log_px: Tensor
    elbo: Tensor
    standard_error: Tensor
    effective_samples: Tensor
    pareto_k: Tensor
    fell_back: Tensor
    samples: Tensor


def join(parts: Iterable[Estimate], together: Callable[[tuple[Tensor, ...]], Tensor] = torch.cat) -> Estimate:
    """One estimate of many, field by field: by torch.cat, or as `together` says."""
    return Estimate(*(together(values) for values in zip(*(vars(part).values() for part in parts), strict=True)))


def summarize(log_weights: Tensor, fell_back: Tensor) -> Estimate:
    """Everything said about n images from their log weights (n, samples); minus infinity is a weight of zero.

    By the delta method the standard error of log mean(w) is sd(w) / (sqrt(samples) mean(w)).
    """
    weights, samples = log_weights.double(), log_weights.shape[1]
    log_sum = weights.logsumexp(1)
    effective = torch.exp(2 * log_sum - (2 * weights).logsumexp(1)).nan_to_num(0)
    if samples > 1:
        error = ((samples / effective - 1).clamp(min=0) / (samples - 1)).sqrt()
    else:
        error = torch.full_like(effective, torch.inf)
    values = log_sum - math.log(samples), weights.mean(1), error, effective, pareto_k(weights)
    spent = torch.full_like(effective, samples, dtype=torch.int64)
    return Estimate(*(value.to(log_weights.dtype) for value in values), fell_back, spent)


def pareto_k(log_weights: Tensor) -> Tensor:
    """Shape k of the generalized Pareto distribution of the largest weights, (n,) from (n, samples).

    The tail is the largest min(samples / 5, 3 sqrt(samples)) weights (Vehtari et al. 2024, Pareto smoothed importance
    sampling); the fit is `generalized_pareto_shape`. NaN with fewer than 21 samples (a tail below five) and where all
    weights are alike.
    """
    samples = log_weights.shape[1]
    tail = math.ceil(min(samples / 5, 3 * math.sqrt(samples)))
    if tail < 5:
        return torch.full_like(log_weights[:, 0], torch.nan)
    largest = log_weights.topk(tail + 1).values.flip(1)
    ratios = torch.exp(largest - largest[:, -1:])
    return generalized_pareto_shape(ratios[:, 1:] - ratios[:, :1])


def generalized_pareto_shape(exceedances: Tensor) -> Tensor:
    """Shape of the generalized Pareto distribution behind m exceedances, sorted upwards: (n,) from (n, m).

    Zhang and Stephens (2009), with the weak prior towards 1/2 that Vehtari et al. add: worth ten observations.
    """
    m = exceedances.shape[1]
    points = 30 + int(math.sqrt(m))
    grid = 1 - torch.sqrt(points / (torch.arange(points).to(exceedances) + 0.5))
    quartile, largest = exceedances[:, int(m / 4 + 0.5) - 1, None], exceedances[:, -1:]
    theta = 1 / largest + grid / (3 * quartile)
    shape = torch.log1p(-theta.unsqueeze(-1) * exceedances.unsqueeze(1)).mean(-1)
    log_likelihood = m * (torch.log(-theta / shape) - shape - 1)
    theta = (theta * log_likelihood.softmax(1)).sum(1, keepdim=True)
    shape = torch.log1p(-theta * exceedances).mean(1)
    return (m * shape + 10 * 0.5) / (m + 10)
