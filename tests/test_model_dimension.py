"""The dimension of models of every family, through the analysis: known ranks, exact densities, a diffusion that has memorized."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

from engram.analyses import ways_to_dimension
from engram.analyses.model_dimension import analyse
from engram.analyses.ways_to_dimension import DRAWS, TIMES, gamma_at
from engram.catalogue import ANALYSES
from engram.figures.model_dimension import model_dimension as draw
from engram.geometry.jacobian import visible
from engram.models import build
from engram.models.observations import draw_fixed
from memorizing_denoiser import MemorizingDenoiser
from synthetic import answered, experiment, given

SHAPE, N = (1, 8, 8), 60
PIXEL = 35  # grey in many images


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return experiment(tmp_path_factory.mktemp("experiment"), n=N, test=8)


def training_x(paths, observation):
    dataset = given(paths).dataset
    images = torch.from_numpy(dataset["images"].values[:N])
    return draw_fixed(images, np.arange(N), observation, 1, "discs", 0).reshape(-1, *SHAPE)


def fitted(paths, name, **settings):
    model = build(name, SHAPE, **settings)
    model.fit(training_x(paths, model.observation))
    return model


def asked(paths, model):
    answer = analyse(given(paths, model))
    return answer, answered(answer)


class TwoOfThree(nn.Module):
    """A VAE whose image does not depend on its third latent, and hardly on its second where PIXEL is 0."""

    observation, latent_dim = "binary", 3

    def encode(self, x):
        grey = x.flatten(1)[:, PIXEL, None]
        return torch.cat([0 * grey, grey, 0 * grey], 1), torch.zeros(len(x), 3)

    def decode(self, z):
        along = torch.zeros(3, 64)
        along[0, 0], along[1, 1] = 2.0, 2.0
        return z * torch.stack([torch.ones_like(z[..., 0]), z[..., 1], 0 * z[..., 2]], -1) @ along

    def log_prob_given_latent(self, x, z):
        return (x.flatten(1) * self.decode(z)).sum(-1)

    def mean(self, parameters):
        return torch.sigmoid(parameters).reshape(-1, *SHAPE)


@pytest.mark.slow
def test_the_rank_of_a_vae_is_its_mean_over_draws_of_x(paths):
    """Where PIXEL of a draw is 1 the image has two directions, 2 s(1 - s) each, and else one."""
    answer, found = asked(paths, TwoOfThree())
    images = torch.from_numpy(given(paths).dataset["images"].values[:N])
    draws = [draw_fixed(images, np.arange(N), "binary", 1, "discs", number)[:, PIXEL] for number in range(DRAWS)]
    rank = 1 + torch.stack(draws).double()
    np.testing.assert_allclose(found["lid_model"], rank.mean(0))
    np.testing.assert_allclose(found["lid_model_standard_error"], rank.std(0) / DRAWS**0.5)
    assert found["lid_model_standard_error"].values.max() > 0 and found["singular_value"].shape == (N, 3)
    np.testing.assert_allclose(found["singular_value"][:, 0].min(), 0.5, rtol=1e-5)  # 2 sigmoid'(0)
    assert dict(answer.summary) == {"way": "jacobian", "most": 3, "visible": visible(64)} and answer.lacking == {}


def test_where_all_draws_of_x_are_one_the_error_of_the_rank_is_unknown(paths):
    model = TwoOfThree()
    model.observation = "pixels"
    _, found = asked(paths, model)
    assert np.isfinite(found["lid_model"]).all() and np.isnan(found["lid_model_standard_error"]).all()


def test_a_vae_with_gaussian_pixels_has_lidl_at_some_images(tmp_path, monkeypatch):
    monkeypatch.setattr(ways_to_dimension, "SAMPLED", 3)
    monkeypatch.setattr(ways_to_dimension, "DRAWS", 2)
    torch.manual_seed(0)
    shape, asked_for = (1, 32, 32), given(experiment(tmp_path, n=8, test=2, shape=(1, 32, 32)))
    model = build("gaussian_conv_vae_scalar_variance", shape, latent_dim=2, features=1).eval()
    with torch.no_grad():
        model.log_variance.fill_(-7.0)
        model.decoder[-1].weight.mul_(30)  # so that noise is little beside what z does
    found = answered(analyse(dataclasses.replace(asked_for, full_model=lambda epoch: model)))
    values = found["lidl_by_sampling"].values
    assert np.isfinite(values).nonzero()[0].tolist() == [0, 4, 7]
    # A decoder of ReLUs bends, so it is near 2 only; tests/test_geometry.py has straight ones.
    assert ((values[[0, 4, 7]] > 0.5) & (values[[0, 4, 7]] < 3)).all()
    assert np.isfinite(found["lidl_by_sampling_standard_error"][[0, 4, 7]]).all()


def test_the_dimension_of_probabilistic_pca_is_at_most_its_number_of_axes(paths):
    answer, found = asked(paths, fitted(paths, "ppca", latent_dim=3))
    assert found["lid_model"].values == pytest.approx(3, abs=0.2)
    assert answer.summary["most"] == 3 and "LIDL" in found["lid_model"].attrs["long_name"]
    assert np.isnan(found["lid_reference"]).all()


def test_a_kernel_density_has_no_dimension_where_its_kernels_are_apart(paths):
    narrow, wide = (asked(paths, fitted(paths, "kernel_density", bandwidth=width))[1] for width in (1e-3, 3.0))
    assert np.abs(narrow["lid_model"]).max() < 1e-6
    assert (wide["lid_model"] > 1).all()


def test_a_flow_has_a_dimension_too(paths, monkeypatch):
    pytest.importorskip("zuko", reason="the flow needs zuko, of the extra `flows`")
    torch.manual_seed(0)
    answer, found = asked(paths, build("flow", SHAPE, transforms=2, hidden=(8,)).eval())
    assert answer.summary["most"] == 64 and (found["lid_model"] > 40).all()
    assert found["singular_value"].shape == (N, 64) and (np.diff(found["singular_value"], axis=1) <= 0).all()
    monkeypatch.setattr(ways_to_dimension, "FLOW_WORK", 1e6)
    lacking, found = asked(paths, build("flow", SHAPE, transforms=2, hidden=(8,)).eval())
    assert "hours" in lacking.lacking["lid_model"] and np.isnan(found["lid_model"]).all()


@pytest.fixture(scope="module")
def memorizing(paths):
    model = MemorizingDenoiser(SHAPE, gamma_0=-13.0)
    model.fit(training_x(paths, "centred"))
    return model


def test_a_diffusion_that_has_memorized_is_its_own_reference(paths, memorizing):
    """64 numbers: the trace is exact. The network itself computes in float64."""
    answer, found = asked(paths, memorizing)
    assert found["flipd"].shape == (len(TIMES), N) and not found["flipd_standard_error"].any()
    np.testing.assert_allclose(found["flipd"], found["reference"], atol=1e-4)
    at = TIMES.index(0.05)
    np.testing.assert_allclose(found["lid_model"], found["flipd"][at], rtol=1e-6)
    np.testing.assert_allclose(found["lid_reference"], found["reference"][at], rtol=1e-6)
    # About an image that stands alone every direction leads out.
    alone = found["reference"].isel(gamma=0).values < 1e-3
    assert alone.any() and (found["normal_bundle"].values[alone] == 0).all()
    assert answer.summary["way"] == "flipd" and "exact trace" in found["lid_model"].attrs["long_name"]


def test_a_model_that_knows_little_noise_is_asked_about_what_it_knows(paths, memorizing):
    model = MemorizingDenoiser(SHAPE, gamma_0=-4.0)
    model.fit(training_x(paths, "centred"))
    few, every = asked(paths, model)[1], asked(paths, memorizing)[1]
    assert few["time"].values.tolist() == list(TIMES[1:])
    np.testing.assert_allclose(few["flipd"], every["flipd"][1:], rtol=1e-6)
    np.testing.assert_allclose(few["lid_model"], every["lid_model"], rtol=1e-6)


def test_random_signs_tell_the_trace_within_their_error(paths, memorizing, monkeypatch):
    monkeypatch.setattr(ways_to_dimension, "EXACT_UP_TO", 10)
    _, found = asked(paths, memorizing)
    error = found["flipd_standard_error"].values
    away = (found["flipd"] - found["reference"]).values[error > 1e-3] / error[error > 1e-3]
    assert len(away) > 50 and np.abs(away).mean() < 2 and abs(away.mean()) < 0.5
    monkeypatch.setattr(ways_to_dimension, "PIXELS_AT_ONCE", 7 * 64)
    np.testing.assert_allclose(asked(paths, memorizing)[1]["flipd"], found["flipd"], atol=1e-4)


class OfClasses(MemorizingDenoiser):
    """Given a class it has memorized that class's images, else all of them."""

    classes = property(lambda self: 10, lambda self, value: None)

    def fit_labels(self, label):
        self.label = torch.from_numpy(label)

    def predict_noise(self, z, gamma, label=None):
        if label is None:
            return super().predict_noise(z, gamma)
        every, found = self.points, torch.empty_like(z)
        for each in label.unique():
            self.points = every[self.label == each]
            self.count = torch.tensor(len(self.points))
            here = label == each
            found = found.index_put((here,), super().predict_noise(z[here], gamma[here]))
        self.points, self.count = every, torch.tensor(len(every))
        return found


