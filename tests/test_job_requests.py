"""What jobs ask of a cluster, and that the shipped profile asks for all of them."""

import re

import h5py
import pytest
import torch
import yaml

import workspace
from engram.catalogue import ANALYSES, FIGURES
from engram.likelihood.estimation import propose
from engram.models import build
from engram.runtime import requests

PROFILE = yaml.safe_load((workspace.REPOSITORY / "profiles/slurm/profile.yaml").read_text())
CONFIG = yaml.safe_load((workspace.REPOSITORY / "config.yaml").read_text())
PAPER = CONFIG["experiments"]["mnist_lr1e-3"]
MNIST = (70_000, 1, 32, 32)


def test_training_asks_for_three_times_its_passes_at_one_cores_rate():
    # 70,000 images x 10 models x 100 epochs at 7,000 images/s are 10,000 s; three times that and 10 minutes are 510.
    assert requests.train_minutes(PAPER, "repeat-00", MNIST, attempt=1) == 510
    assert requests.train_minutes(PAPER, "full", MNIST, attempt=1) == 60
    halves = PAPER | {"membership": {"design": "half_split"}}
    assert requests.train_minutes(halves, "repeat-00", MNIST, attempt=1) == 110


def test_requests_grow_with_the_attempt_and_a_training_asks_for_a_day_at_most():
    assert requests.train_minutes(PAPER, "repeat-00", MNIST, attempt=2) == 1020
    assert requests.train_minutes(PAPER, "repeat-00", MNIST, attempt=3) == 24 * 60
    once = requests.train_megabytes(PAPER, "repeat-00", MNIST, attempt=1)
    assert requests.train_megabytes(PAPER, "repeat-00", MNIST, attempt=3) == 3 * once


def test_likelihood_asks_by_its_samples_its_draws_and_its_proposal():
    encoder = {"proposal": "encoder", "samples": 256}
    laplace = {"proposal": "laplace", "samples": 16, "newton_steps": 3}
    ask = {
        name: requests.likelihood_minutes(PAPER, estimator, "repeat-00", (60_000, 1, 32, 32), attempt=1)
        for name, estimator in {"encoder": encoder, "four": encoder | {"draws": 4}, "laplace": laplace}.items()
    }
    # 600,000 estimates at 256 samples, 64,000 a second, are 2,400 s; at 16 + 3 x 6 + 16 x 5 = 114 samples 1,069 s.
    assert ask == {"encoder": 130, "four": 490, "laplace": 64}


def test_a_laplace_proposal_asks_by_what_its_decoding_costs():
    """Rows of images through the decoder, forward or back, counted while engram proposes."""
    model = build("bernoulli_mlp_vae", image_shape=(1, 8, 8), latent_dim=20, hidden=[32]).eval()
    passes, images = [], torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    hooks = [
        model.decoder[-1].register_forward_hook(lambda layer, given, result: passes.append(result.numel() / 64)),
        model.decoder[-1].register_full_backward_hook(
            lambda layer, given, result: passes.append(result[0].numel() / 64)
        ),
    ]
    with torch.no_grad():
        propose(model, images, "laplace", newton_steps=3, proposal_scale=1.1)
    for hook in hooks:
        hook.remove()
    forward_mode = 20 * len(images)  # tangents of the curvature, which no hook sees
    experiment = {"model": {"latent_dim": 20}}
    asked = requests.decodings(experiment, {"proposal": "laplace", "samples": 0, "newton_steps": 3})
    assert 0.9 * asked < (sum(passes) + forward_mode) / len(images) <= 1.05 * asked


def test_training_has_room_for_the_weights_it_keeps():
    # 20 epochs x 10 models x 1,318,912 weights x 4 bytes: the file alone.
    assert requests.train_megabytes(PAPER, "repeat-00", MNIST, attempt=1) > 2 * 20 * 10 * 1_318_912 * 4 / 1e6


def test_a_models_own_setting_called_hidden_may_be_anything():
    with_number = PAPER | {"model": {"name": "my_models:Mine", "hidden": 32}}
    without = PAPER | {"model": {"name": "my_models:Mine"}}
    assert requests.train_megabytes(with_number, "full", MNIST, 1) == requests.train_megabytes(
        without, "full", MNIST, 1
    )


def test_a_data_set_not_made_yet_is_told_from_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        requests.shape_of_images(tmp_path / "none.h5")
    (tmp_path / "damaged.h5").write_bytes(b"\x89HDF\r\n")
    assert requests.shape_of_images(tmp_path / "damaged.h5") == (0, 0, 0, 0)
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_dataset("images", (7, 192), "u1")
        file.attrs["image_shape"] = [3, 4, 16]
    assert requests.shape_of_images(tmp_path / "whole.h5") == (7, 3, 4, 16)


def test_the_profile_asks_for_gpus_in_the_rules_that_compute_on_one_and_no_other():
    scripts = (workspace.REPOSITORY / "workflow/scripts").glob("*.py")
    on_a_gpu = {path.stem for path in scripts if "claimed_device" in script_and_stage(path)}
    assert {rule for rule, asked in PROFILE["set-resources"].items() if asked.get("gpu")} == on_a_gpu
    assert "gpu" not in PROFILE["default-resources"] and "gres" not in PROFILE["default-resources"]


def script_and_stage(path):
    """The text of a rule's script and of the stage module that it calls."""
    rooms = re.findall(r"from engram\.(\w+) import stage", path.read_text())
    package = workspace.REPOSITORY / "workflow/engram"
    return "".join(file.read_text() for file in [path, *(package / room / "stage.py" for room in rooms)])


def test_one_job_does_all_that_follows_the_likelihoods():
    # A rule between two of a group, but outside it, would make the group wait for itself.
    after_scores = {
        "scores",
        "measures",
        *(name for name, analysis in ANALYSES.items() if not analysis.before_training),
    }
    drawn = {f"figure_{name}" for name, figure in FIGURES.items() if after_scores & set(figure.reads)}
    following = after_scores | drawn
    assert {rule for rule, group in PROFILE["groups"].items() if group == "results"} == following


def test_the_profile_can_not_hang_on_accounting_and_retries_in_one_place():
    assert PROFILE["slurm-status-command"] == "squeue"
    # squeue forgets finished jobs after MinJobAge, 300 s by default; below three polls the plugin turns to sacct.
    assert 3 * PROFILE["slurm-init-seconds-before-status-checks"] <= 300
    assert not any("slurm-array" in key for key in PROFILE)
    assert not any("retries:" in path.read_text() for path in (workspace.REPOSITORY / "rules").glob("*.smk"))
