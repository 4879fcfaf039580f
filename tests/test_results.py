"""engram.load: one experiment's folder of results, opened."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import engram
import synthetic
from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.files.provenance import attributes

EPOCHS = [2, 10]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """results/discs, as the workflow lays it out, beside another experiment's data set."""
    results = tmp_path_factory.mktemp("results")
    paths = synthetic.experiment(results / "made", n=60, test=20)
    discs = results / "discs"
    for source, target in {
        paths["membership"]: discs / "membership.h5",
        paths["scores"]["corrected"]: discs / "scores/corrected.h5",
        paths["scores"]["published"]: discs / "scores/published.h5",
        paths["dataset"]: results / "datasets/discs.h5",
    }.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    (results / "datasets/a-damaged-one.h5").write_bytes(b"no HDF5")
    made_by = attributes("discs", 0, {})
    log_px = np.arange(160.0).reshape(2, 1, 80)
    for epoch in EPOCHS:
        models = {name: variable(("model",), [0, 1], "1", name) for name in ("repeat", "fold")}
        likelihoods = models | {"log_px": variable(("model", "draw", "sample"), log_px - epoch, "nats", "log p")}
        artifacts.write(discs / f"likelihood/corrected/repeat-00/epoch-{epoch}.h5", "likelihood", likelihoods, made_by)
    artifacts.write(
        discs / "analyses/neighbors.h5", "neighbors", {"rho": variable(("sample",), [1.0], "1", "rho")}, made_by
    )
    write_models(discs / "models/repeat-00.h5", made_by)
    (discs / "models/repeat-01.state").mkdir()  # of a training that goes on
    return discs


def write_models(path, made_by):
    """Two models of one layer's width, whose weights are the number of the model plus the epoch."""
    network = engram.models.build("bernoulli_mlp_vae", (1, 4, 4), latent_dim=2, hidden=(3,))
    variables = {
        name: variable(
            ("epoch", "model", *(f"{name}.{axis}" for axis in range(value.ndim))),
            np.array([[np.full(value.shape, epoch + model, np.float32) for model in (0, 1)] for epoch in EPOCHS]),
            "1",
            name,
        )
        for name, value in network.state_dict().items()
    }
    loss = variable(("epoch_trained", "model"), np.zeros((10, 2)), "nats", "loss")
    variables |= {
        "epoch": variable(("epoch",), EPOCHS, "1", "epoch"),
        "fold": variable(("model",), [0, 1], "1", "fold"),
    }
    variables |= {"loss_train": loss, "loss_held_out": loss}
    described = {"image_shape": [1, 4, 4], "model": '{"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": [3]}'}
    artifacts.write(path, "models", variables, made_by | described)


def test_everything_of_an_experiment_is_read_on_first_use(folder):
    run = engram.load(folder)
    assert run.dataset.sizes == {"sample": 80, "pixel": 64}
    assert run.membership["in_training"].dims == ("model", "sample")
    assert dict(run.scores["corrected"]["score"].sizes) == {"epoch": 2, "sample": 60}
    assert run.analyses["neighbors"]["rho"].values == [1.0]
    assert run.likelihood("corrected", 0, 10)["log_px"].values[1, 0, 3] == 83 - 10
    assert run.likelihood("corrected", "repeat-00", 2)["log_px"].values[1, 0, 3] == 83 - 2
    assert list(run.scores) == ["corrected", "published"] and len(run.analyses) == 1 and "published" in run.scores
    assert run.dataset is run.dataset and run.scores["corrected"] is run.scores["corrected"]
    assert repr(run) == f"<engram experiment {folder}: scores of corrected, published; analyses neighbors>"


def test_models_come_back_as_they_were_after_the_epoch(folder):
    first, second = engram.load(str(folder)).models(0, epoch=10)
    assert (first.encoder_mean.weight == 10).all() and (second.encoder_mean.weight == 11).all()
    assert not second.training
    assert isinstance(second, torch.nn.Module)


MISSING = {
    "estimator": (lambda run: run.scores["exact"], "scores: has no estimator 'exact'; there: corrected, published"),
    "analysis": (
        lambda run: run.analyses["encoder_part"],
        "analyses: has no analysis 'encoder_part'; there: neighbors",
    ),
    "likelihood's estimator": (lambda run: run.likelihood("exact", 0, 2), "no estimator 'exact'; there: corrected"),
    "repeat": (lambda run: run.likelihood("corrected", 3, 2), "no repeat 'repeat-03'; there: repeat-00"),
    "epoch": (lambda run: run.likelihood("corrected", 0, 3), "no epoch 'epoch-3'; there: epoch-2, epoch-10"),
    "models' repeat": (lambda run: run.models("full", 2), "models: has no repeat 'full'; there: repeat-00$"),
    "models' epoch": (lambda run: run.models(0, 3), "keeps no models of epoch 3; there: 2, 10"),
}


@pytest.mark.parametrize("kind", MISSING)
def test_what_is_not_there_is_named_with_what_is(kind, folder):
    ask, message = MISSING[kind]
    with pytest.raises(UserError, match=message):
        ask(engram.load(folder))


def test_a_folder_of_no_experiment_is_refused_with_those_beside_it(folder, tmp_path):
    with pytest.raises(UserError, match=r"disc: is no folder of an experiment's results .*; experiments in .*: discs"):
        engram.load(folder.with_name("disc"))
    with pytest.raises(UserError, match="run the workflow to make one"):
        engram.load(tmp_path / "quickstart")


def test_a_data_set_that_is_gone_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "discs")
    with pytest.raises(UserError, match=r"datasets: holds no data set with the checksum that .*membership.h5 names"):
        engram.load(tmp_path / "discs").dataset  # noqa: B018


def test_scores_and_analyses_are_read_without_torch(folder):
    program = (
        f"import sys, engram; run = engram.load({str(folder)!r}); run.scores['corrected'], run.analyses['neighbors'], "
        "run.dataset, run.membership, run.likelihood('corrected', 0, 2); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
