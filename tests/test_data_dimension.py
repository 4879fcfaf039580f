"""Dimension of data: scikit-dimension's values, manifolds of known dimension, coverage of standard errors; the analysis."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text
from scipy.stats import gamma

from engram.analyses.data_dimension import MEASURES, WITH_ERROR, analyse
from engram.catalogue import ANALYSES
from engram.figures.data_dimension import data_dimension as draw
from engram.geometry.data_dimension import (
    Estimate,
    centred_grams,
    local_two_nn,
    maximum_likelihood,
    pooled,
    principal_components,
    simplex_skewness,
    tight,
    two_nn,
    two_nn_maximum_likelihood,
)
from engram.geometry.nearest import nearest_different
from synthetic import answered, experiment, given


def on_sphere(rng, n, dimension):
    points = rng.normal(size=(n, dimension + 1))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def in_ball(rng, n, dimension):
    return on_sphere(rng, n, dimension - 1) * rng.random((n, 1)) ** (1 / dimension)


def embedded(points, rng, ambient=10):
    return points @ np.linalg.qr(rng.normal(size=(ambient, points.shape[1])))[0].T


def all_of(points):
    """Values of every estimator, by scikit-dimension's names, pointwise but for TwoNN."""
    nearest = nearest_different(points, 100)
    grams = np.concatenate(list(centred_grams(points, nearest.index)))
    distance = nearest.distance[:, :20]
    return {
        "MLE": maximum_likelihood(distance).value,
        "TwoNN": two_nn(nearest.distance),
        "ESS": simplex_skewness(grams).value,
        "TLE": tight(distance, grams[:, :20, :20]),
        "lPCA": principal_components(grams),
    }


def coverage(estimate, dimension):
    return (np.abs(estimate.value - dimension) <= 1.96 * estimate.standard_error).mean()


# What scikit-dimension 0.5.0 says of these points; the slow test below asks it itself.
KNOWN = {"MLE": 4.517121, "TwoNN": 4.592734, "ESS of 25": 4.749734, "TLE": 5.011819, "lPCA": 5.0}


def points_of_known(rng):
    return embedded(in_ball(rng, 1000, 5), rng)


def test_values_are_those_that_scikit_dimension_has_had():
    found = all_of(points_of_known(np.random.default_rng(0)))
    found |= {"MLE": pooled(found["MLE"]), "ESS of 25": found["ESS"][:25]}
    for name, value in KNOWN.items():
        assert np.mean(found[name]) == pytest.approx(value, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # its gaps of variances divide by 0
def test_values_are_those_of_scikit_dimension(rng):
    skdim = pytest.importorskip("skdim", reason="needs scikit-dimension: the extra geometry")
    from sklearn.neighbors import NearestNeighbors

    theirs = skdim.id
    ball = np.hstack([skdim.datasets.hyperBall(n=1000, d=5, random_state=0), np.zeros((1000, 5))])
    sphere = skdim.datasets.hyperSphere(n=1000, d=5, random_state=0)
    found = [all_of(ball), all_of(sphere)]
    for each, (mle, of_two, ess) in zip(found, [(4.4965, 4.6418, 4.7208), (4.7505, 4.7483, 5.2719)], strict=True):
        values = pooled(each["MLE"]), each["TwoNN"], each["ESS"].mean()
        np.testing.assert_allclose(values, (mle, of_two, ess), atol=5e-5)
    assert found[0]["TLE"].mean() == pytest.approx(5.0038, abs=5e-5)
    assert two_nn_maximum_likelihood(nearest_different(ball, 2).distance) == pytest.approx(4.6836, abs=5e-5)
    for points in (ball, sphere, points_of_known(np.random.default_rng(0)), rng.normal(size=(300, 12))):
        ours = all_of(points)
        np.testing.assert_allclose(ours["MLE"], theirs.MLE().fit(points, n_neighbors=20).dimension_pw_, rtol=1e-9)
        np.testing.assert_allclose(ours["TwoNN"], theirs.TwoNN().fit(points).dimension_, rtol=1e-9)
        np.testing.assert_allclose(ours["TLE"], theirs.TLE().fit(points, n_neighbors=20).dimension_pw_, rtol=1e-6)
        neighbours = NearestNeighbors(n_neighbors=100).fit(points).kneighbors(return_distance=False)
        np.testing.assert_array_equal(ours["lPCA"], theirs.lPCA().fit_pw(points, neighbours).dimension_pw_)
        skewness = [theirs.ESS(random_state=0).fit_once(points[each]).dimension_ for each in neighbours[:40]]
        np.testing.assert_allclose(ours["ESS"][:40], skewness, rtol=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 5])
