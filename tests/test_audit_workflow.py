"""An experiment of config.yaml that audits a checkpoint: its mistakes, its plan, and all of it by Snakemake."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml

import workspace
from engram import config as engram_config
from engram.errors import UserError
from engram.files import artifacts
from engram.report import contents
from tiny_pipelines import pictures, unconditional
from workspace import planned, snakemake

QUICK = {"samples": 6, "steps": 2, "evaluations": 4, "batch": 16, "judged": 10}
AUDIT = {"checkpoint": "theirs/model", "images": "theirs/images", "training": "toy", "held_out": "toy", "seed": 1}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """The workspace with the checkpoint's experiment alone in `run`."""
    pytest.importorskip("diffusers", reason="needs `uv sync --extra audit`")
    folder = workspace.create(tmp_path_factory.mktemp("workspace") / "copy")
    unconditional(folder / "theirs/model")
    pictures(folder / "theirs/images", 3)
    workspace.change(folder, run=["theirs"])
    workspace.change(folder, "experiments", theirs=AUDIT | QUICK)
    return folder


def problems(**changes):
    config = yaml.safe_load((workspace.REPOSITORY / "config.yaml").read_text())
    experiment = AUDIT | {"training": "mnist5k", "held_out": "mnist5k"} | changes
    config["experiments"]["theirs"] = {key: value for key, value in experiment.items() if value is not None}
    engram_config.validate(config)
    return config


def test_an_audit_is_a_whole_experiment():
    config = problems(samples=0, half=True, prompts="prompts.csv")
    assert contents.results(config, "theirs") == [
        "results/theirs/report.html",
        "results/theirs/audit.h5",
        "results/theirs/audit.csv",
    ]
    assert contents.scores(config, "theirs") == []


MISTAKES = {
    "no images": ({"images": None}, "experiments.theirs lacks images"),
    "another kind": ({"model": {"name": "gaussian"}}, "experiments.theirs has an unknown key 'model'"),
    "near a data set": (
        {"held_out": "mnits5k"},
        "held_out is 'mnits5k', which is neither a data set nor a folder; did you mean",
    ),
    "evaluations": ({"evaluations": 6}, "experiments.theirs.evaluations is 6; it must be a multiple of 4"),
    "probes": ({"probes": 1}, "experiments.theirs.probes is 1; it must be 2 at least"),
    "prevent": ({"prevent": 0.5}, "experiments.theirs.prevent is given without prompts, whose embeddings it moves"),
    "judged": ({"judged": 1}, "experiments.theirs.judged is 1; it must be at least 2"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name):
    changes, message = MISTAKES[name]
    with pytest.raises(UserError) as refused:
        problems(**changes)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_reproduction_cannot_stand_on_an_audit():
    config = problems()
    config["reproductions"]["paper"]["mnist_lr1e-3"] = "theirs"
    with pytest.raises(UserError, match="is 'theirs', which audits a checkpoint; the paper's experiments train models"):
        engram_config.validate(config)


def test_its_plan_is_the_audit_and_its_data_sets_and_no_shared_page(workflow):
    assert planned(workflow) == {"audit": 1, "dataset": 1}
    run = snakemake(workflow, "--dry-run", "results/theirs/models/full.h5")
    assert run.returncode == 1 and "experiments.theirs has no model: it audits a checkpoint" in run.stdout


@pytest.mark.slow
def test_the_workflow_makes_it_and_makes_it_again_only_for_another_content(workflow):
    run = snakemake(workflow)
    assert run.returncode == 0, run.stdout
    audit = artifacts.read(workflow / "results/theirs/audit.h5", "audit")
    assert audit.attrs["experiment"] == "theirs" and audit.attrs["images_unknown"] == 3
    table = pd.read_csv(workflow / "results/theirs/audit.csv")
    assert table["membership"].value_counts().to_dict() == {"training": 10, "held-out": 10, "unknown": 3}
    dataset = artifacts.read(workflow / "results/datasets/toy.h5", "dataset")
    paths = {split: {*dataset["path"].values[dataset["split"].values == split]} for split in (0, 1)}
    assert {*table.loc[table["membership"] == "training", "file"].astype(str)} <= paths[0]
    assert {*table.loc[table["membership"] == "held-out", "file"].astype(str)} <= paths[1]
    assert "80 training images of the data set toy" in (workflow / "results/theirs/report.html").read_text()
    assert not (workflow / "results/report.html").exists() and planned(workflow) == {}
    bounds = table["bound"].to_numpy()
    pictures(workflow / "theirs/images", 1, seed=5)
    assert planned(workflow) == {"audit": 1}
    workspace.change(workflow, "experiments", "theirs", evaluations=8)
    run = snakemake(workflow)
    assert run.returncode == 0, run.stdout
    assert not np.allclose(pd.read_csv(workflow / "results/theirs/audit.csv")["bound"].to_numpy(), bounds)
    assert re.search(r"effort</th><td>8 evaluations", (workflow / "results/theirs/report.html").read_text())


@pytest.mark.slow
def test_a_mistake_in_its_files_is_one_line_in_the_workflow(workflow):
    workspace.change(workflow, "experiments", wrong=AUDIT | QUICK | {"checkpoint": "nowhere"})
    run = snakemake(workflow, "results/wrong/audit.h5")
    assert run.returncode == 1 and "Traceback" not in run.stdout
    assert "engram: error: experiments.wrong.checkpoint: 'nowhere' does not exist or is not a folder" in run.stdout
