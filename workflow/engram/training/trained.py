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
from engram.training.state import StateFolder
from engram.training.training import Training

LOSS = "mean -ELBO per image after the epoch, in eval mode, on at most 10,000 fixed"


def write(path: str | Path, training: Training, folder: StateFolder, attributes: dict[str, Any]) -> None:
    """Gather the snapshots of `folder` into models/{repeat}.h5."""
    plan = training.plan
    variables = {
        name: variable(
            ("epoch", "model", *(f"{name}.axis{i}" for i in range(value.ndim - 2))),
            value,
            "1",
            f"parameter or buffer {name} of the network",
        )
        for name, value in _gather(folder, plan.scored_epochs).items()
    }
    trained_epochs = np.arange(1, plan.epochs + 1)
    variables |= {
        "epoch": variable(("epoch",), plan.scored_epochs, "1", artifacts.AXES["epoch"]),
        "epoch_trained": variable(("epoch_trained",), trained_epochs, "1", "every epoch of training"),
        "fold": variable(("model",), plan.folds, "1", "fold held out from the model; -1 for the full model"),
        "loss_train": variable(("epoch_trained", "model"), training.losses.train, "nats", f"{LOSS} training images"),
        "loss_held_out": variable(
            ("epoch_trained", "model"), training.losses.held_out, "nats", f"{LOSS} images the model never saw", True
        ),
    }
    model = {"image_shape": list(plan.image_shape), "model": json.dumps(plan.model, sort_keys=True)}
    artifacts.write(path, "models", variables, attributes | model | {"observation": training.observation})


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
    model.load_state_dict({name: torch.as_tensor(stored[name].values[index]) for name in model.state_dict()})
    return model.eval()
