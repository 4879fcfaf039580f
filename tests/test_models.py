"""The models: sizes as published, formulas as written, and user models by name."""

import inspect
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from engram.errors import UserError
from engram.models import LatentVariableModel, build, building, known_models, protocols
from engram.models.known import KNOWN

MNIST, COLOUR = (1, 32, 32), (3, 32, 32)
CONVOLUTIONAL = [
    "bernoulli_conv_vae",
    "gaussian_conv_vae",
    "gaussian_conv_vae_scalar_variance",
    "logistic_mixture_conv_vae",
]


@pytest.mark.parametrize(
    ("name", "image_shape", "latent_dim", "parameters"),
    [
        ("bernoulli_mlp_vae", MNIST, 16, 1_325_600),
        ("gaussian_conv_vae", COLOUR, 64, 1_579_456),
        ("gaussian_conv_vae_scalar_variance", COLOUR, 32, 1_479_553),
    ],
)
def test_models_have_the_published_number_of_parameters(name, image_shape, latent_dim, parameters):
    assert sum(p.numel() for p in build(name, image_shape, latent_dim=latent_dim).parameters()) == parameters


def test_the_convolutional_layers_are_those_of_the_paper():
    model = build("gaussian_conv_vae", COLOUR)
    down, up = (
        [layer for layer in part.modules() if not list(layer.children())] for part in (model.encoder, model.decoder)
    )
    assert [type(layer).__name__ for layer in down] == (
        ["Conv2d", "LeakyReLU"] + 3 * ["Conv2d", "BatchNorm2d", "LeakyReLU"] + ["Flatten"]
    )
    assert [type(layer).__name__ for layer in up] == 4 * ["ConvTranspose2d", "BatchNorm2d", "ReLU"] + [
        "ConvTranspose2d"
    ]
    convolutions = [layer for layer in down + up if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == [
        *[(3, 32), (32, 64), (64, 128), (128, 256)],
        *[(64, 256), (256, 128), (128, 64), (64, 32), (32, 6)],
    ]
    assert all(layer.bias is None for layer in convolutions)
    geometry = [(layer.kernel_size[0], layer.stride[0], layer.padding[0]) for layer in convolutions]
    assert geometry == [(4, 2, 1)] * 4 + [(2, 1, 0)] + [(4, 2, 1)] * 4
    assert {layer.negative_slope for layer in down if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert model.encoder_mean.in_features == model.encoder_log_variance.in_features == 1024


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@torch.no_grad()
def test_leading_axes_are_samples_decoded_one_by_one(name):
    torch.manual_seed(0)
    model = build(name, (2, 32, 48), latent_dim=3, features=2).eval()
    x, z = model.sample(5, observation=True), torch.randn(4, 2, 5, 3)
    parameters, log_p = model.decode(z), model.log_prob_given_latent(x, z)
    assert parameters.shape[:3] == (4, 2, 5) and parameters.shape[-2:] == (32, 48) and log_p.shape == (4, 2, 5)
    torch.testing.assert_close(parameters[1, 0, 3], model.decode(z[1, 0, 3:4])[0])
    torch.testing.assert_close(log_p[1, 0, 3:4], model.log_prob_given_latent(x[3:4], z[1, 0, 3:4]))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_models_sample_means_in_the_unit_interval(name):
    means = build(name, COLOUR, latent_dim=3, features=2).sample(20)
    assert means.shape == (20, *COLOUR) and means.min() >= 0 and means.max() <= 1


@torch.no_grad()
def test_gaussian_pixels_have_the_density_of_torchs_normal_with_its_log_variance_clamped():
    torch.manual_seed(0)
    model = build("gaussian_conv_vae", COLOUR, latent_dim=3, features=2).double()
    model.decoder[-1].weight *= 100
    x, z = torch.randn(4, *COLOUR).double(), torch.randn(4, 3).double()
    parameters = model.decode(z)
    mean, log_variance = parameters[:, :3], parameters[:, 3:]
    assert 0.05 < (log_variance < -7).double().mean() < 0.95
    expected = Normal(mean, torch.exp(log_variance.clamp(min=-7) / 2)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(model.log_prob_given_latent(x, z), expected)


@torch.no_grad()
def test_one_variance_serves_all_pixels_and_begins_at_exp_minus_two():
    torch.manual_seed(0)
    model = build("gaussian_conv_vae_scalar_variance", COLOUR, latent_dim=3, features=2)
    x, z = torch.randn(4, *COLOUR), torch.randn(4, 3)
    expected = Normal(model.decode(z), float(np.exp(-1))).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(model.log_prob_given_latent(x, z), expected)
    assert "log_variance" in dict(model.named_parameters())


@pytest.mark.parametrize("name", ["bernoulli_conv_vae", "gaussian_conv_vae", "gaussian_conv_vae_scalar_variance"])
def test_information_is_the_expected_curvature_of_minus_log_p_about_the_decoders_output(name):
    torch.manual_seed(0)
    model = build(name, MNIST, latent_dim=1, features=2)
    parameters = 5 * torch.randn(model.decode(torch.zeros(1, 1)).shape[1:])
    model.decode = lambda z: parameters.expand(len(z), *parameters.shape).clone().requires_grad_()
    x = model.observe(parameters.expand(4000, *parameters.shape))
    inside = model.decode(x)
    model.decode = lambda z: inside
    score = torch.autograd.grad(model.log_prob_given_latent(x, torch.zeros(4000, 1)).sum(), inside)[0]
    information = model.information(parameters)
    assert information.shape == parameters.shape
    # The Fisher information is the mean square of the score; of 4,000 draws it is known to some 4 %.
    ratio = score.pow(2).mean(0)[information > 0.01] / information[information > 0.01]
    assert ratio.mean().item() == pytest.approx(1, abs=0.01) and ratio.std() < 0.2
    assert (score[:, information == 0] == 0).all()


def test_a_clamped_log_variance_carries_no_information():
    model = build("gaussian_conv_vae", MNIST, latent_dim=1, features=2)
    parameters = torch.stack([torch.zeros(32, 32), torch.linspace(-9, 1, 1024).reshape(32, 32)])
    of_log_variance = model.information(parameters)[1].flatten()
    assert set(of_log_variance.tolist()) == {0, 0.5}
    assert (of_log_variance == 0).equal(parameters[1].flatten() <= -7)


@pytest.mark.parametrize("side", [16, 28, 40])
def test_images_that_four_halvings_do_not_fit_are_refused(side):
    with pytest.raises(UserError, match=f"images are {side}x{side}; .* multiples of 16, at least 32"):
        build("bernoulli_conv_vae", (1, side, side))


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


class Plain(LatentVariableModel):
    """The least that a model must offer: neither information nor draws of x."""

    observation = "binary"

    def __init__(self):
        super().__init__((1, 2, 2), latent_dim=4)
        self.weight = nn.Parameter(torch.ones(()))

    def encode(self, x):
        return self.weight * x.flatten(1), torch.zeros(len(x), 4)

    def decode(self, z):
        return self.weight * z

    def log_prob_given_latent(self, x, z):
        return Bernoulli(logits=self.decode(z)).log_prob(x.flatten(1)).sum(-1)

    def mean(self, parameters):
        return torch.sigmoid(parameters).reshape(-1, 1, 2, 2)


def test_a_model_without_observe_shows_mean_images_and_names_the_method_that_draws_of_x_would_need():
    assert Plain().sample(5).shape == (5, 1, 2, 2)
    with pytest.raises(UserError, match=r"Plain has no observe\(parameters, generator\)"):
        Plain().sample(5, observation=True)


@pytest.mark.parametrize("name", known_models())
def test_every_model_offers_what_training_likelihood_and_analyses_ask(name):
    for extra in [needed for model, needed in {"flow": "zuko", "unet_diffusion": "diffusers"}.items() if model == name]:
        pytest.importorskip(extra)
    known, model = KNOWN[name], build(name, (1, 8, 8) if KNOWN[name].is_fitted else COLOUR)
    log_p = {
        "encoder": protocols.LatentModel,
        "laplace": protocols.LatentModelWithInformation,
        "exact": protocols.ExactModel,
        "bound": protocols.BoundedModel,
    }
    assert {way for way, protocol in log_p.items() if protocols.offers(model, protocol)} == {*known.proposals}
    assert protocols.offers(model, protocols.FittedModel) == known.is_fitted
    assert protocols.offers(model, protocols.TrainableModel) != known.is_fitted
    assert protocols.offers(model, protocols.SamplingModel)
    assert protocols.offers(model, protocols.DenoisingModel) == ("diffusion" in name)


def test_information_is_there_only_where_a_model_has_it():
    without = [Plain(), build("logistic_mixture_conv_vae", COLOUR)]
    for model in [*without, build("bernoulli_mlp_vae", MNIST), build("gaussian_conv_vae", COLOUR)]:
        assert protocols.offers(model, protocols.LatentModel)
        assert protocols.offers(model, protocols.LatentModelWithInformation) == (model not in without)


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


@pytest.mark.parametrize("name", known_models())
def test_the_settings_that_a_model_is_said_to_take_are_those_of_its_class(name):
    taken = [*inspect.signature(building.class_named(name)).parameters]
    assert taken == ["image_shape", *KNOWN[name].settings]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        (
            "bernoulli_mlp",
            {},
            r"model 'bernoulli_mlp' is unknown; did you mean 'bernoulli_mlp_vae'\? \(your own is written module:Class\)",
        ),
        ("no_such_module:Model", {}, "could not be imported"),
        ("bernoulli_mlp_vae", {"latent": 3}, r"takes no 'latent'; did you mean 'latent_dim'\?$"),
        ("engram.models.mlp_vae:BernoulliMLPVAE", {"hiden": (4,)}, r"takes no 'hiden'; did you mean 'hidden'\?$"),
        ("bernoulli_mlp_vae", {"latent_dim": "3"}, "model bernoulli_mlp_vae with {'latent_dim': '3'}: "),
    ],
)
def test_a_mistake_in_the_model_is_named(name, settings, words):
    with pytest.raises(UserError, match=words):
        build(name, MNIST, **settings)
