"""Models by the names that config.yaml gives them: engram's own, and the user's."""

import importlib
import inspect
from typing import Any

import torch

from engram.errors import UserError, first_line, suggest
from engram.models.base import LatentVariableModel
from engram.models.known import known_models, source_of


def build(name: str, image_shape: tuple[int, int, int], **settings: Any) -> torch.nn.Module:
    """A freshly initialized model for images of shape (channels, height, width).

    Raises UserError if the name is unknown or the model takes no such setting.
    """
    model_class = _import(name)
    _require_known(name, model_class, settings)
    try:
        return model_class(image_shape, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"model {name} with {settings}: {first_line(error)}") from error


def _require_known(name: str, model_class: type[torch.nn.Module], settings: dict[str, Any]) -> None:
    taken = inspect.signature(model_class).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return
    for setting in settings:
        if setting not in taken:
            raise UserError(f"model {name} takes no {setting!r}; {suggest(setting, [*taken][1:])}")


def _import(name: str) -> type[torch.nn.Module]:
    module, _, attribute = source_of(name).partition(":")
    if not attribute:
        raise UserError(
            f"model {name!r} is unknown; {suggest(name, known_models())} (your own is written module:Class)"
        )
    try:
        model_class = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model {name!r} could not be imported: {error}") from error
    # The name may come from a file with models: whoever wrote it must not choose what is called here.
    if not (inspect.isclass(model_class) and issubclass(model_class, LatentVariableModel)):
        raise UserError(f"model {name!r} is no subclass of engram.models.LatentVariableModel")
    return model_class