@pytest.mark.parametrize("shape", [on_sphere, in_ball])
def test_spheres_and_subspaces_have_their_dimension(shape, dimension, rng):
    """Within 12 %, with 800 points; what looks at the directions of 100 neighbours of a sphere sees its curvature, too."""
    found = all_of(embedded(shape(rng, 800, dimension), rng))
    above = {"ESS": 0.25, "lPCA": 1} if shape is on_sphere else {}
    for name, values in found.items():
        value = pooled(values) if name == "MLE" else np.median(values)
        assert dimension * 0.88 <= value <= dimension * 1.12 + above.get(name, 0), (name, value)


def test_the_error_of_maximum_likelihood_is_that_of_a_gamma_variable(rng):
    """Of 20 distances in an even neighbourhood, whose coverage is an integral."""
    least, most = (19 - 1.96 * 19 / 17**0.5, 19 + 1.96 * 19 / 17**0.5)
    for dimension in (1, 3, 14):
        estimate = maximum_likelihood(np.sort(rng.random((20_000, 20)) ** (1 / dimension), axis=1))
        assert coverage(estimate, dimension) == pytest.approx(np.diff(gamma(19).cdf([least, most]))[0], abs=0.005)
        assert estimate.value.mean() == pytest.approx(dimension * 19 / 18, rel=0.01)
        assert np.mean(estimate.standard_error**2) ** 0.5 == pytest.approx(estimate.value.std(), rel=0.1)


def test_standard_errors_cover_the_dimension_of_a_sphere(rng):
    """Of maximum likelihood in 95 %; of TwoNN, whose ratios hang together a little, in somewhat fewer points."""
    nearest = nearest_different(on_sphere(rng, 3000, 3), 20)
    assert coverage(maximum_likelihood(nearest.distance), 3) == pytest.approx(0.95, abs=0.03)
    assert 0.85 < coverage(local_two_nn(nearest.distance, nearest.index), 3) < 0.95


@pytest.mark.parametrize("dimension", [2, 8])
def test_the_jackknife_of_simplex_skewness_errs_to_the_safe_side(dimension, rng):
    patches = in_ball(rng, 300 * 100, dimension).reshape(300, 100, dimension)
    patches -= patches.mean(axis=1, keepdims=True)
    found = simplex_skewness(patches @ patches.transpose(0, 2, 1))
    assert coverage(found, dimension) > 0.9 and found.value.mean() == pytest.approx(dimension, rel=0.01)
    assert 1 < found.standard_error.mean() / found.value.std() < 1.7


def test_a_jackknife_that_leaves_out_one_neighbour_by_hand(rng):
    vectors = rng.normal(size=(30, 4))
    found = simplex_skewness((vectors @ vectors.T)[None])
    without = [
        simplex_skewness((part @ part.T)[None]).value[0] for part in (np.delete(vectors, i, 0) for i in range(30))
    ]
    assert found.standard_error[0] == pytest.approx(np.sqrt(29 * np.var(without)), rel=1e-9)


def test_neighbours_in_a_line_have_dimension_one(rng):
    vectors = rng.normal(size=(50, 1)) * np.ones(3)
    assert simplex_skewness((vectors @ vectors.T)[None]).value[0] == pytest.approx(1, abs=1e-4)
    assert principal_components((vectors @ vectors.T)[None]).tolist() == [1]


def test_equally_far_neighbours_have_no_finite_dimension_by_their_distances():
    found = all_of(np.eye(120))
    assert (
        np.isinf(found["MLE"]).all()
        and np.isinf(found["TLE"]).all()
        and found["TwoNN"] == pooled(found["MLE"]) == np.inf
    )
    nearest = nearest_different(np.eye(120), 20)
    assert np.isinf(local_two_nn(nearest.distance, nearest.index).value).all()
    assert two_nn_maximum_likelihood(nearest.distance) == np.inf
    assert (found["lPCA"] == 99).all() and np.isfinite(found["ESS"]).all()


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return given(experiment(tmp_path_factory.mktemp("discs"), n=300, test=20))


def test_every_image_twice_or_thrice_gives_what_each_once_gives(asked):
    once = answered(analyse(asked))
    train = np.arange(300)
    for times in (2, 3):
        rows = np.concatenate([np.tile(train, times), np.arange(300, 320)])
        scores = {name: scored.isel(sample=np.tile(train, times)) for name, scored in asked.scores.items()}
        scores = {name: scored.assign_coords(sample=np.arange(300 * times)) for name, scored in scores.items()}
        repeated = dataclasses.replace(asked, dataset=asked.dataset.isel(sample=rows), scores=scores)
        found = answered(analyse(repeated))
        for name in ANALYSES["data_dimension"].columns:
            expected = once[name] * times if name == "equal_images" else once[name]
            np.testing.assert_array_equal(found[name], np.tile(expected, times))
        np.testing.assert_allclose(found["pooled_dimension"], once["pooled_dimension"], rtol=1e-12)


