"""The influence benchmark: hand cases, SciPy, linear log p with noise of known size, Gaussians in closed form, autograd."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from matplotlib.text import Text
from scipy.stats import spearmanr
from torch import nn

from engram import config
from engram.analyses import attribution, ekfac, ekfac_influence, influence
from engram.analyses.gradients import Differentiated, Factors
from engram.analyses.judged_images import JudgedImages
from engram.analyses.linear_datamodeling import (
    Resamples,
    ceiling,
    correlations,
    forecast,
    of_other_repeats,
    regression,
)
from engram.analyses.objective import why_no_gradients
from engram.analyses.projected_gradients import FEATURES, Projections, features
from engram.config_given import has
from engram.errors import UserError
from engram.figures.influence import influence as draw
from engram.files import artifacts
from engram.models import build
from half_splits import GaussianMean, experiment, halves, linear

ONCE = np.ones((1, 4), np.float32)


def of_normal(correlation):
    """Spearman's correlation of normal variables with this correlation."""
    return 6 / np.pi * np.arcsin(correlation / 2)


def score(tau, in_training, log_px, repeat, rng):
    resamples = Resamples.of(repeat, log_px.shape[1], rng)
    found = correlations(forecast(tau, in_training), log_px, resamples.halves)
    return resamples.interval(resamples.over_images(found))


def test_the_score_of_four_halves_by_hand():
    in_training = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=bool)
    tau = np.array([[4.0], [2.0], [1.0], [0.0]])  # the halves sum up to 6, 1, 5, 2, half of all to 3.5
    assert forecast(tau, in_training)[:, 0].tolist() == [2.5, -2.5, 1.5, -1.5]
    log_px = np.array([[-80.0], [-90.0], [-79.0], [-85.0]])  # ranks 3, 1, 4, 2 beside 4, 1, 3, 2
    assert correlations(forecast(tau, in_training), log_px, ONCE)[0, 0] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert correlations(-forecast(tau, in_training), log_px, ONCE)[0, 0] == pytest.approx(-0.8)
    assert correlations(np.ones((4, 1)), log_px, ONCE)[0, 0] == 0


def test_correlations_are_scipys_with_ties_and_weights_count_halves_several_times(rng):
    foretold, log_px = rng.integers(0, 6, (30, 7)), rng.normal(size=(30, 7)) + rng.integers(0, 3, (30, 1))
    counts = rng.integers(0, 4, 30)
    found = correlations(foretold.astype(float), log_px, np.array([np.ones(30), counts], np.float32))
    for image in range(7):
        wanted = spearmanr(foretold[:, image], log_px[:, image]).statistic
        repeated = spearmanr(*(np.repeat(values[:, image], counts) for values in (foretold, log_px))).statistic
        assert found[:, image] == pytest.approx([wanted, repeated], abs=1e-5)


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_the_true_attribution_of_linear_log_p_has_the_score_that_its_noise_leaves_and_the_ceiling_knows_it(share):
    rng = np.random.default_rng(1)
    in_training, repeat = halves(300, 60)
    tau, log_px = linear(rng, in_training, 150, share)
    wanted = of_normal(np.sqrt(share))
    assert score(tau, in_training, log_px, repeat, rng).estimate == pytest.approx(wanted, abs=0.02)
    resamples = Resamples.of(repeat, 150, rng)
    highest = ceiling(log_px, repeat, resamples)
    assert highest[0] == pytest.approx(wanted, abs=0.02)
    _, low, high = resamples.interval(highest)
    assert low < wanted < high
    assert score(rng.normal(size=tau.shape), in_training, log_px, repeat, rng).estimate == pytest.approx(0, abs=0.03)
    shuffled = rng.permutation(len(repeat))
    again = ceiling(log_px[shuffled], repeat[shuffled], Resamples.of(repeat[shuffled], 150, rng))
    assert again[0] == pytest.approx(highest[0], abs=1e-6)


