"""What the training images tell of memorization by themselves, before any model is trained: how far each lies from the others.

An image that is far from all others can only be learned by heart, so these are the baselines that a measure of a model has to
beat. Distances are Euclidean between pixels in [0, 1].
"""

import numpy as np
import torch
from scipy.linalg import eigh

from engram.geometry.nearest import nearest_others

NEIGHBOURS = 5
COMPONENTS = 50  # principal components of the leverage, fixed beforehand
BLOCK = 2048  # images that are float64 at once
FLAT = 1e-10  # of the largest variance: along components below it the images do not differ
WHITE = 255


def distance_to_nearest(images: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Mean distance of each image to the nearest others, (n,), from `images` (n, pixels) uint8; NaN of a single image.

    Copies count like any other image: one that has five copies is at distance 0. Distances are exact (engram.geometry.nearest).

    >>> distance_to_nearest(np.array([[0], [255], [255]], dtype=np.uint8), neighbours=2)
    array([1. , 0.5, 0.5])
    """
    distance = torch.from_numpy(nearest_others(images, neighbours).distance)
    return (distance.mean(1) / WHITE).numpy()


def leverage(images: np.ndarray, components: int = COMPONENTS) -> np.ndarray:
    """Diagonal of the hat matrix of a regression on an intercept and the leading principal components, (n,), between 0 and 1.

    images: (n, pixels) uint8. It is (1 + h) / n, where h is the squared Mahalanobis distance from the mean within these
    components. Under a normal density that is fitted to the images, what it memorizes of an image depends on h alone.
    """
    n, pixels = images.shape
    mean = images.mean(axis=0)
    covariance = np.zeros((pixels, pixels))
    for part in np.split(images, range(BLOCK, n, BLOCK)):
        deviations = part - mean
        covariance += deviations.T @ deviations / n
    first = max(0, pixels - components)
    variances, axes = eigh(covariance, subset_by_index=(first, pixels - 1), overwrite_a=True)
    there = variances > FLAT * variances[-1]
    scaled = axes[:, there] / np.sqrt(variances[there])
    parts = np.split(images, range(BLOCK, n, BLOCK))
    return (1 + np.concatenate([np.square((part - mean) @ scaled).sum(axis=1) for part in parts])) / n


def distance_from_class_mean(images: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Distance of each image from the mean image of its class, (n,), from images (n, pixels) uint8 and label (n,), -1 for none.

    The mean is of all images of the class, this one included. NaN where an image has no class.

    >>> distance_from_class_mean(np.array([[0], [255], [9]], dtype=np.uint8), np.array([4, 4, -1]))
    array([0.5, 0.5, nan])
    """
    distance = np.full(len(images), np.nan)
    for each in np.unique(label[label >= 0]):
        members = np.flatnonzero(label == each)
        mean = images[members].mean(axis=0)
        for part in np.split(members, range(BLOCK, len(members), BLOCK)):
            distance[part] = np.linalg.norm(images[part] - mean, axis=1) / WHITE
    return distance
