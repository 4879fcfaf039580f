"""What each part of engram asks of a model: whatever offers these methods will do, of whatever class.

Shapes are those of engram.models.base: x is (n, *image_shape), z is (..., n, latent_dim). Where a capability decides what is
done, it is asked for by `isinstance`, which looks for the methods in the model's class.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class TrainableModel(Protocol):
    """Training: an objective to be maximized, and what it needs to draw x and the noise of z."""

    observation: str
    latent_dim: int

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The objective of each image in nats, (n,); `noise` is standard normal, (n, latent_dim)."""


@runtime_checkable
class LatentModel(Protocol):
    """Likelihood by importance sampling of z, whose prior is standard normal."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of a normal q(z | x), each (n, latent_dim)."""

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x | z), (..., n, *anything)."""

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats, (..., n)."""


@runtime_checkable
class LatentModelWithInformation(LatentModel, Protocol):
    """The Laplace proposal, too."""

    def information(self, parameters: Tensor) -> Tensor:
        """Diagonal of the Fisher information of p(x | z) about its parameters, in their shape."""


@runtime_checkable
class ExactModel(Protocol):
    """Likelihood without any estimate."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (n,)."""


@runtime_checkable
class SamplingModel(Protocol):
    """Analyses: images drawn from the model."""

    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Mean images in [0, 1], (n, *image_shape), or draws of x with `observation=True`."""
