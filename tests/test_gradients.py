"""Gradients of each image against autograd, one image at a time; norms against closed forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from engram.analyses import gradients
from engram.analyses.gradients import Differentiated, Factors
from engram.errors import UserError
from engram.models import build
from engram.models.protocols import noise_shape

N = 5


class Objective(nn.Module):
    """A network's squared output, summed: an objective of x alone."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x, noise):
        return -(self.layers(x) ** 2).flatten(1).sum(1)


class Tied(nn.Module):
    """The weights of `encode` serve again, transposed, outside of the layer: its products are not the whole gradient."""

    def __init__(self):
        super().__init__()
        self.encode, self.bias = nn.Linear(12, 3), nn.Parameter(torch.zeros(12))

    def forward(self, x, noise):
        x = x.flatten(1)
        decoded = torch.tanh(self.encode(x)) @ self.encode.weight + self.bias
        return -((x - decoded) ** 2).sum(1)


class Recurrent(nn.Module):
    """One layer that is used three times, and once by its argument's name."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x, noise):
        h = torch.tanh(self.layer(self.layer(x.flatten(1))))
        return -(self.layer(input=h) ** 2).sum(1)


class OverTheImages(nn.Module):
    """Its linear layer's first axis holds pixels: it is no layer of one row for each image."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 2)

    def forward(self, x, noise):
        return -(self.layer(x.flatten(1).T[..., None]) ** 2).sum((0, 2))


def mlp():
    return Objective(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(inplace=True), nn.Linear(4, 3, bias=False))


MODELS = {
    "mlp": (mlp, 2, 0),
    "convolution": (
        lambda: Objective(nn.Conv2d(3, 2, (2, 1), (1, 2), 1), nn.Tanh(), nn.Conv2d(2, 5, 2, bias=False)),
        2,
        0,
    ),
    "dilated": (lambda: Objective(nn.Conv2d(3, 4, 2, padding=2, dilation=2)), 1, 0),
    "transposed": (lambda: Objective(nn.ConvTranspose2d(3, 2, 3, 2, 1, output_padding=1), nn.Tanh()), 1, 0),
    "grouped": (lambda: Objective(nn.Conv2d(3, 6, 2, groups=3)), 0, 30),
    "normalized": (
        lambda: Objective(nn.Conv2d(3, 4, 2, 1, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Sigmoid()),
        1,
        16,
    ),
    "tied": (Tied, 0, 51),
    "recurrent": (Recurrent, 1, 0),
    "of sequences": (lambda: Objective(nn.Flatten(2), nn.Linear(4, 2), nn.Tanh()), 1, 0),
    "over the images": (OverTheImages, 0, 4),
}


def one_by_one(model, inputs):
    """Autograd's gradient with respect to all parameters for each image alone, (n, weights)."""
    rows = []
    for image in range(len(inputs[0])):
        objective = model(*(values[image : image + 1] for values in inputs)).sum()
        found = torch.autograd.grad(objective, [*model.parameters()], materialize_grads=True)
        rows.append(torch.cat([part.flatten() for part in found]))
    return torch.stack(rows)


def assert_same(model, inputs):
    """All inner products of gradients of images agree, whatever the order of the weights, and so do their norms."""
    model.eval()
    found, expected = Differentiated.of(model, *inputs)(*inputs), one_by_one(model, inputs)
    scale = expected.square().sum(1).max()
    torch.testing.assert_close(
        found.matrix() @ found.matrix().T / scale, expected @ expected.T / scale, rtol=0, atol=1e-5
    )
    torch.testing.assert_close(found.squared_norms()[0], expected.square().sum(1), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.objective, model(*inputs).detach())
    return found


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_autograd_one_image_at_a_time(name):
    make, layers, others = MODELS[name]
    torch.manual_seed(0)
    model = make()
    found = assert_same(model, (torch.randn(N, 3, 2, 2), torch.zeros(N, 0)))
    assert (len(found.calls), found.others.shape) == (layers, (N, others))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "bernoulli_mlp_vae", "image_shape": (1, 8, 8), "hidden": (9, 7), "latent_dim": 3},
        {"name": "gaussian_conv_vae_scalar_variance", "image_shape": (3, 32, 32), "features": 2, "latent_dim": 3},
        {"name": "flow", "image_shape": (1, 4, 4), "transforms": 2, "hidden": (8,)},
        {"name": "unet_diffusion", "image_shape": (1, 8, 8), "channels": (4, 8), "classes": 3},
    ],
    ids=lambda settings: settings["name"],
)
def test_gradients_of_the_models_that_ship_with_engram(settings):
    library = {"flow": "zuko", "unet_diffusion": "diffusers"}.get(settings["name"], "torch")
    pytest.importorskip(library, reason="the model's extra is not installed")
    torch.manual_seed(0)
    model = build(**settings)
    x = (torch.rand(N, *settings["image_shape"]) > 0.5).float()
    label = (torch.arange(N) % 3,) if "classes" in settings else ()
    found = assert_same(model, (x, torch.randn(N, *noise_shape(model)), *label))
    linear = sum(part.matrices()[0].numel() for _, part in found.layers())
    assert linear > 0.9 * sum(value.numel() for value in model.parameters())  # hardly anything is left to torch.func


