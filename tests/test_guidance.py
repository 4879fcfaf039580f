"""The guidance vector of a class-conditional mixture of normals, whose p(c | z) is known, and what it does in sampling."""

import pytest
import torch

from engram.geometry.guidance import guidance, guidance_norm, guided_sampling
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


GAMMAS = torch.linspace(6, -6, 401, dtype=torch.float64)


def test_sampling_at_scale_one_is_of_the_class_and_at_zero_of_all():
    """At scale 1, DDIM moves each z with its quantile of a normal distribution: as far from the mean, in standard deviations."""
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, last = (alpha_and_sigma(gamma) for gamma in (GAMMAS[0], GAMMAS[-1]))
    at_first, at_last = (alpha**2 * VARIANCE[1] + sigma**2 for alpha, sigma in (first, last))
    known = last[0] * MEAN[1] + (at_last / at_first).sqrt() * (z - first[0] * MEAN[1])
    assert torch.allclose(guided_sampling(given_class(1), without_class, z, GAMMAS, 1.0).z, known, atol=0.03)
    own = guided_sampling(without_class, without_class, z, GAMMAS)
    without = guided_sampling(given_class(1), without_class, z, GAMMAS, 0.0)
    assert torch.equal(without.z, own.z)
    assert not own.norm.any()


def test_norms_are_those_at_each_step(z):
    """The first at z itself; with two equal gammas nothing moves, so that the second is the same."""
    gammas = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    sampled = guided_sampling(given_class(0), without_class, z, gammas)
    known = guidance_norm(given_class(0), without_class, z, 1.0)
    assert sampled.norm.shape == (2, 6)
    assert torch.allclose(sampled.norm, known.expand(2, 6), rtol=1e-12)


def test_a_stronger_guidance_ends_where_the_class_is_surer():
    z = torch.randn(200, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ends = (guided_sampling(given_class(1), without_class, z, GAMMAS, scale).z for scale in (0.0, 1.0, 3.0))
    sure = [float(log_posterior(end, GAMMAS[-1])[:, 1].mean()) for end in ends]
    assert sure[0] < sure[1] < sure[2]