def test_a_model_with_classes_is_asked_with_the_class_and_without(paths):
    model = OfClasses(SHAPE, gamma_0=-13.0)
    model.fit(training_x(paths, "centred"))
    asked_for = given(paths, model)
    model.fit_labels(asked_for.dataset["label"].values[:N].astype(np.int64))
    found = answered(analyse(asked_for))
    np.testing.assert_allclose(found["flipd"], found["reference"], atol=1e-4)
    without = answered(analyse(given(paths, memorizing_all(paths))))["reference"]
    np.testing.assert_allclose(found["flipd_unconditional"], without, atol=1e-4)
    assert np.abs(found["flipd_unconditional"] - found["flipd"]).max() > 0.1
    assert "given the class" in found["lid_model"].attrs["long_name"]


def memorizing_all(paths):
    model = MemorizingDenoiser(SHAPE, gamma_0=-13.0)
    model.fit(training_x(paths, "centred"))
    return model


def test_times_are_those_of_the_sde_by_quadrature():
    t = np.linspace(0, 0.2, 100_001)
    b = np.trapezoid(0.1 + 19.9 * t, t)
    assert gamma_at(0.2) == pytest.approx(np.log((1 - np.exp(-b)) / np.exp(-b)), rel=1e-9)


def test_models_that_offer_no_way_say_why(paths):
    assert "closed form" in asked(paths, nn.Linear(2, 2))[0].lacking["lid_model"]
    answer, found = asked(paths, MemorizingDenoiser(SHAPE, gamma_0=-3.0))
    assert "this one learned -3 to 5" in answer.lacking["lid_model"]
    assert answer.summary["way"] == "" and np.isnan(found["lid_model"]).all()
    with_classes = TwoOfThree()
    with_classes.classes = 10
    assert "classes" in asked(paths, with_classes)[0].lacking["lid_model"]
    assert {*ANALYSES["model_dimension"].columns} <= {*found}


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_figures_show_what_is_behind_each_way(paths, memorizing):
    scores = given(paths).scores
    for model, said in (
        (TwoOfThree(), "a direction counts above"),
        (fitted(paths, "ppca", latent_dim=3), "LIDL"),
        (memorizing, "memorized perfectly"),
        (nn.Linear(2, 2), "no dimension here"),
    ):
        answer, found = asked(paths, model)
        found.attrs |= dict(answer.summary) | {
            "lacking": json.dumps(dict(answer.lacking)),
            "values": '{"at": 0.05}',
        }
        assert said in texts(draw(found, scores))


def test_dimensions_do_not_depend_on_which_images_are_asked_for(paths, memorizing):
    whole = given(paths, memorizing)
    some = dataclasses.replace(
        whole, scores={name: scored.isel(sample=slice(5, 12)) for name, scored in whole.scores.items()}
    )
    part, found = answered(analyse(some)), answered(analyse(whole))
    np.testing.assert_allclose(part["lid_model"], found["lid_model"][5:12], rtol=1e-6)