def test_the_last_layer_of_a_bernoulli_decoder_has_a_closed_form():
    """|x - sigmoid(logits)|^2 (1 + |h|^2), with h what the last layer is given."""
    torch.manual_seed(0)
    model = build("bernoulli_mlp_vae", (1, 4, 4), hidden=(6, 5), latent_dim=2).eval()
    x, noise = (torch.rand(N, 1, 4, 4) > 0.5).float(), torch.randn(N, 2)
    _, of_last = Differentiated.of(model, x, noise)(x, noise).squared_norms()
    with torch.no_grad():
        mean, log_variance = model.encode(x)
        h = model.decoder[0](mean + (log_variance / 2).exp() * noise)
        missed = x.flatten(1) - model.decoder[1](h).sigmoid()
    torch.testing.assert_close(of_last, missed.square().sum(1) * (1 + h.square().sum(1)))


def test_the_last_layer_is_the_one_that_is_used_last_with_all_of_its_bias():
    model = Objective(nn.Flatten(), nn.Linear(12, 6), nn.Unflatten(1, (6, 1, 1)), nn.ConvTranspose2d(6, 2, 2))
    inputs = torch.randn(N, 3, 2, 2), torch.zeros(N, 0)
    expected = one_by_one(model, inputs)[:, 12 * 6 + 6 :]
    torch.testing.assert_close(Differentiated.of(model, *inputs)(*inputs).squared_norms()[1], expected.square().sum(1))


@pytest.mark.parametrize("places", [1, 3, 40])
def test_a_squared_norm_needs_no_gradient_where_there_are_few_places(places, monkeypatch):
    generator = torch.Generator().manual_seed(places)
    factors = Factors(torch.randn(N, places, 4, generator=generator), torch.randn(N, places, 5, generator=generator))
    expected = torch.einsum("ntr,ntc->nrc", *factors).square().sum((1, 2))
    monkeypatch.setattr(gradients, "VALUES", 45)  # gradients of two images at once
    torch.testing.assert_close(factors.squared_norm(), expected)
    assert [len(part.rows) for part in factors.parts()] == [2, 2, 1]
    if places == 1:
        monkeypatch.setattr(Factors, "matrices", None)
        torch.testing.assert_close(factors.squared_norm(), expected)


def test_what_torch_func_holds_bounds_how_many_images_are_taken_at_once(monkeypatch):
    inputs = torch.randn(N, 3, 2, 2), torch.zeros(N, 0)
    monkeypatch.setattr(gradients, "VALUES", 500)
    assert Differentiated.of(Tied(), *inputs).images_at_once == 500 // 51
    assert Differentiated.of(mlp().eval(), *inputs).images_at_once == 500


def test_a_model_that_torch_func_cannot_take_is_refused_with_the_reason():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x, noise):
            return x.flatten(1).sum(1) * self.scale if float(x.sum()) > 0 else functional.relu(x).sum((1, 2, 3))

    with pytest.raises(UserError, match=r"^torch\.func cannot take the model: "):
        Differentiated.of(Branching(), torch.ones(N, 1, 2, 2), torch.zeros(N, 0))
