"""Proposals against posteriors known in closed form, or found by scipy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from engram.likelihood.laplace import curvature, find_mode, fit_normal, laplace_proposal, log_joint
from engram.likelihood.proposals import Proposal, encoder_proposal
from latent_models import GaussianVAE, LinearVAE, conv_vae, drawn_from, small_digits, trained_on_digits, without_relu


@pytest.fixture(scope="module")
def digits():
    return small_digits(600)


@pytest.fixture(scope="module")
def model(digits):
    return trained_on_digits(digits, latent_dim=4).eval().requires_grad_(False)


def normal(mean, scale):
    return torch.distributions.MultivariateNormal(mean, scale @ scale.mT)


@pytest.mark.parametrize(("samples", "share"), [(7, 0), (8, 1 / 8), (20, 2 / 20)])
def test_the_ratio_of_densities_is_that_of_the_prior_and_the_mixture(samples, share):
    rng = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    scale = torch.randn(5, 3, 3, generator=rng, dtype=torch.float64).triu() + 2 * torch.eye(3)
    tail = torch.tensor([1.0, 2, 3, 1, 5], dtype=torch.float64)
    noise = torch.randn(5, samples, 3, generator=rng, dtype=torch.float64)
    z, log_ratio = Proposal(mean, scale, tail, torch.zeros(5, dtype=torch.bool)).draw(noise)
    densities = [normal(mean, s).log_prob(z).exp() for s in (scale, tail[:, None, None] * scale)]
    prior = normal(torch.zeros(3).double(), torch.eye(3).double()).log_prob(z)
    torch.testing.assert_close(log_ratio, prior - torch.log((1 - share) * densities[0] + share * densities[1]))


def test_one_sample_in_eight_is_drawn_from_the_tail():
    tail = torch.full((1,), 100.0)
    z, _ = Proposal(torch.zeros(1, 2), torch.eye(2)[None], tail, torch.zeros(1).bool()).draw(torch.ones(1, 20, 2))
    assert (z[:, 0, 0] == 100).nonzero().flatten().tolist() == [7, 15]


def test_proposal_means_and_covariances_are_those_of_their_samples():
    scale = torch.tensor([[[2.0, 1.0], [0.0, 0.5]]])
    proposal = Proposal(torch.tensor([[1.0, -1.0]]), scale, torch.ones(1), torch.zeros(1).bool())
    z, _ = proposal.draw(torch.randn(1, 100_000, 2, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(z[:, 0].mean(0), proposal.mean[0], rtol=0, atol=0.03)
    torch.testing.assert_close(z[:, 0].T.cov(), scale[0] @ scale[0].T, rtol=0.03, atol=0.03)


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


@pytest.mark.parametrize("name", ["gaussian_conv_vae", "gaussian_conv_vae_scalar_variance"])
def test_a_convolutional_decoder_without_relu_has_the_posterior_of_a_linear_gaussian_model(name):
    model, weight, offset = without_relu(conv_vae(name, latent_dim=3))
    variance = torch.exp(getattr(model, "log_variance", torch.zeros(()))).double()
    x = drawn_from(model, 5)
    precision = torch.eye(3) + weight.T @ weight / variance
    mean = torch.linalg.solve(precision, weight.T @ (x.flatten(1) - offset).T / variance).T
    assert (mean - encoder_proposal(model, x).mean).abs().max() > 0.1, "the encoder should not know the answer"
    torch.testing.assert_close(curvature(model, torch.zeros(5, 3).double()), precision.expand(5, -1, -1))
    proposal = laplace_proposal(model, x, newton_steps=1, proposal_scale=1.0)
    torch.testing.assert_close(proposal.mean, mean)
    torch.testing.assert_close(proposal.scale @ proposal.scale.mT, torch.linalg.inv(precision).expand(5, -1, -1))
    assert not proposal.fell_back.any()


@pytest.mark.parametrize("name", ["bernoulli_conv_vae", "gaussian_conv_vae", "gaussian_conv_vae_scalar_variance"])
def test_the_curvature_of_a_convolutional_model_is_the_mean_square_of_its_score(name):
    """E[s s'] over x from p(x | z), s = d log p(x | z) / dz by autograd, is what J' W J is a formula for."""
    model, z = conv_vae(name, latent_dim=2), torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    x = model.observe(model.decode(z).expand(3000, -1, -1, -1), rng).double()
    at = z.expand(3000, -1).clone().requires_grad_()
    score = torch.autograd.grad(model.log_prob_given_latent(x, at).sum(), at)[0]
    expected = curvature(model, z)[0] - torch.eye(2)
    torch.testing.assert_close(score.T @ score / 3000, expected, rtol=0, atol=0.1 * expected.diagonal().max().item())


def test_newton_finds_modes_as_high_as_those_of_scipy(model, digits):
    x = digits[:12]
    start = encoder_proposal(model, x).mean
    heights = [
        log_joint(model, x, find_mode(model, x, start, torch.eye(4).expand(12, -1, -1), steps)[0])
        for steps in (1, 3, 9)
    ]
    assert (log_joint(model, x, start) <= heights[0]).all()
    assert log_joint(model, x, start).mean() < heights[0].mean() < heights[1].mean() < heights[2].mean()
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


class Skewed(LinearVAE):
    """p(x | z) = exp(-exp(-3 z)): the posterior of z falls off fast below and slowly above."""

    def __init__(self):
        super().__init__(pixels=1, latent_dim=1)
        self.double()

    def decode(self, z):
        return -3 * z

    def log_prob_given_latent(self, x, z):
        return -torch.exp(self.decode(z)).sum(-1)

    def information(self, parameters):
        return torch.exp(parameters)


def test_the_fitted_normal_has_a_higher_elbo_and_steadier_weights_than_laplaces():
    model, x = Skewed(), torch.zeros(1, 1, dtype=torch.float64)
    mode, laplace_scale = find_mode(model, x, torch.zeros(1, 1).double(), torch.ones(1, 1, 1).double(), 10)
    fitted = fit_normal(model, x, mode, laplace_scale)
    nodes, shares = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(60))
    shares = shares / shares.sum()

    def elbo_and_second_moment(mean, scale):
        log_weights = (
            log_joint(model, x, mean + scale[0] * nodes[:, None, None])[:, 0] + 0.5 * nodes**2 + scale.log()[0, 0]
        )
        weights = (log_weights - (shares * log_weights.exp()).sum().log()).exp()
        return (shares * log_weights).sum(), (shares * weights**2).sum()

    before, after = elbo_and_second_moment(mode, laplace_scale), elbo_and_second_moment(*fitted)
    assert after[0] > before[0] + 0.05
    assert after[1] - 1 < 0.5 * (before[1] - 1)


def test_in_a_linear_model_there_is_nothing_to_fit():
    model = LinearVAE(pixels=20, latent_dim=4).double()
    x = model.draw(3)
    mode, scale = find_mode(model, x, torch.zeros(3, 4).double(), torch.eye(4).double().expand(3, -1, -1), 1)
    fitted_mean, fitted_scale = fit_normal(model, x, mode, scale)
    torch.testing.assert_close(fitted_mean, mode)
    torch.testing.assert_close(fitted_scale, scale)


@pytest.mark.parametrize("latent_dim", [4, 16, 32])
def test_the_fit_mends_a_wrong_curvature_in_every_direction(latent_dim):
    model = LinearVAE(pixels=64, latent_dim=latent_dim).double()
    x, rng = model.draw(5), torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(latent_dim, latent_dim, generator=rng).double())[0]
    stretch = torch.exp(torch.rand(latent_dim, generator=rng).double() - 0.5)
    right = torch.linalg.cholesky(torch.linalg.inv(model.precision()))
    wrong = torch.linalg.cholesky(right @ turn @ stretch.square().diag() @ turn.T @ right.T)
    scale = fit_normal(model, x, model.posterior_mean(x), wrong.expand(5, -1, -1))[1]

    def ratios(scale):
        """Variances in units of the true ones, along the axes where they differ most and least."""
        return torch.linalg.eigvals(scale @ scale.mT @ model.precision()).real

    assert ratios(wrong).min() < 0.6 and ratios(wrong).max() > 1.6
    torch.testing.assert_close(ratios(scale), torch.ones(5, latent_dim).double(), rtol=0, atol=0.1)


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