def test_the_ceiling_of_pure_noise_is_low_and_what_both_halves_share_lowers_it():
    rng = np.random.default_rng(2)
    in_training, repeat = halves(300, 60)
    _, log_px = linear(rng, in_training, 150, 0.6)
    drawn = Resamples.of(repeat, 150, rng)
    assert ceiling(rng.normal(size=log_px.shape), repeat, drawn)[0] < 0.15
    of_pair = rng.normal(size=(60, 150))[repeat] * log_px.std(axis=0)
    # share = (sums - pairs) / all, with variances 0.6, 1 and 2 of what log p had
    assert ceiling(log_px + of_pair, repeat, drawn)[0] == 0
    wanted = of_normal(np.sqrt((0.6 - 0.25) / 1.25))
    assert ceiling(log_px + of_pair / 2, repeat, drawn)[0] == pytest.approx(wanted, abs=0.03)
    with pytest.raises(ValueError, match="two complementary halves"):
        ceiling(log_px[:-1], repeat[:-1], drawn)


def expected(tau, known, share):
    """The score of tau over all halves, where log p is half sums of `known` (n, images) and noise, as `linear` makes them."""
    n = len(tau)
    a, b = (values - values.mean(axis=0) for values in (tau, known))
    variance = (b**2).sum(axis=0) / (n - 1) + 1 / share - 1  # of log p, over n / 4
    return of_normal((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * variance * (n - 1))).mean()


@pytest.mark.slow
@pytest.mark.parametrize(("repeats", "common"), [(50, 0.0), (50, 0.8), (20, 0.8), (6, 0.8)])
def test_the_interval_holds_the_expected_score_as_often_as_it_says(repeats, common):
    holds = []
    for number in range(200):
        rng = np.random.default_rng(number)
        in_training, repeat = halves(100, repeats, seed=number)
        tau, log_px = linear(rng, in_training, 25, 0.4, common)
        some = 0.5 * tau + np.sqrt(0.75) * linear(rng, in_training, 25, 0.4, common)[0]
        found = score(some, in_training, log_px, repeat, rng)
        holds.append(found.low <= expected(some, tau, 0.4) <= found.high)
    assert np.mean(holds) >= 0.92, np.mean(holds)


def test_regression_recovers_a_linear_function_and_reads_no_half_of_its_own_repeat(rng):
    in_training, repeat = halves(10, 60)
    tau, log_px = linear(rng, in_training, 40, 0.8)
    foretold = regression(log_px, in_training, repeat)
    weights = np.ones((1, len(repeat)), np.float32)
    by_truth = correlations(forecast(tau, in_training), log_px, weights).mean()
    assert by_truth - 0.04 < correlations(foretold, log_px, weights).mean() < by_truth
    poisoned = log_px.copy()
    poisoned[repeat == 3] += 1e6
    after = regression(poisoned, in_training, repeat)
    assert (after[repeat == 3] == foretold[repeat == 3]).all() and (after[repeat != 3] != foretold[repeat != 3]).all()
    noise = rng.normal(size=log_px.shape)  # foretelling with the mean of the others would correlate as -1
    assert abs(correlations(regression(noise, in_training, repeat), noise, weights).mean()) < 0.05


def test_no_half_is_foretold_by_a_model_of_its_own_repeat():
    forecasts = np.array([[[1.0]] * 4, [[2.0]] * 4, [[30.0]] * 4, [[40.0]] * 4])
    found = of_other_repeats(forecasts, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))
    assert found[:, 0].tolist() == [35, 35, 1.5, 18.25]


def white(rng, n, k):
    """(n, k) with mean 0 and the products n times the identity."""
    values = rng.normal(size=(n, k))
    values -= values.mean(0)
    return np.linalg.qr(values)[0] * np.sqrt(n)


