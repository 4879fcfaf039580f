"""Membership-inference attacks that compare an image with the images that a model makes, pixel by pixel.

Every attack gives a number for each image, higher for a member of the model's training set:

    reconstruction   -mean over z ~ q(z | x) of |image - mean(decode(z))|^2 (Hilprecht et al. 2019)
    nearest_sample   -distance to the nearest of N samples of the model (Chen et al. 2020, "GAN-Leaks", full black box)
    monte_carlo      share of N samples nearer than epsilon, the median over images of the distance to the nearest sample
                     (Hilprecht et al. 2019)

Images and samples are grey levels or colours in [0, 1], samples are the model's mean images, and distances are Euclidean.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engram.analyses.neighbors import nearest
from engram.files import inputs
from engram.models.protocols import LatentModel


class ReconstructingModel(LatentModel, Protocol):
    """Encodes an image and decodes it again."""

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean image in [0, 1], (n, *image_shape), from the decoder's parameters (n, *anything)."""


def reconstruction(model: ReconstructingModel, x: Tensor, images: Tensor, noise: Tensor) -> Tensor:
    """(n,) from x and the images it was drawn from, both (n, *image_shape), and standard normals (draws, n, latent_dim)."""
    mean, log_variance = model.encode(x)
    squares = [
        (images - model.mean(model.decode(mean + torch.exp(0.5 * log_variance) * normals))).square().flatten(1).sum(1)
        for normals in noise
    ]
    return -torch.stack(squares).mean(0)


def nearest_sample(images: np.ndarray, samples: Tensor) -> np.ndarray:
    """(n,) from uint8 images (n, pixels) and samples (N, *image_shape) in [0, 1]."""
    return -np.concatenate([nearest(part, samples)[1] for part in _parts(images)])


def monte_carlo(images: np.ndarray, samples: Tensor, epsilon: float) -> np.ndarray:
    """The same. Samples at a distance of epsilon are not within it, nor, where epsilon is 0, are copies."""
    return np.concatenate([share_within(part, samples, epsilon) for part in _parts(images)])


def median_distance(nearest_sample: np.ndarray) -> float:
    """epsilon by the median heuristic, from that attack's numbers for all images."""
    return float(np.median(-nearest_sample))


def share_within(images: Tensor, samples: Tensor, epsilon: float) -> np.ndarray:
    """Share of samples (N, ...) at a distance below epsilon from each image (n, ...): (n,).

    In float32, so that a distance may count wrongly that differs from epsilon by its rounding.
    """
    images, samples = images.flatten(1), samples.float().flatten(1)
    norms = images.square().sum(1)[:, None] + samples.square().sum(1)
    squared = torch.addmm(norms, images, samples.T, alpha=-2)
    return (squared < torch.tensor(epsilon**2, dtype=torch.float32)).double().mean(1).numpy()


def _parts(images: np.ndarray) -> Iterator[Tensor]:
    for rows in inputs.in_parts(np.arange(len(images))):
        yield torch.from_numpy(images[rows].astype(np.float32) / 255)
