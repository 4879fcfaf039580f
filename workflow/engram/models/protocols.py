"""What each part of engram asks of a model: whatever offers these methods will do, of whatever class.

Shapes: x is (n, *image_shape), drawn from images as the model's `observation` says ("binary", "logit" or "pixels":
engram.models.observations); z is (..., n, latent_dim), where leading axes "..." are importance samples; noise is standard
normal. label is (n,) int64, the class of each image: a model whose attribute `classes` is above 0 learns log p(x | class), and
gets labels from 0 to classes - 1 as the last argument of `forward`, `bound` and `log_prob`. `offers` says whether a model has
what a protocol asks for. docs/own_model.md shows models that do.
"""

import inspect
from typing import Protocol

import torch
from torch import Tensor, nn

from engram.errors import UserError

DESCRIBED_IN = "docs/own_model.md"


class TrainableModel(Protocol):
    """Training: an objective to be maximized.

    The noise it takes for an image is of the model's `noise_shape`, or else of (latent_dim,); see `noise_shape` below.
    """

    observation: str

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The objective of each image in nats, (n,), such as a bound on log p; `noise` is (n, *noise_shape)."""


class FittedModel(Protocol):
    """Training without steps: a model that is fitted to all of its images at once."""

    observation: str

    def fit(self, x: Tensor) -> None:
        """Fit the model to x (n, *image_shape): what it learns is in its buffers."""


class LatentModel(Protocol):
    """Likelihood by importance sampling of z, whose prior is standard normal."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of a normal q(z | x), each (n, latent_dim)."""

    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x | z), (..., n, *anything)."""

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats, (..., n)."""


class LatentModelWithInformation(LatentModel, Protocol):
    """The Laplace proposal, too."""

    def information(self, parameters: Tensor) -> Tensor:
        """Diagonal of the Fisher information of p(x | z) about its parameters, in their shape."""


class OwnProposal(Protocol):
    """Where a model's own importance samples come from, for some images."""

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z (samples, n, latent_dim) and log p(z) - log q(z | x) in nats, (samples, n), from noise (n, samples, latent_dim)."""


class ProposingModel(Protocol):
    """Likelihood by importance sampling where neither the prior nor q(z | x) is a plain normal: hierarchies, for instance."""

    latent_dim: int

    def propose(self, x: Tensor) -> OwnProposal:
        """The proposals for n images."""

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats, (..., n)."""


class ExactModel(Protocol):
    """Likelihood without any estimate."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (n,)."""


class BoundedModel(Protocol):
    """A lower bound on log p(x), estimated without bias from noise."""

    def bound(self, x: Tensor, noise: Tensor) -> Tensor:
        """Estimates of the bound in nats, (n, samples), from noise (n, samples, *noise_shape); their mean is the bound."""


class SamplingModel(Protocol):
    """Analyses that look at the model's own images: nearest neighbours and mode collapse.

    A model with classes draws those of its images by itself, or takes them as a further argument `label`.
    """

    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Mean images in [0, 1], (n, *image_shape), or draws of x with `observation=True`."""


class DenoisingModel(Protocol):
    """Geometry of a diffusion model: the dimension of what it learned."""

    def predict_noise(self, z: Tensor, gamma: Tensor) -> Tensor:
        """The noise in z, (n, *image_shape), whose log signal-to-noise ratio is -gamma, (n,).

        A model with classes takes a third argument `label`; without it, the noise is that of an image of unknown class.
        """


WAYS_TO_LOG_P = (LatentModel, ProposingModel, ExactModel, BoundedModel)


def noise_shape(model: object) -> tuple[int, ...]:
    """Shape of the noise that one image's objective takes: the model's `noise_shape`, else (latent_dim,), else (0,).

    (0,) is no noise at all, as for an exact model.
    """
    stated = getattr(model, "noise_shape", None)
    return tuple(stated) if stated is not None else (getattr(model, "latent_dim", 0),)


def classes(model: object) -> int:
    """How many classes a model tells apart, by its attribute `classes`; 0 for a model of images alone.

    Raises UserError if that is no such number.
    """
    stated = getattr(model, "classes", 0)
    if isinstance(stated, bool) or not isinstance(stated, int) or stated < 0:
        raise UserError(f"classes is {stated!r}; it must be the number of classes, or 0 for none ({DESCRIBED_IN})")
    return stated


def offers(model: object, protocol: type) -> bool:
    """Whether a model has every method and attribute that a protocol asks for."""
    return not lacking(model, protocol)


def lacking(model: object, protocol: type) -> list[str]:
    """What a model lacks of a protocol, by name.

    >>> lacking(nn.Linear(2, 2), ExactModel)
    ['log_prob']
    """
    return [name for name in _members(protocol) if not has(model, name)]


def has(model: object, name: str) -> bool:
    """Whether a model has a method or attribute; `forward` only if its class defines its own, since every module has one."""
    undefined = name == "forward" and getattr(type(model), name, None) is nn.Module.forward
    return hasattr(model, name) and not undefined


def _members(protocol: type) -> list[str]:
    of_bases = (
        [*inspect.get_annotations(base), *vars(base)]
        for base in reversed(protocol.__mro__)
        if getattr(base, "_is_protocol", False)
    )
    return [name for names in of_bases for name in names if not name.startswith("_")]
