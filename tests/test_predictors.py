"""Predictors: each measure of a model by hand, what is lacking, the paired comparison with 5-NN against SciPy, the figure."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from scipy.stats import spearmanr
from torch import nn

from engram.analyses import objective, predictors, stage
from engram.analyses.baselines import distance_to_nearest
from engram.analyses.judged_images import JudgedImages
from engram.analyses.predictors import BY_GRADIENTS, BY_LOG_PX, PREDICTORS, analyse
from engram.analyses.self_influence import rate_at
from engram.catalogue import ANALYSES
from engram.figures.predictors import BETTER
from engram.figures.predictors import predictors as draw
from engram.files import artifacts, inputs
from engram.models import build
from engram.models.observations import draw_fixed
from engram.randomness import image_normals
from engram.scores import intervals
from synthetic import EPOCHS, Sampler, answered, experiment, given

TRAINING = {"learning_rate": 0.01, "learning_rate_schedule": "linear", "epochs": 40}
SHAPE = (1, 8, 8)

pytestmark = pytest.mark.usefixtures("few_resamples")


def vae(seed=0):
    torch.manual_seed(seed)
    return build("bernoulli_mlp_vae", SHAPE, latent_dim=2, hidden=(6,)).eval()


def asked(folder, models, training=TRAINING, **settings):
    """Inputs with a full model at every epoch: one for all, or one each."""
    asked = given(experiment(folder, n=40, test=5, **settings))
    at = models if isinstance(models, dict) else dict.fromkeys(EPOCHS, models)
    return dataclasses.replace(asked, full_model=at.get, training=training)


@pytest.fixture(scope="module")
def of_vae(tmp_path_factory):
    asked_for = asked(tmp_path_factory.mktemp("vae"), dict(zip(EPOCHS, map(vae, range(2)), strict=True)))
    return asked_for, analyse(asked_for)


def by_hand(asked, model, measure):
    """Mean over the draws of measure(objective of one image), for each of the first images."""
    images = torch.from_numpy(asked.dataset["images"].values)
    each = []
    for row in range(3):
        values = []
        for draw_number in range(objective.DRAWS):
            rows = np.array([row])
            x = draw_fixed(images[rows], rows, "binary", asked.seed, "discs", draw_number).reshape(1, *SHAPE)
            noise = image_normals(rows, (2,), asked.seed, "objective", "discs", draw_number)
            values.append(measure(model(x, noise).sum()))
        each.append(np.mean(values))
    return np.array(each)


def test_log_p_is_the_mean_objective_over_draws_of_x_and_noise(of_vae):
    asked_for, answer = of_vae
    first, last = (-by_hand(asked_for, asked_for.full_model(epoch), torch.Tensor.item) for epoch in EPOCHS)
    found = answered(answer)
    np.testing.assert_allclose(found["surprisal"][:3], last, rtol=1e-5)
    np.testing.assert_allclose(found["loss_trajectory"][:3], (first + last) / 2, rtol=1e-5)
    np.testing.assert_allclose(found["loss_drop"][:3], first - last, rtol=1e-3, atol=1e-4)


def test_tracin_is_the_learning_rate_times_the_squared_norm_summed_over_epochs(of_vae):
    asked_for, answer = of_vae
    models = [asked_for.full_model(epoch) for epoch in EPOCHS]

    def squared(parameters):
        parameters = [*parameters]
        return lambda value: sum(float(part.square().sum()) for part in torch.autograd.grad(value, parameters))

    norms = [by_hand(asked_for, model, squared(model.parameters())) for model in models]
    of_last = [by_hand(asked_for, model, squared(model.decoder[1].parameters())) for model in models]
    rates = 0.01 * (1 - 19.5 / 40), 0.01 * (1 - 39.5 / 40)  # in the middle of the epochs that end at 20 and at 40
    found = answered(answer)
    np.testing.assert_allclose(found["gradient_norm"][:3], np.sqrt(norms[1]), rtol=1e-4)
    np.testing.assert_allclose(found["tracin"][:3], rates[0] * norms[0] + rates[1] * norms[1], rtol=1e-4)
    np.testing.assert_allclose(found["tracin_last_layer"][:3], rates[0] * of_last[0] + rates[1] * of_last[1], rtol=1e-4)


def test_everything_is_there_for_a_vae_with_what_it_took(of_vae):
    _, answer = of_vae
    assert answer.lacking == {} and set(answer.seconds) == set(PREDICTORS) == set(ANALYSES["predictors"].measures)
    found = answered(answer)
    assert all(np.isfinite(found[name]).all() for name in PREDICTORS)
    assert list(ANALYSES["predictors"].columns) == list(PREDICTORS)
    assert json.loads(json.dumps(answer.settings))["draws"] == objective.DRAWS
    assert answer.seconds["tracin"] > answer.seconds["gradient_norm"]
    assert "of a VAE the evidence lower bound; mean over 8 draws" in found["surprisal"].attrs["long_name"]


def test_an_image_is_measured_alike_whatever_others_are(of_vae):
    """But by EK-FAC, whose curvature is of all of them."""
    asked_for, _ = of_vae
    dataset, model = asked_for.dataset, asked_for.full_model(EPOCHS[0])
    few, all_of_them = (
        JudgedImages.of(dataset, np.arange(20)[rows], 1, "objective") for rows in (slice(7, 9), slice(None))
    )
    np.testing.assert_allclose(objective.log_px(model, few), objective.log_px(model, all_of_them)[7:9], rtol=1e-6)


def test_correlations_are_scipys_and_5_nn_gains_nothing_over_itself(of_vae):
    asked_for, answer = of_vae
    found, images = answered(answer), asked_for.dataset["images"].values[:40]
    np.testing.assert_array_equal(found["distance_5nn"], distance_to_nearest(images))
    for estimator, scored in asked_for.scores.items():
        by_5nn = found.sel(predictor="distance_5nn", estimator=estimator)
        expected = spearmanr(found["distance_5nn"], inputs.last(scored)).statistic
        assert float(by_5nn["spearman"]) == pytest.approx(expected)
        assert intervals.read(by_5nn, "gain_over_5nn") == (0, 0, 0)
        gain = float(found.sel(predictor="tracin", estimator=estimator)["gain_over_5nn"])
        assert gain == pytest.approx(spearmanr(found["tracin"], inputs.last(scored)).statistic - expected)


def test_the_interval_of_a_gain_is_scipys_over_resampled_images():
    rng = np.random.default_rng(0)
    score = rng.normal(size=60).round(1)
    a, b = (score + rng.normal(size=60)).round(1), score + 2 * rng.normal(size=60)
    found, of_b, of_a_constant = intervals.spearman_gains([a, b, np.ones(60)], b, score, np.random.default_rng(1))
    again, gains = np.random.default_rng(1), []
    for _ in range(intervals.RESAMPLES):
        seen = np.repeat(np.arange(60), again.multinomial(60, np.full(60, 1 / 60)))
        gains.append(spearmanr(a[seen], score[seen]).statistic - spearmanr(b[seen], score[seen]).statistic)
    expected = spearmanr(a, score).statistic - spearmanr(b, score).statistic, *np.quantile(gains, [0.025, 0.975])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert of_b == (0, 0, 0) and np.isnan(of_a_constant).all()
    assert np.isnan(intervals.spearman_gains([a[:3]], b[:3], score[:3], again)).all()


def test_a_model_that_was_fitted_has_a_log_p_and_no_gradients(tmp_path):
    torch.manual_seed(0)
    model = build("gaussian", SHAPE, covariance="spherical")
    asked_for = asked(tmp_path, model, training=None)
    rows = np.arange(40)
    x = draw_fixed(torch.from_numpy(asked_for.dataset["images"].values[:40]), rows, "logit", 1, "discs", 0)
    model.fit(x.reshape(-1, *SHAPE))
    answer = analyse(asked_for)
    assert {*answer.lacking} == {*BY_GRADIENTS}
    assert all("no parameters that were trained" in reason for reason in answer.lacking.values())
    found = answered(answer)
    assert np.isnan(found["tracin"]).all() and np.isnan(found["spearman"].sel(predictor="tracin")).all()
    log_p = model.log_prob(x.reshape(-1, *SHAPE)) + objective.log_pixel_volume(x, "logit")
    np.testing.assert_allclose(found["surprisal"], -log_p, rtol=1e-6)
    assert answer.settings["draws"] == 1 and answer.settings["log_px"] == "exact"


class Scaled(nn.Module):
    """An objective of one number, without any layer."""

    observation = "binary"

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, noise):
        return -self.scale * x.flatten(1).sum(1)


def test_what_is_lacking_is_said(tmp_path):
    of_sampler = analyse(asked(tmp_path / "a", Sampler(np.zeros((2, *SHAPE)))))
    assert of_sampler.lacking["surprisal"] == "the full model offers no way to log p"
    assert of_sampler.lacking["tracin"] == "the model offers no objective, forward(x, noise)"
    assert {*of_sampler.lacking} == {*BY_LOG_PX, *BY_GRADIENTS}
    unlayered = analyse(asked(tmp_path / "b", Scaled(), training=None, classes=False)).lacking
    assert unlayered["ekfac_self_influence"] == "the model has no linear or convolutional layer"
    assert unlayered["tracin"] == "the learning rate of the full model's training is not known"
    assert unlayered["distance_from_class_mean"] == "no image has a class"
    assert {*unlayered} == {"ekfac_self_influence", "tracin", "tracin_last_layer", "distance_from_class_mean"}
    one_epoch = asked(tmp_path / "c", vae())
    scores = {name: scored.isel(epoch=[-1]) for name, scored in one_epoch.scores.items()}
    lacking = analyse(dataclasses.replace(one_epoch, scores=scores)).lacking
    assert {*lacking} == {"loss_trajectory", "loss_drop"}


def test_where_some_images_have_no_class_the_others_are_compared(tmp_path):
    asked_for = asked(tmp_path, Sampler(np.zeros((2, *SHAPE))))
    asked_for.dataset["label"][:10] = -1
    found = answered(analyse(asked_for)).isel(estimator=0)
    assert np.isnan(found["distance_from_class_mean"]).sum() == 10
    score = inputs.last(asked_for.first)[10:]
    rest = found.isel(sample=slice(10, None))
    of_class, of_5nn = (spearmanr(rest[name], score).statistic for name in ("distance_from_class_mean", "distance_5nn"))
    compared = found.sel(predictor="distance_from_class_mean")
    assert float(compared["spearman"]) == pytest.approx(of_class)
    assert float(compared["gain_over_5nn"]) == pytest.approx(of_class - of_5nn)


def test_the_rate_is_that_of_the_schedule():
    assert rate_at({"learning_rate": 0.1, "epochs": 4}, 4) == 0.1
    assert rate_at({"learning_rate": 0.1, "epochs": 4, "learning_rate_schedule": "linear"}, 4) == pytest.approx(0.0125)


def test_the_stage_reads_how_the_full_model_was_trained(tmp_path):
    paths = experiment(tmp_path, n=20, test=5)
    read = stage.read({"full_model": paths["full_model"]}, None, "synthetic", 1)
    assert read.training is None
    stored = artifacts.read(paths["full_model"], "models")
    variables = {name: (value.dims, value.values, value.attrs) for name, value in stored.variables.items()}
    kept = {key: value for key, value in stored.attrs.items() if key not in ("format_version", "kind", "sealed")}
    artifacts.write(tmp_path / "trained.h5", "models", variables, kept | {"values": json.dumps({"training": TRAINING})})
    assert stage.read({"full_model": tmp_path / "trained.h5"}, None, "synthetic", 1).training == TRAINING


def test_the_figure_shows_in_colour_what_beats_5_nn_and_says_what_is_lacking(tmp_path):
    asked_for = asked(tmp_path, Scaled())
    first = next(iter(asked_for.scores))
    asked_for.scores[first]["score"][-1] = asked_for.dataset["images"].values[:40].sum(1)  # which -log p tells exactly
    answer = analyse(asked_for)
    analysis = answered(answer).assign_attrs(lacking=json.dumps(answer.lacking))
    drawn = draw(analysis, asked_for.scores)
    texts = [text.get_text() for text in drawn.findobj(Text)]
    assert texts.count("the model has no linear or convolutional layer") == 4  # two measures by two estimators
    axes = drawn.axes[0]
    colours = {line.get_ydata()[0]: to_rgb(line.get_color()) for line in axes.lines if line.get_marker() in "so"}
    place = [*PREDICTORS].index("surprisal")
    assert colours[place] == to_rgb(BETTER) != colours[[*PREDICTORS].index("distance_5nn")]
    for row, name in enumerate(PREDICTORS):
        gain = analysis["gain_over_5nn_low"].sel(predictor=name, estimator=first)
        assert row not in colours or (colours[row] == to_rgb(BETTER)) == bool(gain > 0)
    assert axes.get_xlim()[1] == 1 and predictors.TO_BEAT == "distance_5nn"
