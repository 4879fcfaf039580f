"""What reruns is what changed: each test changes one thing in a finished workspace and reads the dry run."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import workspace
from workspace import edit, planned, snakemake

MODELS = "results/tiny/models/repeat-00.h5"
PLANTED = "results/datasets/planted.h5"
OWN_MODEL = """from engram.models.mlp_vae import BernoulliMLPVAE

from my_layers import WIDTHS


class Tiny(BernoulliMLPVAE):
    def __init__(self, image_shape, latent_dim=2):
        super().__init__(image_shape, latent_dim, WIDTHS)
"""


def train_jobs(folder: Path) -> int:
    return planned(folder).get("train", 0)


REWORDED = [
    ("models/known.py", "KNOWN = {\n", 'KNOWN = {\n    "trial": Known("engram.models.trial:Trial", ()),\n'),
    ("files/artifacts.py", "is damaged or not an engram artifact", "cannot be used"),
    ("training/training.py", "diverged in epoch", "went astray in epoch"),
    ("training/training.py", '"continuing %s %s in epoch %d"', '"going on with %s %s in epoch %d"'),
    ("errors.py", "free some space", "make some room"),
    ("models/conv_vae.py", "nn.LeakyReLU(0.2)", "nn.LeakyReLU(0.1)"),  # a network that the experiment does not use
]


def test_other_messages_other_models_and_another_entry_in_their_list_rerun_nothing(copy):
    for file, old, new in REWORDED:
        edit(copy / "workflow/engram" / file, old, new)
    assert planned(copy) == {}


def test_another_caption_reruns_the_report_alone(copy):
    edit(copy / "workflow/engram/report/captions/grids.rst", ".", "!")
    assert planned(copy) == {"report": 1}


def test_the_network_in_use_is_trained_again(copy):
    edit(copy / "workflow/engram/models/mlp_vae.py", "(512, 256)", "(512, 255)")
    assert train_jobs(copy) == 3


@pytest.fixture
def own_model(copy):
    """A copy with a model of the user's own beside config.yaml, one of its repeats trained."""
    (copy / "my_models.py").write_text(OWN_MODEL)
    (copy / "my_layers.py").write_text("WIDTHS = (16,)\n")
    workspace.change(copy, "experiments", "tiny", model={"name": "my_models:Tiny"})
    run = snakemake(copy, MODELS)
    assert run.returncode == 0, run.stdout
    assert planned(copy, MODELS) == {}
    return copy


@pytest.mark.slow
@pytest.mark.parametrize(("file", "old", "new"), [("my_models.py", "=2", "=3"), ("my_layers.py", "16", "17")])
def test_an_edited_model_of_the_users_own_or_a_module_it_imports_is_trained_again(own_model, file, old, new):
    (own_model / file).touch()
    (own_model / "my_notes.py").write_text("unrelated = 1\n")
    edit(own_model / file, "\n", "\n# a comment\n")
    assert planned(own_model, MODELS) == {}
    edit(own_model / file, old, new)
    assert planned(own_model, MODELS) == {"model_check": 1, "train": 1}


def test_more_repeats_train_the_new_ones_only(copy):
    workspace.change(copy, "experiments", "tiny", "membership", repeats=3)
    jobs = planned(copy)
    assert jobs["train"] == 1 and jobs["likelihood"] == 4 and jobs["membership"] == 1 and jobs["scores"] == 2


def test_fewer_repeats_train_nothing(copy):
    workspace.change(copy, "experiments", "tiny", "membership", repeats=1)
    workspace.change(copy, "experiments", "tiny", analyses=["density_split"])
    jobs = planned(copy)
    assert "train" not in jobs and "likelihood" not in jobs and jobs["membership"] == 1 and jobs["scores"] == 2


def test_another_design_is_another_training(copy):
    # With more repeats at once: membership.h5 is made again for either reason, and must not hide this one.
    workspace.change(copy, "experiments", "tiny", "membership", folds=5, repeats=3)
    assert train_jobs(copy) == 3  # of the repeats; the full model has no folds


@pytest.mark.slow
def test_a_dropped_epoch_trains_nothing_even_after_it_was_forced(copy):
    workspace.change(copy, "experiments", "tiny", scored_epochs=[4])
    jobs = planned(copy)
    assert "train" not in jobs and "likelihood" not in jobs and jobs["scores"] == 2
    assert snakemake(copy, MODELS, "--force").returncode == 0
    assert planned(copy, MODELS) == {}


