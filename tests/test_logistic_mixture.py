"""Mixtures of discretized logistics against scipy, and against the axiom that probabilities add up to one."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import logistic

from engram.models.pixels import logistic_mixture

LEVELS = torch.arange(256, dtype=torch.float64) / 255


def parameters(channels, components, n=1, spread=1.0, seed=0, side=1):
    rng = torch.Generator().manual_seed(seed)
    shape = (n, logistic_mixture.outputs(channels, components), side, side)
    found = spread * torch.randn(shape, generator=rng, dtype=torch.float64)
    log_scale = found[:, (1 + channels) * components : (1 + 2 * channels) * components]
    log_scale.mul_(0.5).sub_(1)  # scales of some 50 grey levels
    return found


def by_scipy(x, parameters, components):
    """log P of one pixel x (C,) from parameters (outputs,), term by term as the formula is written."""
    channels, value = len(x), 2 * x - 1
    weight, *rest = np.split(parameters, [components])
    location, log_scale, coefficient = np.split(rest[0], [channels * components, 2 * channels * components])
    location, scale = location.reshape(channels, -1), np.exp(np.maximum(log_scale, -7)).reshape(channels, -1)
    coefficient = iter(np.tanh(coefficient).reshape(-1, components))
    log_p = weight - logsumexp(weight)
    for c in range(channels):
        shifted = location[c] + sum((next(coefficient) * value[b] for b in range(c)), 0.0)
        upper = np.inf if x[c] == 1 else value[c] + 1 / 255
        lower = -np.inf if x[c] == 0 else value[c] - 1 / 255
        log_p = log_p + np.log(logistic.cdf(upper, shifted, scale[c]) - logistic.cdf(lower, shifted, scale[c]))
    return logsumexp(log_p)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_log_probability_is_scipys(channels, rng):
    given = parameters(channels, components=4, n=2, side=3)
    x = torch.from_numpy(rng.choice([0, 255, 17, 100, 200], (2, channels, 3, 3)) / 255)
    expected = [
        sum(by_scipy(x[i, :, r, c].numpy(), given[i, :, r, c].numpy(), 4) for r in range(3) for c in range(3))
        for i in range(2)
    ]
    np.testing.assert_allclose(logistic_mixture.log_prob(x, given).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("log_scale", [-9.0, -7.0, -3.0, 0.0, 3.0])
def test_the_probabilities_of_all_values_of_a_pixel_add_up_to_one(channels, log_scale):
    given = parameters(channels, components=3)
    given[:, (1 + channels) * 3 : (1 + 2 * channels) * 3] = log_scale
    x = torch.cartesian_prod(*[LEVELS] * channels).reshape(-1, channels, 1, 1)
    total = logistic_mixture.log_prob(x, given).logsumexp(0)
    assert total.item() == pytest.approx(0, abs=1e-10)


def test_summed_over_blue_what_is_left_is_the_probability_of_red_and_green():
    given, components = parameters(3, components=2), 2
    weight, location, log_scale, coefficient = given.split([2, 6, 6, 6], 1)
    without_blue = torch.cat([weight, location[:, :4], log_scale[:, :4], coefficient[:, :2]], 1)
    assert without_blue.shape[1] == logistic_mixture.outputs(2, components)
    red_green = torch.tensor([[0, 40], [130, 255], [90, 91]]) / 255
    x = torch.cat([red_green.double().repeat_interleave(256, 0), LEVELS.repeat(3)[:, None]], 1)[..., None, None]
    summed = logistic_mixture.log_prob(x, given).reshape(3, 256).logsumexp(1)
    torch.testing.assert_close(summed, logistic_mixture.log_prob(red_green.double()[..., None, None], without_blue))


def test_far_tails_have_their_exact_logarithm_and_gradient_in_float32():
    location = torch.tensor([-1.0, 0.0, 1.0, 5.0, -40.0, 40.0], requires_grad=True)
    for level, log_scale in itertools.product([0, 1, 128, 254, 255], [-7.0, -2.0, 2.0, 10.0]):
        value = torch.tensor(2 * level / 255 - 1)
        log_p = logistic_mixture.log_bin(value, location, torch.tensor(log_scale))
        assert log_p.isfinite().all() and (log_p <= 0).all()
        assert torch.autograd.grad(log_p.sum(), location)[0].isfinite().all()
        at, scale = location.detach().double().numpy(), np.exp(log_scale)
        upper = np.inf if level == 255 else 2 * level / 255 - 1 + 1 / 255
        lower = -np.inf if level == 0 else 2 * level / 255 - 1 - 1 / 255
        # In the upper half cdf loses all digits: there the difference of survival functions is the accurate one.
        above = at < (2 * level / 255 - 1)
        signs = np.where(above, -1, 1)
        ends = np.where(above, -lower, upper), np.where(above, -upper, lower)
        larger, smaller = (logistic.logcdf(end, signs * at, scale) for end in ends)
        with np.errstate(divide="ignore"):
            expected = larger + np.log1p(-np.exp(smaller - larger))
        np.testing.assert_allclose(log_p.detach().numpy(), expected, rtol=2e-4, atol=1e-4)


def test_draws_follow_the_probabilities_and_mean_is_their_mean():
    given = parameters(1, components=3, side=1, seed=3)
    probability = logistic_mixture.log_prob(LEVELS.reshape(-1, 1, 1, 1), given).exp()
    drawn = logistic_mixture.draw(given.expand(200_000, -1, -1, -1), 1, torch.Generator().manual_seed(0))
    levels = (drawn.flatten() * 255).round()
    torch.testing.assert_close(drawn.flatten() * 255, levels)
    shares = torch.bincount(levels.long(), minlength=256) / len(levels)
    bound = 5 * (probability / len(levels)).sqrt() + 1e-4
    assert ((shares - probability).abs() < bound).all()
    assert (probability[[0, 255]] > 0.02).any(), "some mass should lie in an open bin"
    mean = logistic_mixture.mean(given, 1).item()
    assert mean == pytest.approx((probability * LEVELS).sum().item(), abs=0.1 / 255)


def test_colours_are_drawn_one_after_the_other_as_their_probabilities_say():
    given = parameters(3, components=2, seed=5)
    drawn = logistic_mixture.draw(given.expand(100_000, -1, -1, -1), 3, torch.Generator().manual_seed(0))
    for seed in range(5):
        other = given + 0.1 * parameters(3, components=2, seed=100 + seed)
        ratio = torch.exp(logistic_mixture.log_prob(drawn, other) - logistic_mixture.log_prob(drawn, given))
        # The mean of Q(x) / P(x) over draws from P, and from nothing else, is 1 whatever Q.
        assert ratio.mean().item() == pytest.approx(1, abs=4 * ratio.std().item() / len(ratio) ** 0.5)
        assert ratio.std() > 0.05
    red = logistic_mixture.mean(given, 3)[0, 0].item()
    assert red == pytest.approx(drawn[:, 0].mean().item(), abs=0.005)
