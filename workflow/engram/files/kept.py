"""What finished models already offer: epochs that need not be trained again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Epochs(NamedTuple):
    """How long to train, and the epochs at which models are kept. `cost` says why a training that exists is done again."""

    epochs: int
    scored_epochs: list[int]
    cost: str = ""


def digest(model: Mapping[str, Any], code: str) -> str:
    """By which the check of a model is kept: a hash of the model's settings and of the content hash of what trains it.

    >>> digest({"name": "bernoulli_mlp_vae"}, "0123456789abcdef")
    '00edf5e5e5b0d7f3'
    """
    return hashlib.sha256(json.dumps([dict(model), code], sort_keys=True).encode()).hexdigest()[:16]


def epochs_to_train(path: str | Path, values: Mapping[str, Any]) -> Epochs:
    """What models/{repeat}.h5 at `path` was, or must be, trained for so that it has the scored epochs of `values`.

    `values` are what the models depend on, as stage `train` stores them. Models trained by the same values that hold every
    epoch asked for are as they should be, whatever else they hold: so a scored epoch can be dropped without training.
    """
    wanted = Epochs(values["training"]["epochs"], list(values["scored_epochs"]))
    stored, seconds = _stored(Path(path))
    if _of_any_length(stored) != _of_any_length(values):
        return wanted
    kept = Epochs(stored["training"]["epochs"], stored["scored_epochs"])
    missing = sorted(set(wanted.scored_epochs) - set(kept.scored_epochs))
    if not missing:
        return kept
    again = seconds * wanted.epochs / kept.epochs
    return wanted._replace(
        cost=f"{path} keeps the epochs {kept.scored_epochs} and not {missing}, which scored_epochs asks for now; "
        f"its models are trained again from the start: about {again / 60:.1f} minutes, by the record of their training"
    )


def _stored(path: Path) -> tuple[dict[str, Any], float]:
    """The values that made the models, and the seconds it took; nothing where there are none that can be read."""
    if not path.exists():
        return {}, 0.0
    import h5py  # here, because most starts of the workflow meet no finished models
    import numpy as np

    try:
        with h5py.File(path) as file:
            return json.loads(file.attrs["values"]), float(np.ravel(file.attrs["wall_seconds"])[0])
    except (OSError, KeyError, ValueError):  # whoever reads the models will say what is wrong with them
        return {}, 0.0


def of_any_length(training: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training without the number of epochs, but where the learning rate depends on it from the first step."""
    scheduled = training.get("learning_rate_schedule", "constant") != "constant"
    return {key: value for key, value in training.items() if key != "epochs" or scheduled}


def _of_any_length(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values but for the epochs, in JSON's own types."""
    settings = ("model", "training", "membership", "seed", "code")
    comparable = json.loads(json.dumps({key: values.get(key) for key in settings}))
    if comparable["training"]:
        comparable["training"] = of_any_length(comparable["training"])
    return comparable
