"""The bound of diffusion models against closed forms: a Gaussian, a mixture, and a model that has memorized its images.

For a model that knows the density p, minus diffusion and prior terms are E[log p(z_0) - log q(z_0 | x)] - E[log p(z_1) -
log N(z_1)], where z_0 and z_1 are drawn given x: no network, no time between them.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from engram.errors import UserError
from engram.likelihood.estimation import estimate
from engram.likelihood.evaluation import Evaluation, evaluate
from engram.models.diffusion import (
    SAMPLERS,
    DiffusionModel,
    alpha_and_sigma,
    ddim_step,
    expected_reconstruction,
    prior_divergence,
    reconstruction,
)


class Mixture(DiffusionModel):
    """Knows that each pixel follows a mixture of normals, apart from the others: predicts noise as well as can be."""

    def __init__(self, image_shape, weights, means, deviations, gamma_0=-13.3, gamma_1=5.0, steps=200, **settings):
        super().__init__(image_shape, gamma_0, gamma_1, steps, **settings)
        parts = (torch.as_tensor(part, dtype=torch.float64) for part in (weights, means, deviations))
        self.weights, self.means, self.deviations = (torch.nn.Parameter(part, requires_grad=False) for part in parts)

    def at(self, gamma) -> MixtureSameFamily:
        """The density of z."""
        alpha, sigma = alpha_and_sigma(torch.as_tensor(gamma, dtype=torch.float64))
        variance = (alpha.unsqueeze(-1) * self.deviations) ** 2 + sigma.unsqueeze(-1) ** 2
        weights = self.weights.expand_as(variance)
        return MixtureSameFamily(Categorical(weights), Normal(alpha.unsqueeze(-1) * self.means, variance.sqrt()))

    def predict_noise(self, z, gamma):
        """Minus sigma times the score."""
        gamma = gamma.reshape(-1, *[1] * (z.ndim - 1)).expand_as(z)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (score,) = torch.autograd.grad(self.at(gamma).log_prob(z).sum(), z)
        return -alpha_and_sigma(gamma)[1] * score

    def closed_form(self, x, draws=400_000):
        """-(diffusion + prior) of each pixel and its standard error, by draws at times 0 and 1 alone."""
        noise = torch.randn(draws, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        total = 0
        for gamma, sign in ((self.gamma_0, 1), (self.gamma_1, -1)):
            alpha, sigma = alpha_and_sigma(torch.tensor(gamma, dtype=torch.float64))
            z = alpha * x + sigma * noise
            other = Normal(alpha * x, sigma) if sign > 0 else Normal(0.0, 1.0)
            total = total + sign * (self.at(torch.full_like(z, gamma)).log_prob(z) - other.log_prob(z))
        return float(total.mean()), float(total.std() / math.sqrt(draws))


def by_samples(model, x, samples=40_000):
    """-(diffusion + prior) of one image, and its standard error, by independent t and epsilon."""
    rng = torch.Generator().manual_seed(3)
    repeated = x.expand(samples, *x.shape[1:])
    t = torch.rand(samples, generator=rng, dtype=torch.float64)
    epsilon = torch.randn(repeated.shape, generator=rng, dtype=torch.float64)
    values = -model.diffusion_loss(repeated, t, epsilon) - prior_divergence(repeated, model.gamma_1)
    return float(values.mean()), float(values.std() / math.sqrt(samples))


KNOWN = {  # x and the published closed forms of shared notes, computed by another program
    "a normal": ((1.0,), (0.0,), (0.3**0.5,), 1.1, -7.5647),
    "a mixture, at its narrow part": ((0.4, 0.6), (-1.0, 0.8), (0.05, 0.3), -1.0, -4.0707),
    "a mixture, at its wide part": ((0.4, 0.6), (-1.0, 0.8), (0.05, 0.3), 0.8, -5.4573),
}


@pytest.mark.parametrize("name", KNOWN)
def test_diffusion_and_prior_terms_are_their_closed_form(name):
    *mixture, x, known = KNOWN[name]
    model, image = Mixture((1, 1, 1), *mixture), torch.full((1, 1, 1, 1), x, dtype=torch.float64)
    expected, spread = model.closed_form(x)
    assert expected == pytest.approx(known, abs=4 * spread + 5e-4)
    estimated, error = by_samples(model, image)
    assert abs(estimated - expected) < 4 * math.hypot(error, spread) and error < 0.1


def test_the_bound_of_a_grey_level_is_all_three_terms_and_its_standard_error_holds():
    model = Mixture((1, 1, 2), (0.4, 0.6), (-1.0, 0.8), (0.05, 0.3))
    x = torch.tensor([[-1.0, 0.6]], dtype=torch.float64).reshape(1, 1, 1, 2)
    closed = sum(model.closed_form(float(level))[0] for level in x.flatten())
    outside = float(expected_reconstruction(model.gamma_0)[[0, 204]].sum())  # of the levels of -1 and 0.6
    estimates = estimate(model, x, samples=20_000)
    assert abs(float(estimates.log_px) - closed - outside) < 4 * float(estimates.standard_error)


def test_the_reconstruction_is_a_probability_of_levels():
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)
    observed, gamma_0 = 0.2345, -6.0
    width = math.exp(gamma_0 / 2)
    given = (observed - levels) / width  # the noise by which each level would have become what is observed
    log_p = reconstruction(levels.reshape(-1, 1, 1, 1), given.reshape(-1, 1, 1, 1), gamma_0)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
    # At the usual gamma_0 the noise is a sixth of the way to the next level: hardly anything is lost.
    assert float(reconstruction(levels.reshape(-1, 1, 1, 1), torch.zeros(256, 1, 1, 1).double(), -13.3).max()) > -0.01


@pytest.mark.parametrize(
    "gamma_0", [-13.3, *(pytest.param(gamma_0, marks=pytest.mark.slow) for gamma_0 in (-8.0, -3.0))]
)
def test_the_reconstruction_of_a_level_is_its_mean_over_noise(gamma_0):
    noise = torch.randn(100_000, generator=torch.Generator().manual_seed(4), dtype=torch.float64).reshape(-1, 1, 1, 1)
    for level in (0, 1, 100, 255):
        drawn = reconstruction(torch.full_like(noise, 2 * level / 255 - 1), noise, gamma_0)
        error = float(drawn.std()) / math.sqrt(len(drawn))
        assert abs(float(expected_reconstruction(gamma_0)[level] - drawn.mean())) < 4 * error + 1e-9


def test_a_denoiser_that_has_memorized_gives_the_score_of_a_kernel_density():
    """Trained on points x_j alone: at time 0 its density is a kernel density of z, of width sigma_0 / alpha_0."""
    points = torch.tensor([-0.5, 0.1, 0.7], dtype=torch.float64)
    gamma_0 = -3.0

    def model(of):
        return Mixture((1, 1, 1), torch.full((len(of),), 1 / len(of)), of, torch.zeros(len(of)), gamma_0)

    x = points[1].reshape(1, 1, 1, 1)
    terms = [by_samples(model(of), x, 200_000) for of in (points, points[[0, 2]])]
    memorized, error = terms[0][0] - terms[1][0], math.hypot(terms[0][1], terms[1][1])
    closed = [model(of).closed_form(float(x)) for of in (points, points[[0, 2]])]
    expected = closed[0][0] - closed[1][0]
    assert abs(memorized - expected) < 4 * error and expected > 1
    # The same by the formula for kernel densities, averaged over z at time 0; time 1 adds next to nothing.
    alpha, sigma = alpha_and_sigma(torch.tensor(gamma_0, dtype=torch.float64))
    z = alpha * points[1] + sigma * torch.randn(400_000, generator=torch.Generator().manual_seed(5)).double()
    kernels = torch.stack([Normal(alpha * point, sigma).log_prob(z) for point in points])
    score = kernels.logsumexp(0) - math.log(3) - (kernels[[0, 2]].logsumexp(0) - math.log(2))
    assert float(score.mean()) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_follow_the_density_and_are_grey_levels(sampler):
    model = Mixture((1, 1, 1), (0.4, 0.6), (-0.7, 0.4), (0.05, 0.2), gamma_0=-10.0, sampler=sampler)
    model.float()
    drawn = model.sample(4000, observation=True, generator=torch.Generator().manual_seed(0)).flatten().double()
    low = drawn < -0.3
    assert float(low.double().mean()) == pytest.approx(0.4, abs=0.03)
    assert float(drawn[low].mean()) == pytest.approx(-0.7, abs=0.01)
    assert float(drawn[~low].std()) == pytest.approx(0.2, abs=0.02)
    levels = (drawn + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


NORMAL = ((1.0,), (0.1,), (0.25,))
TWO = ((0.4, 0.6), (-0.7, 0.4), (0.1, 0.2))


@pytest.mark.parametrize("mixture", [NORMAL, TWO], ids=["a normal", "a mixture"])
def test_ddim_takes_every_quantile_at_time_1_to_the_same_quantile_at_time_0(mixture):
    """As the probability-flow ODE does; of a normal that is z_0 = m_0 + (z_1 - m_1) sqrt(v_0 / v_1)."""
    model = Mixture((1, 1, 1), *mixture, gamma_0=-10.0, steps=1000)
    gammas = model.gamma(torch.linspace(1, 0, model.steps + 1, dtype=torch.float64))
    z = first = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64).reshape(-1, 1, 1, 1)
    for gamma_t, gamma_s in pairwise(gammas):
        z = ddim_step(z, model.predict_noise(z, gamma_t.expand(len(z))), gamma_t, gamma_s)
    quantiles = [model.at(gamma).cdf(values) for gamma, values in ((gammas[0], first), (gammas[-1], z))]
    torch.testing.assert_close(quantiles[1], quantiles[0], rtol=0, atol=0.004)
    if mixture is NORMAL:
        (alpha_0, sigma_0), (alpha_1, sigma_1) = (alpha_and_sigma(gammas[end]) for end in (-1, 0))
        spread = ((alpha_0 * 0.25) ** 2 + sigma_0**2) / ((alpha_1 * 0.25) ** 2 + sigma_1**2)
        torch.testing.assert_close(z, alpha_0 * 0.1 + (first - alpha_1 * 0.1) * spread.sqrt(), rtol=0, atol=0.002)


def test_ddims_image_depends_on_z_at_time_1_alone():
    model = Mixture((1, 1, 2), *TWO, gamma_0=-10.0, sampler="ddim").float()
    stream = torch.Generator().manual_seed(4)
    drawn, following = model.sample(5, generator=stream), torch.randn(3, generator=stream)
    again = torch.Generator().manual_seed(4)
    torch.randn(5, 1, 1, 2, generator=again)
    assert torch.equal(torch.randn(3, generator=again), following)  # nothing was drawn after z at time 1
    assert torch.equal(model.sample(5, generator=torch.Generator().manual_seed(4)), drawn)


def test_a_sampler_that_there_is_not_is_named_with_those_that_there_are():
    with pytest.raises(UserError, match=r"sampler is 'euler'; choose ancestral, ddim"):
        Mixture((1, 1, 1), *NORMAL, sampler="euler")


def test_evenly_spaced_times_leave_the_mean_of_the_bound_as_it_is_and_lower_its_variance():
    model = Mixture((1, 1, 1), (1.0,), (0.0,), (0.5,))
    x = torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64)
    noise = torch.randn(400, 50, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    spaced = np.array([float(model.bound(x, each[None]).mean()) for each in noise])
    apart = np.array([float(model(x.expand(50, 1, 1, 1), each).mean()) for each in noise])
    error = math.hypot(spaced.std(), apart.std()) / 20
    assert abs(spaced.mean() - apart.mean()) < 4 * error and spaced.std() < apart.std()


def test_the_standard_error_from_two_draws_is_the_distance_from_the_closed_form_and_that_from_one_is_too_large():
    """Of copies of one image, each with noise of its own."""
    shape, level = (1, 4, 4), 0.6
    model = Mixture(shape, (1.0,), (0.0,), (0.5,))
    noise = torch.randn(100_000, 1, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outside = reconstruction(torch.full_like(noise, level), noise, model.gamma_0).mean()
    truth = 16 * (model.closed_form(level)[0] + float(outside))

    def judged(draws, copies):
        settings = {"proposal": "bound", "samples": 16, "observation": "fixed", "draws": draws}
        evaluation = Evaluation(settings, shape, (42, "copies"), torch.device("cpu"))
        return evaluate(evaluation, [model], ["model"], np.full((copies, 16), 204, dtype=np.uint8))

    one, two = judged(1, 100), judged(2, 600)
    assert torch.equal(one.log_px[:, 0], two.log_px[:, 0, :100]) and two.standard_error.shape == (1, 2, 600)
    assert torch.equal(two.standard_error[:, 0], two.standard_error[:, 1])
    distance = float((two.log_px - truth).square().mean())
    assert float(two.standard_error.square().mean()) == pytest.approx(distance, rel=0.15)
    assert float(one.standard_error.square().mean()) > 2 * distance
