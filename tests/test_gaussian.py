"""Gaussian pixels against scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from engram.models.pixels import gaussian


@pytest.fixture
def values(rng):
    return rng.normal(size=(6, 50)), rng.normal(size=(3, 6, 50)), rng.uniform(-7, 3, size=(3, 6, 50))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_the_sum_of_log_densities_is_scipys(values, dtype, tolerance):
    x, mean, log_variance = (torch.tensor(value, dtype=dtype) for value in values)
    expected = norm(values[1], np.exp(values[2] / 2)).logpdf(values[0]).sum(-1)
    np.testing.assert_allclose(gaussian.log_prob(x, mean, log_variance).numpy(), expected, rtol=tolerance)


def test_one_log_variance_may_serve_all_pixels(values):
    x, mean, _ = map(torch.from_numpy, values)
    expected = norm(values[1], np.exp(-1)).logpdf(values[0]).sum(-1)
    np.testing.assert_allclose(gaussian.log_prob(x, mean, torch.tensor(-2.0)).numpy(), expected, rtol=1e-6)


def test_draws_have_the_mean_and_the_variance_asked_for():
    mean, log_variance = torch.tensor([1.0, -2.0]).expand(100_000, -1), torch.tensor([-4.0, 1.0])
    drawn = gaussian.draw(mean, log_variance, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), mean[0], rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.var(0).log(), log_variance, rtol=0, atol=0.02)