def test_trak_of_exact_gradients_is_leaving_out_an_image_of_a_gaussian_mean(rng):
    """The gradient of log N(x; mean, 1) by the mean is x - mean; leaving out image i moves the mean by (mean - x_i) / (n - 1)."""
    n, x, test = 400, white(rng, 400, 5), 2 * rng.normal(size=(8, 5))

    def log_p(of, mean):
        return -0.5 * ((of - mean) ** 2).sum(-1)

    left_out = [log_p(test, x.mean(0)) - log_p(test, np.delete(x, i, 0).mean(0)) for i in range(n)]
    tau = attribution.trak(torch.tensor(x), torch.tensor(test)).numpy()
    assert (1 + attribution.DAMPING) * tau == pytest.approx(np.array(left_out), abs=0.05 * np.std(left_out))
    influence_by_products = attribution.gradient_dot(torch.tensor(x), torch.tensor(test)).numpy() / n
    assert (1 + attribution.DAMPING) * tau == pytest.approx(influence_by_products, abs=1e-9)
    own = attribution.self_influence(torch.tensor(x)).numpy()
    assert own == pytest.approx((x**2).sum(1) / (1 + attribution.DAMPING) / n)


def test_trak_weighs_directions_by_what_gradients_there_are(rng):
    phi, x = rng.normal(size=(50, 3)) * [1, 5, 0.2], rng.normal(size=(4, 3))
    damped = phi.T @ phi + attribution.DAMPING * np.trace(phi.T @ phi) / 3 * np.eye(3)
    found = attribution.trak(torch.tensor(phi), torch.tensor(x)).numpy()
    assert found == pytest.approx(phi @ np.linalg.inv(damped) @ x.T)
    own = attribution.self_influence(torch.tensor(phi)).numpy()
    assert own == pytest.approx(np.diag(phi @ np.linalg.inv(damped) @ phi.T))


def test_pixel_baselines_by_hand():
    train = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2], [9, 9], [5, 0]]).double()
    test = torch.tensor([[0.0, 1.0]]).double()
    distance = np.array([1, np.sqrt(5), 1, np.sqrt(5), np.sqrt(145), np.sqrt(26)])
    fifth = np.sort(distance)[4]
    assert attribution.pixel_kernel(train, test)[:, 0].numpy() == pytest.approx(np.exp(-(distance**2) / 2 / fifth**2))
    mean = train.mean(0)
    cosine = nn.functional.cosine_similarity(train - mean, test - mean)
    assert attribution.pixel_similarity(train, test)[:, 0].numpy() == pytest.approx(cosine.numpy())
    copies = attribution.pixel_kernel(torch.zeros(7, 2), torch.zeros(1, 2))
    assert copies[:, 0].tolist() == [1] * 7


def random_images(n, shape, seed=0):
    pixels = torch.randint(
        0, 256, (n, int(np.prod(shape))), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    return JudgedImages(np.arange(n), pixels.numpy(), np.full(n, -1), shape, "random", seed, "gradients")


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "bernoulli_mlp_vae", "image_shape": (1, 4, 4), "latent_dim": 3, "hidden": (10, 8)},
        {"name": "bernoulli_conv_vae", "image_shape": (1, 32, 32), "latent_dim": 4, "features": 2},
    ],
    ids=lambda settings: settings["name"],
)
def test_products_of_features_are_those_of_autograds_gradients(settings):
    torch.manual_seed(0)
    model, images = build(**settings).eval(), random_images(12, settings["image_shape"])
    assert why_no_gradients(model, images) is None
    found = features(model, images, draws=2, size=4096)
    exact = torch.zeros(12, sum(value.numel() for value in model.parameters()))
    for number in (0, 1):
        for image in range(12):
            objective = model(*images.part(slice(image, image + 1)).given(model, number)).sum()
            gradients = torch.autograd.grad(objective, [*model.parameters()])
            exact[image] += torch.cat([value.flatten() for value in gradients]) / 2
    norms = exact.norm(dim=1)
    error = (found @ found.T - exact @ exact.T) / norms[:, None] / norms
    assert error.square().mean().sqrt() < 3.5 / np.sqrt(
        4096
    )  # a product of two normals has variance 8, and less over layers
    again = features(model, images.part(slice(5, None)), draws=2, size=4096)
    torch.testing.assert_close(again, found[5:], atol=1e-3, rtol=1e-3)


def test_both_ways_to_project_a_layer_are_the_definition(rng):
    for places, shape in ((1, (5, 7)), (9, (5, 7)), (9, (30, 40))):
        factors = Factors(*(torch.tensor(rng.normal(size=(3, places, side))).float() for side in shape))
        projections = Projections(0, 11)
        found = projections.of_layer("layer", factors)
        v, u = projections.kept["layer", "rows"], projections.kept["layer", "columns"]
        wanted = torch.einsum("rj,irc,cj->ij", v, factors.matrices(), u) / np.sqrt(11)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tolerance", [ekfac_influence.TOLERANCE, 1e-6])