def test_an_earlier_end_that_is_kept_trains_nothing(copy):
    workspace.change(copy, "experiments", "tiny", scored_epochs=[2])
    workspace.change(copy, "experiments", "tiny", "training", epochs=2)
    assert train_jobs(copy) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "scored", "missing"), [(4, [2, 3, 4], "[3]"), (6, [2, 4, 6], "[6]")])
def test_an_epoch_that_is_not_kept_trains_again_and_the_dry_run_says_what_that_costs(copy, epochs, scored, missing):
    workspace.change(copy, "experiments", "tiny", scored_epochs=scored)
    workspace.change(copy, "experiments", "tiny", "training", epochs=epochs)
    said = snakemake(copy, "--dry-run").stdout
    assert (
        said.count(f"keeps the epochs [2, 4] and not {missing}") == 3 and "trained again from the start: about" in said
    )
    assert train_jobs(copy) == 3


def test_analyses_that_are_not_chosen_are_not_made_nor_their_figures(copy):
    workspace.change(copy, "experiments", "tiny", analyses=["density_split"])
    for name in ("neighbors", "mode_collapse"):
        for path in copy.glob(f"results/tiny/*/{name}.*"):
            path.unlink()
    assert planned(copy) == {"report": 1}


@pytest.mark.slow
def test_own_images_in_a_file_count_by_their_content(copy):
    file = copy / "toy.npz"
    os.utime(file, (1, 1))
    assert planned(copy) == {}
    arrays = dict(np.load(file))
    arrays["images"][0, 0, 0] ^= 255
    np.savez(file, **arrays)
    jobs = planned(copy)
    assert jobs["dataset"] == 1 and jobs["train"] == 3 and jobs["likelihood"] == 8


@pytest.fixture
def folder_of_images(copy, rng):
    """A copy with a data set made from a folder of images, and the folder."""
    images = copy / "photos"
    images.mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(images / f"{number:02d}.png")
    workspace.change(copy, "datasets", photos={"folder": "photos"})
    run = snakemake(copy, "results/datasets/photos.h5")
    assert run.returncode == 0, run.stdout
    return copy, images


def delete(images):
    (images / "03.png").unlink()


def add(images):
    shutil.copy(images / "03.png", images / "12.png")


def overwrite(images):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / "03.png")


def rename(images):
    (images / "03.png").rename(images / "3.png")


@pytest.mark.slow
@pytest.mark.parametrize("change", [delete, add, overwrite, rename])
def test_a_folder_of_own_images_counts_by_its_content(folder_of_images, change):
    copy, images = folder_of_images
    for path in images.iterdir():
        path.touch()
    (images / ".DS_Store").write_text("left behind by the system")
    assert planned(copy, "results/datasets/photos.h5") == {}
    change(images)
    assert planned(copy, "results/datasets/photos.h5") == {"dataset": 1}


@pytest.fixture
def canaries(tmp_path):
    """A workspace with canaries in its toy data set, in which that alone is made."""
    folder = workspace.create(tmp_path / "engram")
    few = {"doses": [1, 2], "copies": 3, "near_copies": 2, "outliers": 2, "noise": 2}
    workspace.change(folder, "datasets", planted={"canaries_of": "toy", **few})
    run = snakemake(folder, PLANTED)
    assert run.returncode == 0, run.stdout
    assert planned(folder, PLANTED) == {}
    return folder


@pytest.mark.slow
def test_canaries_follow_the_images_and_the_definition_of_what_they_are_planted_in(canaries):
    arrays = dict(np.load(canaries / "toy.npz"))
    np.savez(canaries / "toy.npz", images=arrays["images"] ^ 1, labels=arrays["labels"])
    assert planned(canaries, PLANTED) == {"dataset": 1}
    np.savez(canaries / "toy.npz", **arrays)
    assert planned(canaries, PLANTED) == {}
    workspace.change(canaries, "datasets", "toy", test_fraction=0.3)
    assert planned(canaries, PLANTED) == {"dataset": 1}


@pytest.mark.slow
def test_a_copy_without_time_stamps_reruns_nothing(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copyfile)
    assert planned(copy) == {}
