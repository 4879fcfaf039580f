"""The analysis of copies among samples, by stand-ins whose copying is known, with pixels and with a user's own features."""

import re
import shutil

import numpy as np
import pytest
import torch

import my_features
import workspace
from engram import config
from engram.analyses import copy_tests, stage
from engram.analyses.features import load
from engram.analyses.inputs import Inputs
from engram.errors import UserError
from engram.figures.copy_tests import copy_tests as draw
from engram.files import artifacts, inputs
from engram.files.own_features import is_file, is_function
from engram.training import trained
from synthetic import Sampler, answered, experiment
from test_config import change

COLUMNS = ["calibrated_l2", "nearest_ratio", "recurrence", "times_nearest", "density_under_samples"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Images of 64 pixels of noise beside a disc, so that none are near to one another."""
    made = experiment(tmp_path_factory.mktemp("copies"), n=120, test=100)
    return made


def dataset_of(paths, noise=1.0):
    """Its images, mixed with noise of their own, so that none are copies of others."""
    dataset = artifacts.read(paths["dataset"], "dataset")
    levels = np.random.default_rng(3).integers(0, 256, dataset["images"].shape)
    dataset["images"][:] = ((1 - noise) * dataset["images"].values + noise * levels).astype(np.uint8)
    return dataset


def asked(paths, dataset, sampler, features=None) -> Inputs:
    scores = inputs.scores(paths["scores"])
    return Inputs("synthetic", 1, scores, dataset, lambda epoch: sampler, features=features)


def images_of(dataset, split) -> np.ndarray:
    return inputs.images(dataset, np.flatnonzero(dataset["split"].values == split))


def found_by(given: Inputs):
    answer = copy_tests.analyse(given)
    return answered(answer), answer


def test_a_model_that_copies_is_told_from_one_that_does_not(paths):
    dataset = dataset_of(paths)
    copier = Sampler(images_of(dataset, 0)[:60], 0.02)
    found, answer = found_by(asked(paths, dataset, copier))
    assert found.sizes["generated"] == 1200 and found.sizes["test"] == 100
    assert found["share_of_copies"] == 1 and found["share_of_copies_fresh"] == 0
    assert found["authenticity"] == 0 and found["authenticity_fresh"] > 0.2
    assert found["generalization_gap_high"] < -100 < found["generalization_gap_fresh_low"]
    assert found["c_t_p_value"] < 1e-6 and found["c_t"] < -8
    copied, other = slice(0, 60), slice(60, 120)
    assert found["recurrence"].values[copied].sum() == 1200 and not found["recurrence"].values[other].any()
    np.testing.assert_array_equal(found["recurrence"], found["times_nearest"])
    assert found["calibrated_l2"].values[copied].max() < 0.3 < 1 < found["calibrated_l2"].values[other].min()
    assert found["nearest_ratio"].values[copied].max() < 1 / 3 < 1 < found["nearest_ratio"].values[other].min()
    densities = found["density_under_samples"].values
    assert densities[copied].min() > densities[other].max() + 1
    assert {*answer.seconds} == {*COLUMNS} and not answer.lacking
    fresh, _ = found_by(asked(paths, dataset, Sampler(np.random.default_rng(8).random((5000, 1, 8, 8), np.float32), 0)))
    assert fresh["share_of_copies"] == 0 and fresh["c_t_p_value"] > 0.001
    assert abs(fresh["generalization_gap"] - fresh["generalization_gap_fresh"]) < 10
    assert fresh["authenticity_low"] < fresh["authenticity_fresh_high"]
    assert fresh["authenticity_high"] > fresh["authenticity_fresh_low"]


@pytest.mark.parametrize("brighter", [0, 1], ids=["to the byte", "nearly"])
def test_copies_are_flagged_by_every_test_where_every_training_image_is_there_twice(paths, brighter):
    """The second time, a third of the pixels may be a grey level brighter. All that can tell a copy tells as much as it did."""
    dataset = dataset_of(paths)
    images = dataset["images"].values
    images[60:120] = images[:60] + (np.arange(64) % 3 == 0) * brighter * (images[:60] < 255).astype(np.uint8)
    found, _ = found_by(asked(paths, dataset, Sampler(images_of(dataset, 0)[:60], 0.02)))
    assert found["share_of_copies"] == 1 and found["authenticity"] == 0
    assert found["generalization_gap_high"] < -100 and found["c_t_p_value"] < 1e-6
    assert found["recurrence"].values.reshape(2, 60).sum(axis=1).tolist() == [1200, 1200]
    for name, limit in (("calibrated_l2", 0.3), ("nearest_ratio", 1 / 3)):
        assert found[name].max() < limit
    assert found["density_under_samples"].min() > 0.5


def test_images_not_scored_are_compared_with_but_have_no_row(paths):
    """As in the null design, whose full model is trained on all images."""
    dataset = dataset_of(paths)
    given = asked(paths, dataset, Sampler(images_of(dataset, 0)[:60], 0.02))
    of_all, _ = found_by(given)
    half = {name: scored.isel(sample=slice(1, 120, 2)) for name, scored in given.scores.items()}
    of_half, _ = found_by(Inputs("synthetic", 1, half, dataset, given.full_model))
    for name in COLUMNS:
        np.testing.assert_array_equal(of_half[name], of_all[name].values[1::2])


def test_test_images_that_are_copies_of_training_images_are_left_out(paths):
    dataset = dataset_of(paths)
    sampler = Sampler(images_of(dataset, 0), 0.02)
    dataset["images"][120:150] = dataset["images"].values[:30]
    found, answer = found_by(asked(paths, dataset, sampler))
    assert answer.summary == {"fresh_images": 70, "test_images_left_out": 30}
    assert found.sizes["test"] == 70 and found["share_of_copies_fresh"] == 0
    dataset["images"][120:] = dataset["images"].values[:100]
    found, answer = found_by(asked(paths, dataset, sampler))
    assert "all test images are copies" in answer.lacking["recurrence"] and np.isnan(found["recurrence"]).all()


def test_shown_are_the_samples_most_like_copies_one_of_each_training_image(paths):
    dataset = dataset_of(paths)
    training = images_of(dataset, 0)
    found, _ = found_by(asked(paths, dataset, Sampler(training[[5, 9, 40]], 0.0)))
    assert sorted(found["shown_training"].values) == [5, 9, 40]
    np.testing.assert_array_equal(found["shown_ratio"], 0)
    np.testing.assert_array_equal(found["shown_sample"], dataset["images"].values[found["shown_training"].values])


def test_images_that_are_all_alike_have_no_copy_tests(tmp_path):
    paths = experiment(tmp_path, n=30, test=20, alike="images")
    dataset = artifacts.read(paths["dataset"], "dataset")
    found, answer = found_by(asked(paths, dataset, Sampler(images_of(dataset, 0))))
    assert {*answer.lacking} == {*COLUMNS} and all(np.isnan(found[name]).all() for name in COLUMNS)
    assert "all training images are copies" in answer.lacking["nearest_ratio"]


def stored(paths, folder, features, monkeypatch):
    """The artifact, by the stage, with a full model that copies."""
    sampler = Sampler(images_of(artifacts.read(paths["dataset"], "dataset"), 0), 0.02)
    monkeypatch.setattr(trained, "load_model", lambda path, epoch: sampler)
    read = {"dataset": paths["dataset"], "full_model": paths["full_model"], "scores": [*paths["scores"].values()]}
    stage.run("copy_tests", read, [*paths["scores"]], folder / "found.h5", "synthetic", 1, features=features)
    return artifacts.read(folder / "found.h5", "copy_tests")


@pytest.mark.parametrize("name", ["rows", "as_array"])
def test_images_are_compared_by_a_function_of_the_users(paths, tmp_path, monkeypatch, name):
    my_features.seen.clear()
    found = stored(paths, tmp_path, f"my_features:{name}", monkeypatch)
    assert {*my_features.seen} == {((1, 8, 8), torch.float32, True, True)}
    assert f'"features": "my_features:{name}"' in found.attrs["values"]
    dataset = artifacts.read(paths["dataset"], "dataset")
    heights = inputs.images(dataset, np.arange(220)).mean(axis=(1, 3))
    np.testing.assert_allclose(load(f"my_features:{name}", 220).of_dataset(dataset, np.arange(220)), heights, rtol=1e-6)
    assert found["ratio"].mean() != stored(paths, tmp_path, None, monkeypatch)["ratio"].mean()


MISTAKES = {
    "pictures": "has the shape (120, 1, 8, 8) for 120 images, must be (120, d)",
    "one_too_few": "has the shape (119, 8) for 120 images, must be (120, d)",
    "not_a_number": "has values that are no finite float32 numbers, first for image 2 of 120",
    "words": "it: holds",
    "failing": "failed on images of the shape (120, 1, 8, 8): my_features.py, line 37, in failing: RuntimeError",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_users_function_does_wrong_is_one_line(paths, name):
    images = images_of(dataset_of(paths), 0)
    with pytest.raises(UserError) as caught:
        load(f"my_features:{name}", 220).of_images(images)
    assert str(caught.value).startswith(f"features my_features:{name}: {MISTAKES[name]}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            "my_features:absent",
            "features 'my_features:absent' could not be imported: module 'my_features' has no attribute",
        ),
        ("not_there:embed", "features 'not_there:embed' could not be imported: No module named 'not_there'"),
        ("my_features:VALUE", "features 'my_features:VALUE' is a int, must be a function of images"),
    ],
)
def test_a_function_that_is_none_is_one_line(features, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load(features, 220)


def test_a_file_of_features_holds_none_of_samples_and_that_is_said(paths, tmp_path, monkeypatch):
    file = tmp_path / "features.npy"
    rows = np.random.default_rng(1).random((220, 5))
    np.save(file, rows)
    np.testing.assert_array_equal(
        load(str(file), 220).of_dataset(None, np.array([3, 1])), rows[[3, 1]].astype(np.float32)
    )
    found = stored(paths, tmp_path, str(file), monkeypatch)
    assert all(np.isnan(found[name]).all() for name in [*COLUMNS, "share_of_copies", "c_t"])
    assert "for each image of the data set and none for samples of a model; name a function" in found.attrs["lacking"]
    drawn = draw(found, artifacts.read(paths["dataset"], "dataset"))
    assert "none for samples" in drawn.axes[0].texts[0].get_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((219, 5)), "has the shape (219, 5) for 220 images, must be (220, d)"),
        (np.full((220, 5), np.inf), "has values that are no finite float32 numbers, first for image 0 of 220"),
        (np.zeros(220), "has the shape (220,) for 220 images"),
    ],
)
def test_a_file_with_wrong_rows_is_one_line(tmp_path, rows, message):
    np.save(tmp_path / "features.npy", rows)
    with pytest.raises(UserError, match=re.escape(f"features.npy: {message}")):
        load(str(tmp_path / "features.npy"), 220)
    with pytest.raises(UserError, match=r"^features: .*absent\.npy: no such file"):
        load(str(tmp_path / "absent.npy"), 220)


def test_functions_and_files_are_told_apart():
    functions = ["my_features:embed", "my.package:embed"]
    files = ["a.npy", "a.npz:embed", "folder/a.h5:embed", "~/a.csv", "$DATA/a.HDF5:x"]
    assert all(is_function(each) and not is_file(each) for each in functions)
    assert all(is_file(each) and not is_function(each) for each in files)
    assert not any(is_file(each) or is_function(each) for each in ["", "embed", "my_features:", "a b:c"])


DIGITS = ("experiments", "mnist5k")


def test_features_in_the_config(tmp_path):
    for right in ("my_features:embed", "features.npz:embed"):
        config.validate(change((*DIGITS, "features"), right))
    for wrong in ("embed", "my_features:", ""):
        with pytest.raises(UserError, match=rf"mnist5k\.features is '{wrong}'; write module:function, or FILE"):
            config.validate(change((*DIGITS, "features"), wrong))
    with pytest.raises(UserError, match=r"mnist5k\.features is 3, not a text"):
        config.validate(change((*DIGITS, "features"), 3))
    settings = change((*DIGITS, "features"), "my_features:embed")
    settings["experiments"]["mnist5k"]["analyses"] = ["neighbors"]
    with pytest.raises(UserError, match=r"features is 'my_features:embed', which takes effect only in copy_tests"):
        config.validate(settings)


@pytest.mark.slow
def test_other_features_and_what_they_are_made_of_rerun_nothing_but_copy_tests(copy):
    """A function's code, a module that it imports, and a file's content."""
    again = {"copy_tests": 1, "figure_copy_tests": 1, "measures": 1, "report": 1}
    shutil.copy(my_features.__file__, copy / "my_features.py")
    workspace.change(copy, "experiments", "tiny", analyses=["copy_tests"])
    assert workspace.snakemake(copy).returncode == 0
    workspace.change(copy, "experiments", "tiny", features="my_features:rows")
    assert workspace.planned(copy) == again
    run = workspace.snakemake(copy)
    assert run.returncode == 0, run.stdout
    assert workspace.planned(copy) == {}
    workspace.edit(copy / "my_features.py", "images.mean(dim=(1, 3))", "images.mean(dim=(1, 2))")
    assert workspace.planned(copy) == again
    np.save(copy / "rows.npy", np.zeros((100, 3)))
    workspace.change(copy, "experiments", "tiny", features="rows.npy")
    run = workspace.snakemake(copy)
    assert run.returncode == 0 and workspace.planned(copy) == {}
    np.save(copy / "rows.npy", np.ones((100, 3)))
    assert workspace.planned(copy) == again
