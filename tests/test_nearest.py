"""The nearest different points against scikit-learn on distinct points, with every point repeated, and in small blocks."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from engram.geometry import nearest
from engram.geometry.nearest import nearest_different, nearest_others


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (90, 12)).astype(np.uint8)


def by_scikit_learn(points, k):
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points.astype(float)).kneighbors()


@pytest.mark.parametrize("block", [7, 45, 2048])
def test_neighbours_are_scikit_learns(images, block, monkeypatch):
    monkeypatch.setattr(nearest, "BLOCK", block)
    distance, index = by_scikit_learn(images, 11)
    for found in (nearest_others(images, 11), nearest_different(images, 11)):
        np.testing.assert_allclose(found.distance, distance, rtol=1e-12)
        np.testing.assert_array_equal(found.index, index)


@pytest.mark.parametrize("block", [7, 2048])
@pytest.mark.parametrize("kind", ["levels", "numbers far from 0"])
def test_repeated_points_change_nothing(images, kind, block, monkeypatch, rng):
    monkeypatch.setattr(nearest, "BLOCK", block)
    points = images if kind == "levels" else 1e5 + rng.normal(size=(90, 12))
    alone = nearest_different(points, 11)
    rows = rng.permutation(np.concatenate([np.arange(90), np.arange(90), np.repeat([3, 4], 50)]))
    repeated = nearest_different(points[rows], 11)
    np.testing.assert_array_equal(repeated.distance, alone.distance[rows])
    np.testing.assert_array_equal(points[rows][repeated.index], points[alone.index][rows])
    first_of = np.array([np.flatnonzero(rows == row)[0] for row in range(90)])
    np.testing.assert_array_equal(repeated.index, first_of[alone.index[rows]])


def test_a_large_mean_costs_no_digits(rng):
    points = rng.normal(size=(50, 4))
    distance, _ = by_scikit_learn(points, 5)
    np.testing.assert_allclose(nearest_different(points + 2.0**20, 5).distance, distance, rtol=1e-7)


def test_a_single_level_makes_two_images(images):
    images[1] = images[0]
    images[1, 0] ^= 1
    assert nearest_different(images, 3).distance[0, 0] == 1


def test_zeros_of_either_sign_are_equal():
    assert nearest_different(np.array([[0.0], [-0.0], [2.0]]), 5).distance.tolist() == [[2.0]] * 3


def test_of_few_points_all_others_are_neighbours_and_of_one_none(images):
    assert nearest_others(images[:3], 5).distance.shape == (3, 2)
    assert nearest_different(np.repeat(images[:1], 4, axis=0), 5).distance.shape == (4, 0)
