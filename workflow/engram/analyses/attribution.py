"""Attributions of log p of a test image to the training images: tau (training images, test images), higher for those that raise it.

Pixels are (n, pixels), in any unit, and features (n, k), the projected gradients of engram.analyses.projected_gradients; all are
tensors.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

NEIGHBORS = 5
DAMPING = 0.1  # of the mean eigenvalue of Phi'Phi; fixed before any score was seen, as EK-FAC's
AT_ONCE = 4096  # training images whose pixels are held as floats


def pixel_similarity(train: Tensor, test: Tensor) -> Tensor:
    """Cosine of the angle between pixels (n, pixels) about the mean training image. Zero training."""
    mean = sum(part.double().sum(0) for part in train.split(AT_ONCE)) / len(train)
    directions = normalize(test - mean).T
    return torch.cat([normalize(part - mean) @ directions for part in train.split(AT_ONCE)]).float()


def pixel_kernel(train: Tensor, test: Tensor) -> Tensor:
    """exp(-d^2 / 2 h^2) of the pixels' distance d, where h is that of the test image's fifth nearest training image.

    A smooth count of nearest neighbours. Zero training.
    """
    distance = torch.cat([torch.cdist(part.float(), test.float()) for part in train.split(AT_ONCE)])
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