def test_columns_are_the_estimators_of_the_images_that_are_scored(asked):
    answer = analyse(asked)
    found = answered(answer)
    nearest = nearest_different(asked.dataset["images"].values[:300], 20)
    expected = maximum_likelihood(nearest.distance)
    np.testing.assert_array_equal(found["lid_data"], expected.value)
    np.testing.assert_array_equal(found["lid_data_standard_error"], expected.standard_error)
    assert found["pooled_dimension"][2] == pytest.approx(300 / (1 / expected.value).sum())
    assert not answer.lacking and {*answer.seconds} >= {*MEASURES}
    assert {*ANALYSES["data_dimension"].measures} == {*MEASURES}
    declared = [*MEASURES, *(f"{name}_standard_error" for name in WITH_ERROR), "equal_images"]
    assert list(ANALYSES["data_dimension"].columns) == declared
    some = {name: scored.isel(sample=[7, 3]) for name, scored in asked.scores.items()}
    of_some = answered(analyse(dataclasses.replace(asked, scores=some)))
    np.testing.assert_array_equal(of_some["lid_data"], found["lid_data"][[7, 3]])


@pytest.mark.parametrize("n, lacking", [(60, {"lid_data_ess", "lid_data_pca"}), (20, {*MEASURES}), (1, {*MEASURES})])
def test_too_few_different_images_are_said(n, lacking, tmp_path):
    asked = given(experiment(tmp_path, n=n, test=5))
    answer = analyse(asked)
    assert {*answer.lacking} == lacking
    assert all(f"of which there are {n}" in reason for reason in answer.lacking.values())
    for name in MEASURES:
        assert np.isnan(answered(answer)[name]).all() == (name in lacking)
    drawn = draw(
        xr.Dataset(dict(answer.variables), attrs={"lacking": json.dumps(answer.lacking)}), asked.scores, asked.dataset
    )
    assert any("different training images" in text.get_text() for text in drawn.findobj(Text))


def test_estimates_are_held_against_a_known_dimension(asked):
    truth = np.where(np.arange(320) % 2, 2.0, 3.0)
    truth[5] = np.nan
    dataset = asked.dataset.assign(dimension=("sample", truth))
    found = answered(analyse(dataclasses.replace(asked, dataset=dataset)))
    assert found["known_dimension"].values.tolist() == [2, 3] and found["images"].values.tolist() == [149, 150]
    value, error = found["lid_data_ess"].values, found["lid_data_ess_standard_error"].values
    threes = np.arange(300) % 2 == 0
    at = found.sel(known_dimension=3, measure="lid_data_ess")
    assert at["mean_estimate"] == pytest.approx(value[threes].mean())
    assert at["root_mean_square_error"] == pytest.approx(np.sqrt(np.mean((value[threes] - 3) ** 2)))
    assert at["coverage"] == pytest.approx(coverage(Estimate(value[threes], error[threes]), 3))
    assert np.isnan(found["coverage"].sel(measure="lid_data_pca")).all()
    drawn = draw(found.assign_attrs(lacking="{}"), asked.scores, dataset)
    texts = {text.get_text() for text in drawn.findobj(Text)}
    assert {"Estimate and truth", "2\n(149)", "3\n(150)"} <= texts


def test_images_of_a_single_bright_pixel_each_are_drawn_too(asked):
    images = asked.dataset["images"].values.copy()
    images[:64] = 255 * np.eye(64)
    scores = {name: scored.isel(sample=slice(64)) for name, scored in asked.scores.items()}
    few = dataclasses.replace(asked, dataset=asked.dataset.assign(images=(("sample", "pixel"), images)), scores=scores)
    few = dataclasses.replace(few, dataset=few.dataset.isel(sample=slice(64)))
    answer = analyse(few)
    drawn = draw(answered(answer).assign_attrs(lacking=json.dumps(answer.lacking)), scores, few.dataset)
    drawn.canvas.draw()
    assert np.isinf(answered(answer)["lid_data"]).all()


def test_the_figure_shows_images_of_lowest_and_highest_dimension(asked):
    found = answered(analyse(asked))
    drawn = draw(found.assign_attrs(lacking="{}"), asked.scores, asked.dataset)
    texts = [text.get_text() for text in drawn.findobj(Text)]
    lowest, highest = found["lid_data"].values.argmin(), found["lid_data"].values.argmax()
    assert "Estimates" in texts and "lowest" in texts and "highest" in texts
    for image in (lowest, highest):
        assert f"{image % 10}\n{found['lid_data'].values[image]:.1f}" in texts
