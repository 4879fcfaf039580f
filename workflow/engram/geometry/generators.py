"""From x to z and from z to an image, of models that make an image of a z with a standard normal prior."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from engram.models.flow import CouplingFlow
from engram.models.observations import to_pixels
from engram.models.protocols import LatentModel, has, offers


class Generator(NamedTuple):
    """generate: images in [0, 1], (n, *image_shape), from z (n, latent_dim). infer: z from x (n, *image_shape).

    A VAE's z is its encoder's mean, and its image the decoder's mean; a flow's z is the very one that x comes from.
    """

    generate: Callable[[Tensor], Tensor]
    infer: Callable[[Tensor], Tensor]


def generator_of(model: nn.Module) -> Generator | None:
    """None of a model that does not make its images so."""
    if isinstance(model, CouplingFlow):
        return _of_flow(model)
    if offers(model, LatentModel) and has(model, "mean"):
        return Generator(lambda z: model.mean(model.decode(z)), lambda x: model.encode(x)[0])
    return None


def _of_flow(model: CouplingFlow) -> Generator:
    transform = model.flow().transform

    def generate(z: Tensor) -> Tensor:
        x = model.center + model.log_scale.exp() * transform.inv(z)
        return to_pixels(x, model.observation).reshape(-1, *model.image_shape)

    return Generator(generate, lambda x: transform((x.flatten(1) - model.center) * (-model.log_scale).exp()))