def test_influence_by_ekfac_is_the_product_with_the_damped_inverse(monkeypatch, tolerance):
    monkeypatch.setattr(ekfac_influence, "TOLERANCE", tolerance)
    torch.manual_seed(0)
    model = build("bernoulli_mlp_vae", image_shape=(1, 4, 4), latent_dim=3, hidden=(10, 8)).eval()
    images = random_images(70, (1, 4, 4))
    tau = ekfac_influence.influence(model, images, 60)
    differentiated = Differentiated.of(model, *images.part(slice(3)).given(model, 0))
    of_train, of_test = (
        dict(differentiated(*images.part(here).given(model, 0)).layers()) for here in (slice(60), slice(60, 70))
    )
    curvatures = ekfac.fit(lambda: [of_train.items()])
    wanted = sum(
        of_train[name].matrices().flatten(1) @ layer.preconditioned(of_test[name].matrices()).flatten(1).T
        for name, layer in curvatures.items()
    )
    assert (tau - wanted).norm() < max(2 * tolerance, 1e-4) * wanted.norm()
    conv = build("bernoulli_conv_vae", image_shape=(1, 32, 32), latent_dim=4, features=2).eval()
    assert "linear layers alone" in ekfac_influence.why_not(conv, random_images(4, (1, 32, 32)))


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    return influence.analyse(experiment(tmp_path_factory.mktemp("halves")))


def of_answer(answer):
    attributes = {"lacking": json.dumps(dict(answer.lacking))} | answer.summary
    return xr.Dataset(dict(answer.variables), attrs=attributes)


def test_gaussian_means_are_foretold_by_the_products_of_their_gradients(answer):
    found = of_answer(answer).sel(estimator="exact")
    score = found["linear_datamodeling_score"]
    # The product of gradients is the influence itself, which log p follows but for the square of the mean's shift.
    assert score.sel(attribution="gradient_dot") > 0.97 and score.sel(attribution="tracin") > 0.97
    assert score.sel(attribution="gradient_dot") > score.sel(attribution="pixel_kernel") + 0.05
    assert score.sel(attribution="trak") > 0.9 and score.sel(attribution="trak_1") > 0.9
    assert found["ceiling"] > score.max() - 0.02
    assert found["correlation"].mean("test_image").values == pytest.approx(score.values, abs=1e-6, nan_ok=True)
    assert answer.lacking == {"ekfac_influence": "influence by EK-FAC is computed for models of linear layers alone"}
    assert answer.summary["halves"] == 40 and answer.summary["models_in_ensemble"] == 10


def test_the_images_that_helped_most_are_named_by_their_place_in_the_data_set(answer, tmp_path):
    x = experiment(tmp_path).dataset["images"].values.astype(float)
    helpful, tests = (answer.variables[name][1] for name in ("most_helpful", "test_image"))
    assert tests.tolist() == [*range(80, 95)] and np.shape(helpful) == (7, influence.SHOWN, influence.NEAREST)
    by_distance = np.argsort(((x[:80, None] - x[80:83]) ** 2).sum(-1), axis=0)[: influence.NEAREST].T
    assert (helpful[influence.METHODS.index("pixel_kernel")] == by_distance).all()
    assert (helpful[influence.METHODS.index("ekfac_influence")] == -1).all()


def test_self_influence_is_the_leverage_of_the_gaussians_gradients(answer, tmp_path):
    given = experiment(tmp_path)
    x = given.dataset["images"].values[:80] / 255
    own = np.zeros(80)
    for load in given.models[:5]:
        for model in load(2):
            phi = x - model.mean.detach().numpy()
            damped = phi.T @ phi + attribution.DAMPING * np.trace(phi.T @ phi) / FEATURES * np.eye(9)
            own += np.einsum("ij,jk,ik->i", phi, np.linalg.inv(damped), phi) / 10
    stored = answer.variables["trak_self_influence"][1]
    assert stored == pytest.approx(own, rel=0.05)  # 9 gradients spread over 1,024 random directions


