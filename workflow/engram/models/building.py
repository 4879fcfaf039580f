"""Models by the names that config.yaml gives them: engram's own, and the user's."""

import importlib
import inspect
from typing import Any

from torch import nn

from engram.errors import UserError, about, first_line, in_users_code, suggest
from engram.models.known import known_models, source_of
from engram.models.protocols import DESCRIBED_IN, FittedModel, TrainableModel, classes, lacking, offers


def build(name: str, image_shape: tuple[int, int, int], **settings: Any) -> nn.Module:
    """A freshly initialized model for images of shape (channels, height, width).

    Raises UserError if the name is unknown, the model takes no such setting or lacks what training asks for.
    """
    model_class = class_named(name)
    _require_known(name, model_class, settings)
    try:
        model = model_class(image_shape, **settings)
    except UserError:
        raise
    except Exception as error:  # whatever a user's own class raises
        raise UserError(f"model {name} with {settings}: {in_users_code(error) or first_line(error)}") from error
    _require_trainable(name, model)
    with about(f"model {name}"):
        classes(model)
    return model


def _require_known(name: str, model_class: type[nn.Module], settings: dict[str, Any]) -> None:
    taken = inspect.signature(model_class).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return
    for setting in settings:
        if setting not in taken:
            raise UserError(f"model {name} takes no {setting!r}; {suggest(setting, [*taken][1:])}")


def _require_trainable(name: str, model: nn.Module) -> None:
    missing = lacking(model, TrainableModel)
    if missing and not offers(model, FittedModel):
        words = {"observation": 'observation = "binary", "logit" or "pixels"', "forward": "forward(x, noise)"}
        raise UserError(f"model {name} lacks {' and '.join(words[each] for each in missing)}; see {DESCRIBED_IN}")


def class_named(name: str) -> type[nn.Module]:
    """The class of a model, by a name of ours or as module:Class. Raises UserError if there is none."""
    module, _, attribute = source_of(name).partition(":")
    if not attribute:
        raise UserError(
            f"model {name!r} is unknown; {suggest(name, known_models())} (your own is written module:Class)"
        )
    try:
        model_class = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a user's own module does when it is imported
        raise UserError(f"model {name!r} could not be imported: {in_users_code(error) or error}") from error
    # The name may come from a file with models: whoever wrote it must not choose what is called here.
    if not (inspect.isclass(model_class) and issubclass(model_class, nn.Module)):
        raise UserError(f"model {name!r} is no subclass of torch.nn.Module; see {DESCRIBED_IN}")
    return model_class
