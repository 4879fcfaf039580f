"""The models engram trains, and the way to bring your own.

`build("bernoulli_mlp_vae", (1, 32, 32), latent_dim=16)` makes one of ours. A name with a colon, "my_package.my_module:MyModel",
imports yours: a subclass of `LatentVariableModel`. (engram.likelihood also takes an exact model, with `log_prob(x)` alone, but
training does not: it maximizes the evidence lower bound.)
"""

import importlib
import inspect
from typing import Any

import torch

from engram.errors import UserError, first_line
from engram.models.base import LatentVariableModel
from engram.models.conv_vae import BernoulliConvVAE
from engram.models.gaussian_conv_vae import GaussianConvVAE, GaussianConvVAEScalarVariance
from engram.models.logistic_mixture_conv_vae import LogisticMixtureConvVAE
from engram.models.mlp_vae import BernoulliMLPVAE

__all__ = ["LatentVariableModel", "build", "known_models"]

KNOWN = {
    "bernoulli_mlp_vae": BernoulliMLPVAE,
    "bernoulli_conv_vae": BernoulliConvVAE,
    "gaussian_conv_vae": GaussianConvVAE,
    "gaussian_conv_vae_scalar_variance": GaussianConvVAEScalarVariance,
    "logistic_mixture_conv_vae": LogisticMixtureConvVAE,
}


def known_models() -> list[str]:
    """Names that `build` takes beside "module:Class"."""
    return sorted(KNOWN)


def build(name: str, image_shape: tuple[int, int, int], **settings: Any) -> torch.nn.Module:
    """A freshly initialized model for images of shape (channels, height, width).

    Raises UserError if the name is unknown or the model takes no such setting.
    """
    model_class = KNOWN.get(name) or _import(name)
    try:
        return model_class(image_shape, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"model {name} with {settings}: {first_line(error)}") from error


def _import(name: str) -> type[torch.nn.Module]:
    module, _, attribute = name.partition(":")
    if not attribute:
        raise UserError(f"model {name!r} is unknown; choose {', '.join(known_models())} or write module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model {name!r} could not be imported: {error}") from error
    # The name may come from a file with models: whoever wrote it must not choose what is called here.
    if not (inspect.isclass(found) and issubclass(found, LatentVariableModel)):
        raise UserError(f"model {name!r} is no subclass of engram.models.LatentVariableModel")
    return found
