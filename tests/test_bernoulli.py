"""The fast Bernoulli likelihood against the formula it stands for."""

import pytest
import torch
from torch.nn.functional import softplus

from engram.models.pixels import bernoulli


def plain(x, logits):
    return (x * logits - softplus(logits)).sum(-1)


@pytest.mark.parametrize("pixels", [1, 63, 64, 65, 784, 1024])
@pytest.mark.parametrize("spread", [0.1, 3, 30, 1000])
def test_equals_the_plain_formula_for_any_number_of_pixels_and_extreme_logits(pixels, spread):
    rng = torch.Generator().manual_seed(pixels)
    logits = spread * torch.randn(3, 5, pixels, generator=rng)
    x = (torch.rand(5, pixels, generator=rng) < 0.3).float()
    exact = plain(x.double(), logits.double())
    error = (bernoulli.log_prob(x, logits) - exact).abs()
    assert (error <= 1e-4 + 3e-7 * exact.abs()).all()


@pytest.mark.parametrize("value", [0.0, 1e-30, 17.0, -17.0, 88.0, -104.0, 1e4, -1e4])
def test_one_value_everywhere_loses_nothing(value):
    logits = torch.full((1, 1024), value)
    exact = plain(torch.zeros(1, 1024).double(), logits.double())
    torch.testing.assert_close(bernoulli.log_prob(torch.zeros(1, 1024), logits).double(), exact, rtol=1e-6, atol=1e-4)


# torch warns of its own use of torch.jit when a process first needs forward mode.
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")
def test_gradients_are_those_of_the_plain_formula_in_both_modes_and_twice():
    rng = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(2, 70, generator=rng, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(bernoulli.sum_softplus, logits, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(bernoulli.sum_softplus, logits)
    (gradient,) = torch.autograd.grad(bernoulli.sum_softplus(logits).sum(), logits)
    torch.testing.assert_close(gradient, torch.sigmoid(logits))


def test_works_under_vmap_of_a_gradient():
    logits = torch.randn(4, 3, 100, generator=torch.Generator().manual_seed(0))
    gradient = torch.func.vmap(torch.func.grad(lambda one: bernoulli.sum_softplus(one).sum()))(logits)
    torch.testing.assert_close(gradient, torch.sigmoid(logits))
