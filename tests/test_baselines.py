"""Zero-training baselines against scikit-learn, numpy's hat matrix, and the closed form of what a normal density memorizes."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from engram.analyses import baselines
from engram.analyses.baselines import distance_from_class_mean, distance_to_nearest, leverage
from engram.geometry import nearest


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (90, 12)).astype(np.uint8)


@pytest.mark.parametrize("block", [7, 45, 2048])
def test_distances_are_scikit_learns(images, block, monkeypatch):
    monkeypatch.setattr(nearest, "BLOCK", block)
    distance, _ = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(images / 255).kneighbors(images / 255)
    np.testing.assert_allclose(distance_to_nearest(images), distance[:, 1:].mean(axis=1), rtol=1e-12)


def test_copies_count_as_neighbours_at_distance_zero(images):
    copied = np.concatenate([images, images[:1].repeat(4, axis=0), images[1:2]])
    distance = distance_to_nearest(copied)
    assert distance[0] == pytest.approx(np.sqrt(((images[0] / 255 - images[1:] / 255) ** 2).sum(axis=1)).min() / 5)
    alone = distance_to_nearest(images)
    assert 0 < distance[1] < alone[1]


def test_of_fewer_images_all_others_are_neighbours():
    three = np.array([[0, 0], [255, 0], [0, 255]], dtype=np.uint8)
    np.testing.assert_allclose(distance_to_nearest(three), [1, (1 + 2**0.5) / 2, (1 + 2**0.5) / 2])


@pytest.mark.parametrize("block", [7, 2048])
def test_leverage_is_the_diagonal_of_the_hat_matrix(images, block, monkeypatch):
    monkeypatch.setattr(baselines, "BLOCK", block)
    design = np.column_stack([np.ones(len(images)), PCA(4).fit_transform(images / 255)])
    expected = np.diag(design @ np.linalg.inv(design.T @ design) @ design.T)
    np.testing.assert_allclose(leverage(images, components=4), expected, rtol=1e-8)
    assert leverage(images, components=4).sum() == pytest.approx(1 + 4)


def test_with_all_components_it_tells_what_a_normal_density_memorizes_of_each_image(images):
    """The score of leaving out an image of n, with h = n leverage - 1 and d pixels (closed form for maximum likelihood)."""
    n, d = images.shape
    h = n * leverage(images) - 1
    left = h / (1 - h / (n - 1))
    score = 0.5 * (d * np.log(n / (n - 1)) + np.log(1 - h / (n - 1)) + n / (n - 1) * left - h)

    def log_p(at, fitted):
        return multivariate_normal.logpdf(at, fitted.mean(axis=0), np.cov(fitted.T, bias=True))

    x = images / 255
    expected = [log_p(x[i], x) - log_p(x[i], np.delete(x, i, axis=0)) for i in range(n)]
    np.testing.assert_allclose(score, expected, rtol=1e-6)


def test_pixels_that_never_change_add_nothing(images):
    flat = np.concatenate([images, np.full_like(images, 9)], axis=1)
    np.testing.assert_allclose(leverage(flat), leverage(images), rtol=1e-8)
    np.testing.assert_allclose(leverage(np.full_like(images, 9)), 1 / len(images))


def test_distance_from_the_mean_of_the_class_by_hand():
    images = np.array([[0, 0], [102, 0], [0, 255], [0, 153], [7, 7]], dtype=np.uint8)
    distance = distance_from_class_mean(images, np.array([3, 3, 0, 0, -1]))
    np.testing.assert_allclose(distance, [0.2, 0.2, 0.2, 0.2, np.nan])
