"""The models: sizes as published, formulas as written, and user models by name."""

import sys

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from engram.errors import UserError
from engram.models import LatentVariableModel, build

MNIST = (1, 32, 32)


def test_the_mlp_vae_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in build("bernoulli_mlp_vae", MNIST, latent_dim=16).parameters()) == 1_325_600


@torch.no_grad()
def test_the_training_objective_is_the_elbo_of_torchs_own_distributions():
    torch.manual_seed(0)
    model = build("bernoulli_mlp_vae", (1, 4, 4), latent_dim=3, hidden=(8, 6))
    x, noise = torch.rand(10, 1, 4, 4).round(), torch.randn(10, 3)
    mean, log_variance = model.encode(x)
    posterior = Normal(mean, torch.exp(log_variance / 2))
    logits = model.decode(mean + posterior.scale * noise)
    expected = Bernoulli(logits=logits).log_prob(x.flatten(1)).sum(1)
    expected -= kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(model(x, noise), expected)


def test_samples_are_means_in_the_unit_interval_or_binary_observations():
    model = build("bernoulli_mlp_vae", (1, 4, 4), latent_dim=3)
    means = model.sample(20)
    assert means.shape == (20, 1, 4, 4) and means.min() > 0 and means.max() < 1
    assert set(model.sample(20, observation=True).unique().tolist()) == {0, 1}


def test_information_is_the_curvature_of_minus_log_p():
    model = build("bernoulli_mlp_vae", (1, 2, 2), latent_dim=2)
    logits = torch.tensor([-3.0, 0.0, 0.5, 4.0], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(
        lambda value: -Bernoulli(logits=value).log_prob(torch.ones(4)).sum(), logits
    )
    torch.testing.assert_close(model.information(logits), hessian.diagonal())


def test_a_users_own_model_is_imported_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(
        "from engram.models.mlp_vae import BernoulliMLPVAE\n\n\nclass Tiny(BernoulliMLPVAE):\n"
        "    def __init__(self, image_shape):\n        super().__init__(image_shape, 2, (4,))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert isinstance(build("my_models:Tiny", (1, 2, 2)), LatentVariableModel)
    finally:
        sys.modules.pop("my_models", None)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("bernoulli_mlp", {}, "model 'bernoulli_mlp' is unknown; choose bernoulli_mlp_vae or write module:Class"),
        ("no_such_module:Model", {}, "could not be imported"),
        ("bernoulli_mlp_vae", {"latent": 3}, "unexpected keyword argument 'latent'"),
    ],
)
def test_a_mistake_in_the_model_is_named(name, settings, words):
    with pytest.raises(UserError, match=words):
        build(name, MNIST, **settings)
