"""FLD's mixture: its density against scipy's, widths with a closed form, and the gap of copies and of fresh samples."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from engram.analyses import copying, generalization_gap
from engram.analyses.generalization_gap import (
    LEAST_WIDTH,
    Mixture,
    density_under_samples,
    fitted,
    gap,
    log_density,
    standardized,
)


def mixture(centres, widths) -> Mixture:
    return Mixture(torch.as_tensor(centres, dtype=torch.float64), 2 * torch.as_tensor(widths).double().log(), 0)


def gap_of(samples, training, held_out):
    found = fitted(samples, training)
    return gap(log_density(training, found), log_density(held_out, found))


def test_densities_are_those_of_scipy(rng, monkeypatch):
    images, centres, widths = rng.normal(size=(30, 4)), rng.normal(size=(7, 4)), rng.uniform(0.3, 2, 7)
    monkeypatch.setattr(generalization_gap, "PAIRS", 7 * 4)  # blocks of 4 images
    of_normal = np.array([multivariate_normal(c, w**2).logpdf(images) for c, w in zip(centres, widths, strict=True)])
    expected = (logsumexp(of_normal, axis=0) - np.log(7)) / 4
    np.testing.assert_allclose(log_density(images, mixture(centres, widths)), expected, rtol=1e-10)
    np.testing.assert_allclose(
        density_under_samples(images, mixture(centres, widths)), of_normal.max(0) / 4, rtol=1e-10
    )


def test_the_width_of_a_normal_far_from_all_others_is_that_of_its_images(rng):
    """Its maximum-likelihood variance is the mean of d^2 / dimensions over them. The origin's normal has the rest."""
    near_one, near_two = 100 + 0.3 * rng.normal(size=(50, 3)), -100 + 0.7 * rng.normal(size=(80, 3))
    found = fitted(
        np.array([[100.0] * 3, [-100.0] * 3]), np.concatenate([near_one, near_two, rng.normal(size=(20, 3))])
    )
    expected = [((near_one - 100) ** 2).mean(), ((near_two + 100) ** 2).mean()]
    np.testing.assert_allclose(found.log_variance.exp(), expected, rtol=1e-6)


def test_widths_maximize_the_likelihood(rng, monkeypatch):
    """From there another optimizer finds no likelier ones, for normals that overlap."""
    monkeypatch.setattr(generalization_gap, "TOLERANCE", 1e-12)
    monkeypatch.setattr(generalization_gap, "ITERATIONS", 5000)
    samples, training = rng.normal(size=(4, 2)), rng.normal(size=(60, 2))
    centres = np.concatenate([samples, np.zeros((1, 2))])
    squared = ((training[:, None] - centres) ** 2).sum(axis=2)

    def loss(log_variance):
        return -logsumexp(-squared / 2 / np.exp(log_variance) - log_variance, axis=1).mean()

    widths = fitted(samples, training).log_variance.numpy()
    start = np.log(squared[:, 4].min() / 2)  # the origin's width is not told, and is near where it starts
    of_origin = minimize(lambda last: loss([*widths, last[0]]), [start])
    best = minimize(loss, [*widths, *of_origin.x])
    np.testing.assert_allclose(best.x[:4], widths, atol=1e-3)
    assert best.fun == pytest.approx(of_origin.fun, abs=1e-7)


def test_an_exact_copy_has_the_least_width(rng):
    training = rng.normal(size=(40, 5))
    found = fitted(training[:10], training)
    np.testing.assert_allclose(found.log_variance.exp().sqrt(), LEAST_WIDTH)
    at_most = -np.log(LEAST_WIDTH) - np.log(2 * np.pi) / 2
    np.testing.assert_allclose(density_under_samples(training[:10], found), at_most)


def test_the_gap_tells_copies_from_fresh_samples_and_they_from_a_model_that_smooths(rng):
    """Fresh samples have what test images have in their place; copies have thousands of times as much, doubled images or not."""
    training, held_out, fresh = (rng.normal(size=(n, 8)) for n in (300, 200, 200))
    held_out, training, fresh = standardized(held_out, training, fresh)
    copies = training[:200] + 1e-3 * rng.normal(size=(200, 8))
    of_fresh, of_copies = (gap_of(samples, training, held_out) for samples in (fresh, copies))
    assert -15 < of_fresh.estimate < 5
    assert of_copies.estimate < -10_000 and of_copies.low < of_copies.estimate < of_copies.high
    doubled = gap_of(copies, np.concatenate([training, training]), held_out)
    assert doubled.estimate == pytest.approx(of_copies.estimate, rel=0.05)
    wide = gap_of(3 * fresh, training, held_out)
    assert -5 < wide.estimate < 5


def test_the_interval_of_the_gap_is_that_of_a_difference_of_means(rng):
    """100 (mean of 80 - mean of 50), with normal quantiles; it holds the true difference in 95 of 100 draws."""
    training, held_out = np.array([1.0, 3.0]), np.array([0.0, 0.0, 3.0])
    found = gap(training, held_out)
    half = 1.959964 * np.sqrt(1 / 2 + 2 / 3)
    np.testing.assert_allclose(found, 100 * np.array([-1, -1 - half, -1 + half]), rtol=1e-6)
    holds = [gap(rng.normal(1, 2, 80), rng.normal(0, 1, 50)) for _ in range(1000)]
    assert 0.93 < np.mean([each.low < -100 < each.high for each in holds]) < 0.97


def test_no_more_distances_are_held_at_once_than_is_said(rng, monkeypatch):
    """Of 300 images and 40 samples, here and in the search for neighbours: 12,000, and 500 at once."""
    sizes, product = [], torch.addmm
    monkeypatch.setattr(
        torch, "addmm", lambda *given, **more: sizes.append(given[0].numel()) or product(*given, **more)
    )
    monkeypatch.setattr(generalization_gap, "PAIRS", 500)
    monkeypatch.setattr(copying, "PAIRS", 500)
    training, samples = rng.normal(size=(300, 3)), rng.normal(size=(40, 3))
    density_under_samples(training, fitted(samples, training))
    copying.nearest_different(samples, training, np.arange(300), 5)
    assert 0 < max(sizes) <= 500


def test_the_order_of_images_changes_nothing(rng):
    training, samples = rng.normal(size=(50, 3)), rng.normal(size=(40, 3))
    order = rng.permutation(50)
    shuffled = density_under_samples(training[order], fitted(rng.permutation(samples), training[order]))
    np.testing.assert_allclose(shuffled, density_under_samples(training, fitted(samples, training))[order], rtol=1e-6)


def test_features_are_standardized_by_held_out_ones_and_constant_ones_stay():
    held_out, training = standardized(np.array([[1.0, 5], [3, 5]]), np.array([[2.0, 6]]))
    np.testing.assert_array_equal(held_out, [[-1, 0], [1, 0]])
    np.testing.assert_array_equal(training, [[0, 1]])
