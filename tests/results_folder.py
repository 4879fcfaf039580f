"""A folder of results as the workflow lays it out, of a made-up experiment, for engram.load."""

import shutil
from pathlib import Path

import numpy as np

import engram
import synthetic
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.files.provenance import attributes

EPOCHS = [5, 40]
MODEL = '{"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": [3]}'


def create(results: Path, name: str) -> Path:
    """results/{name}, beside a damaged data set and a training that goes on: two models of 80 images, 60 to train on."""
    folder = results / name
    paths = synthetic.experiment(results / "made", n=60, test=20)
    for source, target in {
        paths["membership"]: folder / "membership.h5",
        paths["scores"]["corrected"]: folder / "scores/corrected.h5",
        paths["scores"]["published"]: folder / "scores/published.h5",
        paths["dataset"]: results / "datasets/discs.h5",
    }.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    shutil.rmtree(results / "made")
    (results / "datasets/a-damaged-one.h5").write_bytes(b"no HDF5")
    made_by = attributes(name, 0, {})
    for epoch in EPOCHS:
        _likelihood(folder / f"likelihood/corrected/repeat-00/epoch-{epoch}.h5", epoch, made_by)
    _models(folder / "models/repeat-00.h5", made_by)
    (folder / "models/repeat-01.state").mkdir()
    rho = {"rho": variable(("sample",), np.ones(60), "1", "rho")}
    artifacts.write(folder / "analyses/neighbors.h5", "neighbors", rho, made_by)
    return folder


def _likelihood(path: Path, epoch: int, made_by: dict) -> None:
    """log p of image i under model m: 80 m + i - epoch."""
    variables = {name: variable(("model",), [0, 1], "1", name) for name in ("repeat", "fold")}
    log_px = np.arange(160.0).reshape(2, 1, 80) - epoch
    variables["log_px"] = variable(("model", "draw", "sample"), log_px, "nats", "log p")
    artifacts.write(path, "likelihood", variables, made_by)


def _models(path: Path, made_by: dict) -> None:
    """All weights of model m after an epoch are epoch + m."""
    network = engram.models.build("bernoulli_mlp_vae", (1, 8, 8), latent_dim=2, hidden=(3,))
    variables = {
        name: variable(
            ("epoch", "model", *(f"{name}.{axis}" for axis in range(value.ndim))),
            np.array([[np.full(value.shape, epoch + model, np.float32) for model in (0, 1)] for epoch in EPOCHS]),
            "1",
            name,
        )
        for name, value in network.state_dict().items()
    }
    variables["epoch"] = variable(("epoch",), EPOCHS, "1", "epoch")
    variables["fold"] = variable(("model",), [0, 1], "1", "fold")
    for name in ("loss_train", "loss_held_out"):
        variables[name] = variable(("epoch_trained", "model"), np.zeros((40, 2)), "nats", name)
    artifacts.write(path, "models", variables, made_by | {"image_shape": [1, 8, 8], "model": MODEL})
