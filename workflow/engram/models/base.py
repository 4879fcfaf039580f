"""What every latent-variable model offers: the interface that training, likelihood and analyses stand on.

Shapes: x is (n, *image_shape), z is (..., n, latent_dim), and the decoder's output, the *parameters* of the distribution of
x given z, is (..., n, *anything); leading axes "..." are importance samples. The prior of z is standard normal.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from engram.errors import UserError


class LatentVariableModel(nn.Module, ABC):
    """A variational autoencoder: z ~ N(0, I), x ~ p(x | decode(z)), with an encoder q(z | x) = N(mean, diag exp(log_variance)).

    Subclasses set `observation` ("binary", "logit" or "pixels": how x is drawn from an image, see engram.models.observations), and
    implement the abstract methods. Two more they may offer (the models in this folder show how):

        information(parameters) -> Tensor         diagonal of the Fisher information of p(x | z) about its parameters, in the
                                                  shape of `parameters`: needed for the Laplace proposal
        observe(parameters, generator) -> Tensor  one draw of x from p(x | z), (n, *image_shape) from (n, *anything): needed for
                                                  sample(observation=True), which no stage asks for
    """

    observation: str

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.latent_dim = latent_dim

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each (n, latent_dim)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x | z): (..., n, *anything) from z (..., n, latent_dim)."""

    @abstractmethod
    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) in nats, summed over pixels: (..., n) from x (n, *image_shape) and z (..., n, latent_dim)."""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """Mean image in [0, 1]: (n, *image_shape) from parameters (n, *anything)."""

    def forward(self, x: Tensor, noise: Tensor, kl_weight: float | Tensor = 1.0) -> Tensor:
        """One-sample evidence lower bound in nats, (n,): the training objective. `noise` is standard normal, (n, latent_dim).

        `kl_weight` below 1 lets training warm up: the divergence of q(z | x) from the prior then counts for less.
        """
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(0.5 * log_variance) * noise
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1)
        return self.log_prob_given_latent(x, z) - kl_weight * divergence

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Samples of the model, (n, *image_shape): mean images in [0, 1], or draws of x with `observation=True`.

        Raises UserError for draws of x from a model without `observe`.
        """
        if observation and not hasattr(self, "observe"):
            raise UserError(
                f"{type(self).__name__} has no observe(parameters, generator): it can show mean images, but draw no x; "
                "define the method or leave out observation=True"
            )
        weights = next(self.parameters())
        z = torch.randn(n, self.latent_dim, device=weights.device, dtype=weights.dtype, generator=generator)
        parameters = self.decode(z)
        return self.observe(parameters, generator) if observation else self.mean(parameters)
