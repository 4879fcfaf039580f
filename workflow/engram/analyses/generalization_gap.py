"""How much likelier training images are than held-out ones under a mixture of normals about the samples (FLD's gap).

Jiralerspong et al. (2023): a normal of its own width about each sample, all of equal weight, the widths fitted to the training
set by maximum likelihood. A sample that copies a training image gets a narrow one, under which no held-out image is likely. A
further normal at the mean of held-out features takes up, while widths are fitted, the images that no sample explains. Features are
standardized by those of held-out images.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from engram.scores.intervals import Interval

LEAST_WIDTH = 1e-3  # standard deviations of held-out features; without a least, an exact copy's would be 0
ITERATIONS, TOLERANCE = 50, 1e-4  # steps at most; and nats per dimension by which the last one made images likelier
PAIRS = 2**18  # of an image and a sample, whose distances are held at once


class Mixture(NamedTuple):
    """Normals of equal weight: centres (m, d) and log variances (m,), float64; and the steps that their fit took."""

    centres: Tensor
    log_variance: Tensor
    steps: int


def standardized(held_out: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Held-out rows (v, d) and others (n, d), float64, in units of their standard deviations from the held-out mean."""
    mean, deviation = held_out.mean(axis=0), held_out.std(axis=0)
    deviation[deviation == 0] = 1
    return [(rows - mean) / deviation for rows in (held_out, *others)]


def fitted(samples: np.ndarray, training: np.ndarray) -> Mixture:
    """The mixture about `samples` (m, d) with widths fitted to `training` (n, d), both standardized.

    By expectation maximization, in bounded memory. It starts as published, at variances of d^2 / dimensions with d a sample's
    distance to its nearest training image, and ends in a maximum near to that: narrow widths stay narrow.
    """
    training, samples = (torch.as_tensor(rows, dtype=torch.float64) for rows in (training, samples))
    centres = torch.cat([samples, torch.zeros(1, samples.shape[1], dtype=torch.float64)])
    dimensions, least = samples.shape[1], 2 * np.log(LEAST_WIDTH)
    nearest = torch.stack([part.amin(0) for part in _squared_distances(training, centres)]).amin(0)
    mixture = Mixture(centres, (nearest / dimensions).log().clamp_min(least), 0)
    before = -np.inf
    while mixture.steps < ITERATIONS:
        weight, spread, log_density = _expected(training, mixture)
        variance = torch.where(weight > 0, spread / (weight * dimensions), mixture.log_variance.exp())
        mixture = Mixture(centres, variance.log().clamp_min(least), mixture.steps + 1)
        if log_density - before < TOLERANCE:
            break
        before = log_density
    return Mixture(centres[:-1], mixture.log_variance[:-1], mixture.steps)


def _expected(training: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor, float]:
    """Of each normal, (m,), its share of images and their squared distances to it; and nats per image and dimension."""
    weight, spread = (torch.zeros(len(mixture.centres), dtype=torch.float64) for _ in range(2))
    total = 0.0
    for squared in _squared_distances(training, mixture.centres):
        log_density = _log_normal(squared, mixture)
        largest = log_density.amax(1, keepdim=True)
        density = log_density.sub_(largest).exp_()
        of_image = density.sum(1)
        weight += of_image.reciprocal() @ density
        spread += of_image.reciprocal() @ density.mul_(squared)
        total += float((largest[:, 0] + of_image.log()).sum())
    return weight, spread, total / training.numel()


def log_density(images: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Log density of standardized rows (n, d) under the mixture, in nats per dimension: (n,)."""
    summed = torch.cat([_log_normal(part, mixture).logsumexp(1) for part in _of(images, mixture)])
    return (summed.numpy() - np.log(len(mixture.centres))) / images.shape[1]


def density_under_samples(images: np.ndarray, mixture: Mixture) -> np.ndarray:
    """max_i log N(x; sample i, its width), in nats per dimension: (n,). High for an image that a sample copies."""
    return torch.cat([_log_normal(part, mixture).amax(1) for part in _of(images, mixture)]).numpy() / images.shape[1]


def gap(training: np.ndarray, held_out: np.ndarray) -> Interval:
    """100 times mean log density of held-out images minus that of training images, (n,) and (v,) in nats per dimension.

    Far below 0, training images are likelier. The interval is over images, given the samples. Widths are fitted to training
    images, so that the gap of fresh samples lies below 0, too: compare with fresh images in the samples' place.
    """
    difference = held_out.mean() - training.mean()
    half_width = norm.ppf(0.975) * np.sqrt(training.var() / len(training) + held_out.var() / len(held_out))
    return Interval(*(float(100 * end) for end in (difference, difference - half_width, difference + half_width)))


def _of(images: np.ndarray, mixture: Mixture) -> Iterator[Tensor]:
    return _squared_distances(torch.as_tensor(images, dtype=torch.float64), mixture.centres)


def _squared_distances(images: Tensor, centres: Tensor) -> Iterator[Tensor]:
    """Squared distances to all centres of some images after others, (block, m), at most PAIRS at once."""
    norms = centres.square().sum(1)
    for block in images.split(max(1, PAIRS // len(centres))):
        product = torch.addmm(block.square().sum(1)[:, None] + norms, block, centres.T, alpha=-2)
        yield product.clamp_min_(0)


def _log_normal(squared: Tensor, mixture: Mixture) -> Tensor:
    """log N(x; centre, variance I) in nats, (block, m), from squared distances."""
    dimensions = mixture.centres.shape[1]
    constant = -0.5 * dimensions * (np.log(2 * np.pi) + mixture.log_variance)
    return torch.addcmul(constant, squared, (-mixture.log_variance).exp(), value=-0.5)
