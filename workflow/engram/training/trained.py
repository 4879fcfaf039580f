"""The artifact of a training: parameters and buffers of every model of a repeat at every scored epoch, and the losses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from engram.errors import UserError, first_line, make_again
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.models.building import build
from engram.models.protocols import FittedModel, classes, offers
from engram.training.plan import Losses, Plan
from engram.training.state import StateFolder
from engram.training.training import Training

# Variables and axes of the file that are no parameter or buffer.
RESERVED = {"epoch", "model", "fold", "epoch_trained", "loss_train", "loss_held_out"}
LOSS = "mean -ELBO per image after the epoch, in eval mode, on at most 10,000 fixed"


def write(path: str | Path, training: Training, folder: StateFolder, attributes: dict[str, Any]) -> None:
    """Gather the snapshots of `folder` into models/{repeat}.h5."""
    weights = _gather(folder, training.plan.scored_epochs)
    attributes = attributes | {"classes": classes(training.packs[0].template)}
    write_models(path, training.plan, training.batches.observation, weights, training.losses, attributes)


def write_models(
    path: str | Path,
    plan: Plan,
    observation: str,
    weights: dict[str, np.ndarray],
    losses: Losses,
    attributes: dict[str, Any],
) -> None:
    """Write models/{repeat}.h5: `weights` are every parameter and buffer by name, (epoch, model, ...)."""
    variables = {
        stored_name(name): variable(
            ("epoch", "model", *(f"{stored_name(name)}.axis{i}" for i in range(value.ndim - 2))),
            value,
            "1",
            f"parameter or buffer {name} of the network",
        )
        for name, value in weights.items()
    }
    trained_epochs = np.arange(1, plan.epochs + 1)
    variables |= {
        "epoch": variable(("epoch",), plan.scored_epochs, "1", artifacts.AXES["epoch"]),
        "epoch_trained": variable(("epoch_trained",), trained_epochs, "1", "every epoch of training"),
        "fold": variable(("model",), plan.folds, "1", "fold held out from the model; -1 for the full model"),
        "loss_train": variable(("epoch_trained", "model"), losses.train, "nats", f"{LOSS} training images"),
        "loss_held_out": variable(
            ("epoch_trained", "model"), losses.held_out, "nats", f"{LOSS} images the model never saw", True
        ),
    }
    model = {"image_shape": list(plan.image_shape), "model": json.dumps(plan.model, sort_keys=True)}
    artifacts.write(path, "models", variables, attributes | model | {"observation": observation})


def _gather(folder: StateFolder, epochs: list[int]) -> dict[str, np.ndarray]:
    """Every parameter and buffer, (epoch, model, ...), with one snapshot beside the result in memory."""
    gathered = {}
    for position, epoch in enumerate(epochs):
        for name, value in folder.load(f"epoch-{epoch}").items():
            stack = gathered.setdefault(name, np.empty((len(epochs), *value.shape), value.dtype))
            stack[position] = value
    return gathered


def load_model(path: str | Path, epoch: int, index: int = 0) -> torch.nn.Module:
    """The model at position `index` of models/{repeat}.h5, as it was after `epoch` epochs, in eval mode on the CPU."""
    return load_models(path, epoch)[index]


def load_models(path: str | Path, epoch: int) -> list[torch.nn.Module]:
    """All models of models/{repeat}.h5 as they were after `epoch` epochs, in eval mode on the CPU.

    Raises UserError if the parameters are not those of the model that the file names.
    """
    stored = artifacts.read(path, "models", epoch=epoch)
    try:
        settings = json.loads(stored.attrs["model"])
        image_shape = tuple(int(size) for size in stored.attrs["image_shape"])
        return [_model(stored, index, image_shape, settings) for index in range(stored.sizes["model"])]
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"its parameters and its model do not fit ({first_line(error)})"
        raise UserError(f"{path}: {reason}; {make_again(path)}") from error


def _model(stored: xr.Dataset, index: int, image_shape: tuple[int, ...], settings: dict) -> torch.nn.Module:
    model = build(image_shape=image_shape, **settings)
    put_state(model, {name: torch.as_tensor(stored[stored_name(name)].values[index]) for name in state_of(model)})
    return model.eval()


def stored_name(name: str) -> str:
    """Name of a parameter's or buffer's variable: its own, but where the file has another variable or axis of that name.

    >>> stored_name("encoder.weight"), stored_name("fold")
    ('encoder.weight', 'parameter.fold')
    """
    return f"parameter.{name}" if name in RESERVED else name


def state_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers of a model by name, those that its state_dict leaves out, too; tied ones once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


@torch.no_grad()
def put_state(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Give a model the parameters and buffers that `state_of` another gave. Raises ValueError if a shape or type differs.

    Only a fitted model's buffers may have another shape than in a fresh one: they may hold a row for each image.
    """
    of_a_fit = dict(model.named_buffers()) if offers(model, FittedModel) else {}
    for name, value in state_of(model).items():
        if name in of_a_fit:
            _put_buffer(model, name, state[name])
        elif (value.shape, value.dtype) != (state[name].shape, state[name].dtype):
            raise ValueError(
                f"{name} is {tuple(state[name].shape)} {state[name].dtype}, not {tuple(value.shape)} {value.dtype}"
            )
        else:
            value.copy_(state[name])


def _put_buffer(model: torch.nn.Module, name: str, value: torch.Tensor) -> None:
    module, _, own = name.rpartition(".")
    setattr(model.get_submodule(module), own, value.clone())
