"""Manifolds as data sets: what stands where, distances, what rounding does to them, and their dimension by the analysis."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import yaml
from scipy.spatial.distance import pdist

import engram
import workspace
from engram import config, datasets
from engram.analyses.data_dimension import analyse
from engram.analyses.inputs import Inputs
from engram.catalogue import EVERYTHING
from engram.config_given import has
from engram.datasets import canaries, manifolds, summary
from engram.datasets.known import images_of, in_manifold, modules_of
from engram.designs.membership import design
from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import TEST, TRAIN
from engram.geometry.data_dimension import maximum_likelihood, pooled
from engram.geometry.nearest import nearest_different
from engram.randomness import generator

SPHERE = {"manifold": "sphere", "dimension": 3, "train": 800, "test": 60}
LOLLIPOP = {"manifold": "lollipop", "train": 400, "test": 50, "copies": 8}
DEFINED = {
    "sphere": SPHERE,
    "subspace": {"manifold": "subspace", "dimension": 4, "train": 800, "test": 60, "image_size": 8},
    "mixture": {"manifold": "mixture", "dimensions": [1, 2, 4], "train": 900, "test": 60},
    "lollipop": LOLLIPOP,
    "circle": {"manifold": "circle_with_point", "train": 210, "test": 60},
}


def points_of(definition, seed=0):
    """Coordinates of the points of every part, by its name."""
    asked = in_manifold(definition)
    return {part.name: part.draw(generator(seed, part.name), 500) for part in manifolds.parts_of(asked)}


@pytest.mark.parametrize("name", DEFINED)
def test_as_many_images_of_each_part_stand_there_as_asked_for(name):
    definition = DEFINED[name]
    made, side = datasets.make(name, definition), definition.get("image_size", 16)
    assert made.image_shape == (1, side, side) and made.images.dtype == np.uint8
    train, test = ((made.split == split).sum() for split in (TRAIN, TEST))
    assert images_of(name, definition) == (definition["train"], definition["test"]) == (train, test)
    assert modules_of(name, definition) == ["engram.datasets.manifolds"]
    expected = {"sphere": {3}, "subspace": {4}, "mixture": {1, 2, 4}, "lollipop": {0, 1, 2}, "circle": {0, 1}}[name]
    assert {*made.dimension} == expected and len(expected) == len(made.label_names)
    for label in range(len(made.label_names)):
        assert len({*made.dimension[made.labels == label]}) == 1
    assert made.images.min() == 0 or made.images.max() == 255
    assert (np.diff(made.split) >= 0).all()
    again, other = datasets.make(name, definition), datasets.make(f"{name}2", definition)
    assert made.sha256() == again.sha256() != other.sha256()


def test_the_isolated_point_stands_there_so_many_times_as_one_group_and_is_not_tested():
    for name, copies in (("lollipop", 8), ("circle", 10)):
        made = datasets.make(name, DEFINED[name])
        point = made.dimension == 0
        assert point.sum() == copies == (made.group == 0).sum() and (made.group[point] == 0).all()
        assert len(np.unique(made.images[point], axis=0)) == 1 and not point[made.split == TEST].any()
        folds = {"design": "half_split", "repeats": 2, "groups": "together"}
        is_in = design(folds, made.split, made.group, 1, "x").in_training
        assert (is_in[:, point] == is_in[:, point][:, :1]).all()
    assert datasets.make("sphere", SPHERE).group is None


def test_points_lie_on_their_manifolds():
    circle, lollipop, mixture = (points_of(DEFINED[name]) for name in ("circle", "lollipop", "mixture"))
    np.testing.assert_allclose(np.linalg.norm(circle["circle"], axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(points_of(SPHERE)["sphere"], axis=1), 1)
    assert np.linalg.norm(circle["point"][0]) == 0.5 and np.ptp(circle["point"], axis=0).max() == 0
    assert np.linalg.norm(lollipop["disc"] - [0, 1], axis=1).max() <= 1 and np.ptp(lollipop["stick"][:, 0]) == 0
    assert -1 <= lollipop["stick"][:, 1].min() <= lollipop["stick"][:, 1].max() <= 0 and lollipop["point"][0, 1] == -1.5
    for dimension, points in zip((1, 2, 4), mixture.values(), strict=True):
        assert np.linalg.matrix_rank(points - points[0]) == dimension and points.shape[1] == 4 + 3
        assert np.linalg.norm(points[:, :4], axis=1).max() <= 1
    centres = np.array([points[0, 4:] for points in mixture.values()])
    np.testing.assert_allclose(pdist(centres), manifolds.APART)


@pytest.mark.parametrize("shape", [manifolds.in_ball, manifolds.on_sphere])
def test_points_are_spread_evenly(shape, rng):
    points = shape(rng, 40_000, 3)
    radius = np.linalg.norm(points, axis=1)
    assert np.abs(points.mean(axis=0)).max() < 0.02
    if shape is manifolds.in_ball:  # a quarter of the radius holds 1/64 of the volume
        assert [(radius < edge).mean() for edge in (0.25, 0.5)] == pytest.approx([1 / 64, 1 / 8], abs=0.006)
    else:  # of the unit vectors in four dimensions, a coordinate has the variance 1/4
        np.testing.assert_allclose(points.var(axis=0), 0.25, atol=0.01)


@pytest.mark.parametrize("side", [4, 16])
def test_images_keep_all_ratios_of_distances_but_for_rounding(side, rng):
    points = manifolds.on_sphere(rng, 80, 3)
    images = manifolds.as_images(points, side**2, rng)
    assert images.min() == 0 or images.max() == 255
    apart, expected = pdist(images.astype(float)), pdist(points)
    scale = np.median(apart / expected)
    rounding = np.sqrt(2 * side**2 / 12)  # the root mean square distance that rounding of both images makes
    assert np.sqrt(np.mean((apart - scale * expected) ** 2)) < rounding
    assert np.abs(apart - scale * expected).max() < 4 and scale > 20 * rounding


def test_directions_are_orthonormal_and_even(rng):
    directions = manifolds._directions(256, 5, rng)
    np.testing.assert_allclose(directions.T @ directions, np.eye(5), atol=1e-12)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(np.sqrt(5 / 256), rel=0.02)


@pytest.mark.parametrize("name, n, dimension", [("sphere", 500, 3), ("subspace", 500, 4), ("circle", 200, 1)])
def test_rounding_moves_the_dimension_by_little_where_neighbours_are_far_apart(name, n, dimension, rng):
    """Within 12 % of the truth before and after, and 3 % of one another; and by much where they are not, on a crowded line."""
    before = manifolds.parts_of(in_manifold(DEFINED[name]))[0].draw(rng, n)
    after = manifolds.as_images(before, 256, rng)
    of_each = [pooled(maximum_likelihood(nearest_different(each, 20).distance).value) for each in (before, after)]
    assert of_each == pytest.approx([dimension] * 2, rel=0.12) and of_each[1] == pytest.approx(of_each[0], rel=0.03)
    crowded = manifolds.as_images(manifolds.in_ball(rng, 2000, 1), 64, rng)
    assert pooled(maximum_likelihood(nearest_different(crowded, 20).distance).value) > 1.2


def inputs_of(name, tmp_path, definition=None):
    """What the analysis is given of a data set that the workflow has written, with made-up scores."""
    definition = definition or DEFINED[name]
    path = tmp_path / f"{name}.h5"
    datasets.write(path, name, definition, datasets.make(name, definition))
    dataset = artifacts.read(path, "dataset")
    train = np.flatnonzero(dataset["split"].values == TRAIN)
    score = np.random.default_rng(0).normal(size=(1, len(train)))
    coordinates = {"sample": train, "epoch": [1]}
    scores = xr.Dataset({"score": (("epoch", "sample"), score)}, coordinates)
    return Inputs("made_up", 1, {"mine": scores}, dataset)


@pytest.mark.parametrize("name, off", [("sphere", 0.05), ("subspace", 0.05), ("mixture", 0.06)])
def test_the_analysis_finds_the_dimension_that_the_artifact_states(name, off, tmp_path):
    """On average within 6 %, of two dimensions or more, and its standard error covers it in some 95 % of images."""
    found = xr.Dataset(dict(analyse(inputs_of(name, tmp_path)).variables)).sel(measure="lid_data")
    for dimension in (each for each in found["known_dimension"].values if each > 1):
        at = found.sel(known_dimension=dimension)
        assert at["mean_estimate"] == pytest.approx(dimension, rel=off)
        assert 0.92 < at["coverage"] < 0.99


def test_no_estimate_sees_that_a_point_has_no_dimension_but_its_copies_are_counted(tmp_path):
    found = xr.Dataset(dict(analyse(inputs_of("circle", tmp_path)).variables))
    point = found["dimension"].values == 0
    assert (found["equal_images"].values[point] == 10).all()
    assert found["coverage"].sel(known_dimension=0, measure="lid_data") == 0 and found["lid_data"][point].min() > 3


def test_the_artifact_and_the_summary_say_the_dimension(tmp_path):
    dataset = inputs_of("lollipop", tmp_path).dataset
    made = datasets.make("lollipop", LOLLIPOP)
    np.testing.assert_array_equal(dataset["dimension"], made.dimension)
    rows = dict(summary.rows(json.loads(dataset.attrs["summary"])))
    assert rows["known dimension (training + test)"] == "0 (8 + 0), 1 (131 + 17), 2 (261 + 33)"
    assert rows["images"] == "400 training and 50 test images from: lollipop, 16 x 16"
    unknown = summary.summarize(replace(made, dimension=None))
    assert unknown["dimensions"] == {} and not any("dimension" in label for label, _ in summary.rows(unknown))


def test_planted_images_have_no_known_dimension():
    made = datasets.make("sphere", SPHERE)
    planted = canaries.plant(made, "mine", {"canaries_of": "sphere", "noise": 3}, (1, "mine"))
    assert made.dimension is not None and planted.dimension is None


def test_an_experiment_has_a_known_dimension_on_a_manifold_alone():
    defined = {"ball": DEFINED["subspace"], "planted": {"canaries_of": "ball"}}
    membership = {"design": "half_split", "repeats": 5}
    for dataset, expected in (("ball", True), ("planted", False), ("mnist1k", False)):
        experiment = {"dataset": dataset, "membership": membership, "training": {}, "scored_epochs": [1]}
        experiment["model"] = {"name": "bernoulli_mlp_vae"}
        assert ("known_dimension" in has(experiment, defined)) == expected
        given = {"log_px": "a.npy", "membership": {}, "dataset": dataset}
        assert ("known_dimension" in has(given, defined)) == expected
    assert "known_dimension" not in EVERYTHING


MISTAKES = {
    "an unknown manifold": ({"manifold": "spere"}, ".manifold is 'spere'; choose subspace, sphere, mixture"),
    "no dimension": ({"manifold": "sphere"}, " lacks dimension, which a sphere needs"),
    "no dimensions": ({"manifold": "mixture"}, " lacks dimensions, which a mixture needs"),
    "a dimension too many": (
        {"manifold": "lollipop", "dimension": 2},
        " has dimension, which a lollipop does not take; leave it out",
    ),
    "copies of nothing": (
        {"manifold": "sphere", "dimension": 2, "copies": 3},
        " has copies, which a sphere does not take; leave it out",
    ),
    "no room": (
        {"manifold": "sphere", "dimension": 64, "image_size": 8},
        ": its sphere lies in 65 coordinates, but images of 8 x 8 have 64 pixels; state a larger image_size",
    ),
    "no room for a mixture": (
        {"manifold": "mixture", "dimensions": [1, 255]},
        ": its mixture lies in 257 coordinates, but",
    ),
    "nothing but copies": (
        {"manifold": "lollipop", "train": 10},
        ".train is 10, of which 10 are copies of a point; state more, or fewer copies",
    ),
    "no dimension at all": ({"manifold": "subspace", "dimension": 0}, ".dimension is 0; it must be at least 1"),
    "half a dimension": ({"manifold": "subspace", "dimension": 1.5}, ".dimension is 1.5, not a whole number"),
    "one dimension of a mixture": (
        {"manifold": "mixture", "dimensions": [2]},
        ".dimensions is [2]; it must have at least 2",
    ),
    "fewer images than dimensions": (
        {"manifold": "mixture", "dimensions": [1, 2, 5], "train": 2},
        ".train is 2, fewer than its 3 dimensions; state more",
    ),
    "a dimension twice": ({"manifold": "mixture", "dimensions": [2, 2]}, ".dimensions is [2, 2]; it must not name"),
    "no test images": (
        {"manifold": "sphere", "dimension": 2, "test": None},
        ".test is empty (null), not a whole number",
    ),
    "a folder, too": ({"manifold": "lollipop", "folder": "x"}, "its images come from folder and manifold; write one"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake):
    changes, message = MISTAKES[mistake]
    settings = yaml.safe_load((workspace.REPOSITORY / "config.yaml").read_text())
    settings["datasets"]["mine"] = {"train": 100, "test": 10} | changes
    with pytest.raises(UserError) as raised:
        config.validate(settings)
    assert f"datasets.mine{message}" in str(raised.value) or message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("mistake", ["no dimension", "no room", "nothing but copies"])
def test_from_python_a_mistake_is_the_same_line(mistake):
    changes, message = MISTAKES[mistake]
    with pytest.raises(UserError) as raised:
        datasets.make("mine", {"train": 100, "test": 10} | changes)
    assert str(raised.value) == f"datasets.mine{message}"


def test_a_convolutional_model_is_told_the_size_that_images_have_by_default():
    settings = yaml.safe_load((workspace.REPOSITORY / "config.yaml").read_text())
    settings["datasets"]["mine"] = SPHERE
    settings["experiments"]["cifar10"]["dataset"] = "mine"
    with pytest.raises(UserError, match=r"dataset is 'mine', whose image_size is 16; gaussian_conv_vae takes"):
        config.validate(settings)


@pytest.mark.slow
def test_through_the_workflow_a_sphere_and_a_subspace_have_their_dimension(tmp_path, rng):
    """On average within 6 %. Log p is made up, and so no model is trained."""
    folder = workspace.create(tmp_path / "engram")
    np.save(folder / "log_px.npy", rng.normal(size=(20, 800)))
    np.save(folder / "in_training.npy", rng.permuted(np.arange(20) % 2 * np.ones((800, 1), int), axis=1).T)
    given = {"log_px": "log_px.npy", "membership": {"in_training": "in_training.npy"}, "seed": 42}
    settings = workspace.read(folder)
    for name in ("sphere", "subspace"):
        settings["datasets"][name] = DEFINED[name]
        settings["experiments"][name] = given | {"dataset": name, "analyses": ["data_dimension"]}
    workspace.write(folder, settings | {"run": ["sphere", "subspace"]})
    asked = [
        f"results/{name}/{file}"
        for name in ("sphere", "subspace")
        for file in ("figures/data_dimension.png", "measures.h5")
    ]
    run = workspace.snakemake(folder, *asked)
    assert run.returncode == 0, run.stdout
    for name, dimension in (("sphere", 3), ("subspace", 4)):
        found = engram.load(folder / "results" / name).analyses["data_dimension"]
        assert found["lid_data"].mean() == pytest.approx(dimension, rel=0.06)
        assert (found["dimension"] == dimension).all() and found.sizes["sample"] == 800
        table = artifacts.read(folder / f"results/{name}/measures.h5", "measures")
        np.testing.assert_array_equal(table["lid_data"], found["lid_data"])
