"""Attributions of log p of a test image to the training images: tau (training images, test images), higher for those that raise it.

Images are (n, ...) and features (n, k), the projected gradients of engram.analyses.projected_gradients; all are tensors.
"""

import torch
from torch import Tensor

NEIGHBORS = 5
DAMPING = 0.1  # of the mean eigenvalue of Phi'Phi; fixed before any score was seen, as EK-FAC's


def pixel_similarity(train: Tensor, test: Tensor) -> Tensor:
    """Cosine of the angle between images about the mean training image. Zero training."""
    mean = train.flatten(1).mean(0)
    a, b = (torch.nn.functional.normalize(images.flatten(1) - mean) for images in (train, test))
    return a @ b.T


def pixel_kernel(train: Tensor, test: Tensor) -> Tensor:
    """exp(-d^2 / 2 h^2) of the pixels' distance d, where h is that of the test image's fifth nearest training image.

    A smooth count of nearest neighbours. Zero training.
    """
    distance = torch.cdist(train.flatten(1), test.flatten(1))
    bandwidth = distance.kthvalue(min(NEIGHBORS, len(train)), dim=0).values
    return torch.exp(-0.5 * (distance / bandwidth.clamp_min(torch.finfo(distance.dtype).tiny)) ** 2)


def gradient_dot(train: Tensor, test: Tensor) -> Tensor:
    """Products of gradients: how much one small step on a training image raises the test image's objective (Pruthi et al. 2020)."""
    return train @ test.T


def trak(train: Tensor, test: Tensor) -> Tensor:
    """phi(x)' (Phi'Phi + lambda I)^-1 phi_i of one model (Park et al. 2023).

    The model's output is log p itself, whose loss has the derivative -1 for every image, so no image is weighted. lambda is
    DAMPING times the mean eigenvalue of Phi'Phi.
    """
    return train @ _whitened(train, test).T


def self_influence(train: Tensor) -> Tensor:
    """`trak` of every training image on itself, (n,): its leverage on the linearized model."""
    return (train * _whitened(train, train)).sum(1)


def _whitened(train: Tensor, features: Tensor) -> Tensor:
    """(Phi'Phi + lambda I)^-1 phi of each of the features, with Phi = train."""
    products = (train.T @ train).double()
    products.diagonal().add_(DAMPING * products.diagonal().mean())
    return torch.linalg.solve(products, features.T.double()).T.to(features.dtype)
