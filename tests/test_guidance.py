"""The guidance vector of a class-conditional mixture of normals, whose p(c | z) is known."""

import pytest
import torch

from engram.geometry.guidance import guidance, guidance_norm
from engram.models.diffusion import alpha_and_sigma

CLASSES = 3
WEIGHT = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEAN = torch.tensor([[-1.0, 0.5, 0, 0], [1, 1, 0, 2], [0, -2, 1, 0]], dtype=torch.float64)
VARIANCE = torch.tensor([0.1, 0.4, 1.5], dtype=torch.float64)


def log_given_class(z, gamma):
    """log p(z | c) up to a constant, (n, classes), of mean alpha MEAN and variance alpha^2 VARIANCE + sigma^2."""
    alpha, sigma = alpha_and_sigma(gamma)
    variance = alpha**2 * VARIANCE + sigma**2
    return -0.5 * (z[:, None] - alpha * MEAN).square().sum(-1) / variance - 0.5 * z.shape[1] * variance.log()


def log_posterior(z, gamma):
    """log p(c | z), (n, classes), by Bayes' rule."""
    return torch.log_softmax(log_given_class(z, gamma) + WEIGHT.log(), 1)


def given_class(label):
    def predict(z, gamma):
        alpha, sigma = alpha_and_sigma(gamma[0])
        return sigma * (z - alpha * MEAN[label]) / (alpha**2 * VARIANCE[label] + sigma**2)

    return predict


def without_class(z, gamma):
    """-sigma times the score of the mixture: noise given each class, weighted by p(c | z)."""
    weight = log_posterior(z, gamma[0]).exp()
    return sum(weight[:, [c]] * given_class(c)(z, gamma) for c in range(CLASSES))


@pytest.fixture
def z():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("gamma", [-12.0, -6.0, -2.0, 0.0, 3.0])
@pytest.mark.parametrize("label", range(CLASSES))
def test_guidance_is_minus_sigma_times_the_gradient_of_log_p_of_the_class(z, gamma, label):
    at = torch.tensor(gamma, dtype=torch.float64)
    z = z.requires_grad_()
    (gradient,) = torch.autograd.grad(log_posterior(z, at)[:, label].sum(), z)
    vector = guidance(given_class(label), without_class, z, gamma)
    sigma = alpha_and_sigma(at)[1]
    assert torch.allclose(-vector / sigma, gradient, rtol=1e-9, atol=1e-12)
    norm = guidance_norm(given_class(label), without_class, z, gamma)
    assert torch.allclose(norm, sigma * gradient.norm(dim=1), rtol=1e-9, atol=1e-12)


def test_norm_is_over_all_numbers_of_an_image():
    z = torch.zeros(2, 1, 3, 4)
    ones, zeros = (lambda z, gamma, value=value: torch.full_like(z, value) for value in (1.0, 0.0))
    assert guidance_norm(ones, zeros, z, 0.0).tolist() == pytest.approx([12**0.5] * 2)
