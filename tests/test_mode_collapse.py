"""Shares, coverage and classes of nearest training images, by hand and for samplers whose collapse is known."""

import numpy as np
import pytest

from engram.analyses import mode_collapse
from engram.analyses.mode_collapse import class_shares, coverage, coverage_range, share
from engram.files import inputs
from synthetic import Sampler, answered, experiment, given


def test_shares_count_the_draws_of_each_image():
    np.testing.assert_allclose(share(np.array([2, 2, 0, 2]), 4), [0.25, 0, 0.75, 0])


def test_coverage_rises_with_every_new_image_only():
    np.testing.assert_allclose(coverage(np.array([3, 3, 1, 3, 0]), 5), [0.2, 0.2, 0.4, 0.4, 0.6])


def test_coverage_of_uniform_draws_is_that_of_the_occupancy_problem(rng):
    """n (1 - (1 - 1/n)^size) of n boxes hold at least one of `size` balls."""
    n, size = 200, 150
    found = coverage_range(rng.integers(n, size=300 * size), n, size)
    assert found.estimate == pytest.approx(1 - (1 - 1 / n) ** size, abs=0.005)
    assert found.low < found.estimate < found.high


def test_class_shares_are_weighted():
    classes, shares = class_shares(np.array([7, 7, 2]), np.array([0.1, 0.1, 0.6]))
    np.testing.assert_array_equal(classes, [2, 7])
    np.testing.assert_allclose(shares, [0.75, 0.25])


def collapsed(tmp_path, kept):
    """The answer if the model only ever samples the first `kept` training images."""
    asked = given(experiment(tmp_path))
    train = inputs.images(asked.dataset, asked.first["sample"].values)
    return answered(mode_collapse.analyse(given(experiment(tmp_path), Sampler(train[:kept], noise=0))))


@pytest.mark.slow
def test_a_model_that_samples_ten_images_covers_ten(tmp_path):
    found = collapsed(tmp_path, kept=10)
    assert (found["share"].values > 0).sum() == 10
    assert found["coverage_high"] <= 10 / found.sizes["sample"] < found["coverage_test"]
    assert found["share"].sum() == pytest.approx(1)


@pytest.mark.slow
def test_a_model_that_samples_the_training_images_uniformly_covers_what_chance_covers(tmp_path):
    found = collapsed(tmp_path, kept=None)
    by_chance = 1 - (1 - 1 / found.sizes["sample"]) ** found.sizes["test"]
    assert found["coverage_low"] < by_chance < found["coverage_high"]
    np.testing.assert_allclose(found["class_share_samples"], found["class_share_train"], atol=0.03)
