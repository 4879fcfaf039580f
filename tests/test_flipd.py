"""FLIPD against its closed form on normal distributions (methods.md O10) and a mixture, whose noise is known."""

import numpy as np
import pytest
import torch

from engram.geometry.flipd import flipd, signs
from engram.models.diffusion import alpha_and_sigma

RANK_3 = torch.tensor([1.0] * 3 + [0.0] * 7, dtype=torch.float64)
AT_MEAN, AT_ONES = torch.zeros(10, dtype=torch.float64), torch.tensor([1.0, 1, 1] + [0] * 7, dtype=torch.float64)


def of_normal(variances):
    def predict(z, gamma):
        alpha, sigma = alpha_and_sigma(gamma[:, None])
        return sigma * z / (alpha**2 * variances + sigma**2)

    return predict


def gamma_of(b):
    """psi^2 = exp(-B), s^2 = 1 - exp(-B): gamma = log s^2 / psi^2 = log(exp(B) - 1)."""
    return float(np.log(np.expm1(b)))


@pytest.mark.parametrize(
    ("b", "at_mean", "at_ones"), [(1e-4, 2.99970, 3.00000), (0.1, 2.71451, 2.97283), (1.0, 1.10364, 1.80127)]
)
def test_values_of_a_normal_distribution_of_rank_three(b, at_mean, at_ones):
    x = torch.stack([AT_MEAN, AT_ONES])
    assert flipd(of_normal(RANK_3), x, gamma_of(b)).value == pytest.approx([at_mean, at_ones], abs=6e-6)


@pytest.mark.parametrize("gamma", np.linspace(-13, 5, 7))
def test_any_normal_distribution_at_every_noise(gamma):
    variances = torch.tensor(np.random.default_rng(0).gamma(1, 1, 12))
    x = torch.tensor(np.random.default_rng(1).normal(size=(5, 12)))
    psi2, s2 = 1 / (1 + np.exp(gamma)), 1 / (1 + np.exp(-gamma))
    total = psi2 * variances + s2
    known = (psi2 * variances / total + s2 * psi2 * x**2 / total**2).sum(1)
    assert flipd(of_normal(variances), x, float(gamma)).value == pytest.approx(known.numpy(), rel=1e-10)


def test_signs_estimate_the_trace_within_their_standard_error():
    """In turned axes, where signs do not give the trace exactly; the variance is 2 sum of squares off the diagonal."""
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    straight = of_normal(torch.linspace(0.01, 2, 12, dtype=torch.float64))

    def predict(z, gamma):
        return straight(z @ turn, gamma) @ turn.T

    x = torch.ones(1, 12, dtype=torch.float64).expand(400, 12)
    probes = signs((50, 400, 12), torch.Generator().manual_seed(1), x)
    exact, (value, error) = flipd(predict, x[:1], -2.0).value, flipd(predict, x, -2.0, probes)
    from_truth = (value - exact) / error
    assert abs(float(from_truth.mean())) < 4 / 400**0.5
    assert float(from_truth.std()) == pytest.approx(1, abs=0.15)
    sigma = float(alpha_and_sigma(torch.tensor(-2.0, dtype=torch.float64))[1])
    jacobian = (
        turn
        @ torch.diag(sigma / (np.exp(0) * (1 - sigma**2) * torch.linspace(0.01, 2, 12) + sigma**2).double())
        @ turn.T
    )
    off = jacobian - torch.diag(jacobian.diag())
    assert float(error.mean()) == pytest.approx(sigma * float((2 * (off**2).sum() / 50) ** 0.5), rel=0.05)


def test_images_keep_their_shape_and_their_own_values():
    """As images of (1, 3, 4), one by one or together."""
    variances = torch.linspace(0, 1, 12, dtype=torch.float64)

    def predict(z, gamma):
        return of_normal(variances)(z.flatten(1), gamma).reshape(z.shape)

    x = torch.randn(6, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = flipd(predict, x, -3.0).value
    assert torch.equal(together, torch.cat([flipd(predict, x[[i]], -3.0).value for i in range(6)]))
