"""engram.load: one experiment's folder of results, opened."""

import shutil
import subprocess
import sys

import pytest
import torch

import engram
import results_folder
from engram.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return results_folder.create(tmp_path_factory.mktemp("results"), "discs")


def test_everything_of_an_experiment_is_read_on_first_use(folder):
    run = engram.load(folder)
    assert run.dataset.sizes == {"sample": 80, "pixel": 64}
    assert run.membership["in_training"].dims == ("model", "sample")
    assert dict(run.scores["corrected"]["score"].sizes) == {"epoch": 2, "sample": 60}
    assert run.analyses["neighbors"]["rho"].sizes == {"sample": 60}
    assert run.likelihood("corrected", 0, 40)["log_px"].values[1, 0, 3] == 83 - 40
    assert run.likelihood("corrected", "repeat-00", 5)["log_px"].values[1, 0, 3] == 83 - 5
    assert list(run.scores) == ["corrected", "published"] and len(run.analyses) == 1 and "published" in run.scores
    assert run.dataset is run.dataset and run.scores["corrected"] is run.scores["corrected"]
    assert repr(run) == f"<engram experiment {folder}: scores of corrected, published; analyses neighbors>"


def test_models_come_back_as_they_were_after_the_epoch(folder):
    first, second = engram.load(str(folder)).models(0, epoch=40)
    assert (first.encoder_mean.weight == 40).all() and (second.encoder_mean.weight == 41).all()
    assert not second.training
    assert isinstance(second, torch.nn.Module)


MISSING = {
    "estimator": (lambda run: run.scores["exact"], "scores: has no estimator 'exact'; there: corrected, published"),
    "analysis": (
        lambda run: run.analyses["encoder_part"],
        "analyses: has no analysis 'encoder_part'; there: neighbors",
    ),
    "likelihood's estimator": (lambda run: run.likelihood("exact", 0, 5), "no estimator 'exact'; there: corrected"),
    "repeat": (lambda run: run.likelihood("corrected", 3, 5), "no repeat 'repeat-03'; there: repeat-00"),
    "epoch": (lambda run: run.likelihood("corrected", 0, 3), "no epoch 'epoch-3'; there: epoch-5, epoch-40"),
    "models' repeat": (lambda run: run.models("full", 5), "models: has no repeat 'full'; there: repeat-00$"),
    "models' epoch": (lambda run: run.models(0, 3), "keeps no models of epoch 3; there: 5, 40"),
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
        "run.dataset, run.membership, run.likelihood('corrected', 0, 5); print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