def test_the_order_of_training_images_and_of_repeats_does_not_matter(rng):
    in_training, _ = halves(60, 10)
    tau, log_px = linear(rng, in_training, 12, 0.5)
    order, of_halves = rng.permutation(60), rng.permutation(20)
    ones = np.ones((1, 20), np.float32)
    first = correlations(forecast(tau, in_training), log_px, ones)
    again = correlations(forecast(tau[order], in_training[of_halves][:, order]), log_px[of_halves], ones)
    assert again == pytest.approx(first, abs=1e-6)
    phi, x = torch.tensor(rng.normal(size=(60, 4))), torch.tensor(rng.normal(size=(3, 4)))
    torch.testing.assert_close(attribution.trak(phi[order], x), attribution.trak(phi, x)[order])


class Fitted(GaussianMean):
    forward = nn.Module.forward

    def fit(self, x):
        """Nothing to do."""


def test_what_cannot_be_had_is_undefined_and_says_why(tmp_path):
    fitted = influence.analyse(experiment(tmp_path, repeats=5, model=Fitted))
    assert set(fitted.lacking.values()) == {
        "the model is fitted in closed form: it has no parameters that were trained by gradients"
    }
    assert {*fitted.lacking} == {*influence.METHODS[2:], "trak_self_influence"}
    found = of_answer(fitted)
    defined = np.isfinite(found["linear_datamodeling_score"].sel(estimator="exact")).values
    assert defined.tolist() == [True] * 2 + [False] * 5 and np.isnan(found["trak_self_influence"]).all()
    untested = influence.analyse(experiment(tmp_path, repeats=5, test=0))
    assert set(untested.lacking.values()) == {"the data set has no test images"}
    found = of_answer(untested)
    assert np.isnan(found["linear_datamodeling_score"]).all() and np.isfinite(found["trak_self_influence"]).all()
    assert draw(found, {"exact": xr.Dataset()}, experiment(tmp_path).dataset).axes


def test_the_figure_says_how_many_halves_judge_and_what_the_best_method_shows(answer, tmp_path):
    given = experiment(tmp_path)
    path = tmp_path / "influence.h5"
    artifacts.write(path, "influence", answer.variables, {"lacking": json.dumps(dict(answer.lacking))} | answer.summary)
    stored = artifacts.read(path, "influence")
    drawn = draw(stored, given.scores, given.dataset)
    texts = [text.get_text() for text in drawn.findobj(Text)]
    assert "exact\nfrom 40 halves; at least 100 are asked for" in texts
    assert {"TRAK, 10 models", " ceiling ", "not had"} <= {*texts}
    assert len(drawn.axes[1].images) == influence.SHOWN * (1 + influence.NEAREST)
    stored.attrs["halves"] = 100
    stored["above_baseline_low"].loc[{"attribution": "trak"}] = 0.1  # the cosine of pixels is all but exact here
    drawn = draw(stored, given.scores, given.dataset)
    assert "exact\nfrom 100 halves" in [text.get_text() for text in drawn.findobj(Text)]
    filled = [line.get_markerfacecolor() != "white" for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert filled == [False] * 5 + [True, False]  # six methods, as EK-FAC is lacking, and the regression


def shipped(**membership):
    settings = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())
    settings["experiments"]["quickstart"]["membership"] = membership
    return settings


@pytest.mark.parametrize(
    ("membership", "there"),
    [
        ({"design": "half_split", "repeats": 5}, True),
        ({"design": "half_split", "repeats": 4}, False),
        ({"design": "k_fold", "folds": 5, "repeats": 9}, False),
    ],
)
def test_the_analysis_needs_ten_halves(membership, there):
    settings = shipped(**membership)
    assert ("halves" in has(settings["experiments"]["quickstart"], {})) == there
    settings["experiments"]["quickstart"]["analyses"] = ["influence"]
    if there:
        return config.validate(settings)
    with pytest.raises(UserError, match="it needs models trained on ten halves of the training set or more"):
        config.validate(settings)
