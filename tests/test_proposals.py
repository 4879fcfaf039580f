"""Proposals against posteriors known in closed form, or found by scipy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from latent_models import GaussianVAE, LinearVAE, small_digits, trained_on_digits
from scipy.optimize import minimize

from engram.laplace import curvature, laplace_proposal, log_joint, newton_step
from engram.proposals import Proposal, encoder_proposal


@pytest.fixture(scope="module")
def digits():
    return small_digits(600)


@pytest.fixture(scope="module")
def model(digits):
    return trained_on_digits(digits, latent_dim=4).eval().requires_grad_(False)


def test_log_prior_ratio_is_that_of_the_two_normal_densities():
    rng = torch.Generator().manual_seed(0)
    scale = torch.randn(5, 3, 3, generator=rng, dtype=torch.float64).triu() + 2 * torch.eye(3)
    proposal = Proposal(torch.randn(5, 3, generator=rng, dtype=torch.float64), scale, torch.zeros(5, dtype=torch.bool))
    noise = torch.randn(5, 7, 3, generator=rng, dtype=torch.float64)
    z = proposal.sample(noise)
    q = torch.distributions.MultivariateNormal(proposal.mean, scale @ scale.mT)
    prior = torch.distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(proposal.log_prior_ratio(z, noise), prior.log_prob(z) - q.log_prob(z))


def test_in_a_linear_model_the_laplace_proposal_is_the_posterior_wherever_the_encoder_starts():
    model = LinearVAE(pixels=20, latent_dim=4, encoder_shift=3.0).double()
    x = model.draw(6)
    proposal = laplace_proposal(model, x, newton_steps=1, proposal_scale=1.0)
    torch.testing.assert_close(proposal.mean, model.posterior_mean(x))
    covariance = torch.linalg.inv(model.precision()).expand(6, -1, -1)
    torch.testing.assert_close(proposal.scale @ proposal.scale.mT, covariance)
    assert not proposal.fell_back.any()


def test_proposal_scale_stretches_every_axis():
    model = LinearVAE(pixels=20, latent_dim=4).double()
    x = model.draw(2)
    one, two = (laplace_proposal(model, x, 1, proposal_scale=scale) for scale in (1.0, 2.0))
    torch.testing.assert_close(two.scale, 2 * one.scale)
    torch.testing.assert_close(two.mean, one.mean)


def test_curvature_of_a_linear_bernoulli_model_is_minus_the_hessian_of_log_p():
    class Logistic(LinearVAE):
        def log_prob_given_latent(self, x, z):
            logits = self.decode(z)
            return (x * logits - torch.nn.functional.softplus(logits)).sum(-1)

        def information(self, parameters):
            return torch.sigmoid(parameters) * torch.sigmoid(-parameters)

    model = Logistic(pixels=30, latent_dim=3).double()
    rng = torch.Generator().manual_seed(0)
    x, z = (torch.rand(2, 30, generator=rng) < 0.5).double(), torch.randn(2, 3, generator=rng).double()
    for i in range(2):
        hessian = torch.autograd.functional.hessian(lambda at, i=i: log_joint(model, x[i : i + 1], at[None])[0], z[i])
        torch.testing.assert_close(curvature(model, z)[i], -hessian)


def test_curvature_weighs_means_and_log_variances_by_their_information():
    model, z = GaussianVAE(), torch.tensor([[-1.5]], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda at: model.decode(at)[0], z).squeeze()
    information = model.information(model.decode(z))[0]
    torch.testing.assert_close(curvature(model, z).squeeze(), 1 + (jacobian**2 * information).sum())
    assert (information[:, 1] == 0).any(), "some log-variance should be clamped, and carry no information"
    assert (information[:, 1] == 0.5).any()


def test_newton_finds_modes_as_high_as_those_of_scipy(model, digits):
    x = digits[:12]
    mode, heights = encoder_proposal(model, x).mean, []
    for _ in range(8):
        mode = newton_step(model, x, mode, torch.linalg.cholesky(curvature(model, mode)))
        heights.append(log_joint(model, x, mode))
    assert all((after >= before).all() for before, after in pairwise(heights))
    best = [scipy_mode(model, one, encoder_proposal(model, one).mean[0]) for one in x.split(1)]
    assert (torch.tensor(best) - heights[-1]).mean() < 0.1


def scipy_mode(model, x, start):
    """The highest log p(x, z) that Nelder-Mead finds from `start`."""

    def loss(z):
        return -float(log_joint(model, x, torch.tensor(z, dtype=torch.float32)[None]))

    return -minimize(loss, start.numpy(), method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-3}).fun


def test_a_proposal_does_not_depend_on_the_other_images_of_its_batch(model, digits):
    together = laplace_proposal(model, digits[:9], 3, 1.1)
    alone = laplace_proposal(model, digits[4:5], 3, 1.1)
    torch.testing.assert_close(together.mean[4:5], alone.mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(together.scale[4:5], alone.scale, rtol=1e-3, atol=1e-4)


def test_centring_moves_the_mean_from_the_mode_to_the_middle_of_a_skewed_posterior():
    class Skewed(LinearVAE):
        """z >= 0 side falls off slowly, z < 0 fast: log p(x | z) = -exp(-3 z), prior N(0, 1)."""

        def decode(self, z):
            return -1.5 * z

        def log_prob_given_latent(self, x, z):
            return -torch.exp(2 * self.decode(z)).sum(-1)

        def information(self, parameters):
            return 4 * torch.exp(2 * parameters)

    model = Skewed(pixels=1, latent_dim=1).double()
    x = torch.zeros(1, 1, dtype=torch.float64)
    z = np.linspace(-8, 8, 40001)
    posterior = np.exp(-np.exp(-3 * z) - z**2 / 2)
    mode, middle = z[posterior.argmax()], (z * posterior).sum() / posterior.sum()
    mean = laplace_proposal(model, x, 8, 1.0).mean.item()
    assert abs(mean - middle) < 0.5 * abs(mode - middle)


def test_the_prior_stands_in_for_an_encoder_that_is_not_finite(model, digits):
    class Broken(torch.nn.Module):
        def encode(self, x):
            mean, log_variance = model.encode(x)
            mean[1, 0], log_variance[2, 1] = torch.nan, torch.inf
            return mean, log_variance

    proposal = encoder_proposal(Broken(), digits[:4])
    assert proposal.fell_back.tolist() == [False, True, True, False]
    assert (proposal.mean[1:3] == 0).all()
    assert (proposal.scale[1:3] == torch.eye(4)).all()
