"""Attacks that ask the models: closed-form denoisers, a linear VAE, samples by hand, models that copy, and models that cannot."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.text import Text
from scipy.stats import norm

from engram.analyses import image_attacks, model_attacks, noise_attacks
from engram.analyses.attacks import minus_out_shadows
from engram.analyses.inputs import Inputs
from engram.analyses.judged_images import JudgedImages
from engram.analyses.model_attacks import ATTACKS, CALIBRATED, OF_SAMPLES, analyse, why_not
from engram.analyses.noise_attacks import GAMMAS, NOISE_ATTACKS, gamma_at
from engram.analyses.roc import roc
from engram.catalogue import ANALYSES
from engram.designs.membership import design
from engram.figures.model_attacks import LOOK
from engram.figures.model_attacks import model_attacks as draw
from engram.models.diffusion import DiffusionModel
from engram.models.kernel_density import KernelDensity
from engram.models.observations import draw as observe
from latent_models import LinearVAE
from memorizing_denoiser import MemorizingDenoiser

SHAPE = (1, 6, 6)
X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 1, 2, 3)
EPSILON = torch.tensor([0.5, -1, 2, 0.1, 0, -0.3] * 2, dtype=torch.float64).reshape(X.shape)
VARIANCE = 0.3


def of_normal(z, gamma):
    """The posterior mean of the noise if x is N(0, VARIANCE I): sigma z / (alpha^2 VARIANCE + sigma^2)."""
    _, sigma, total = at(float(gamma[0]))
    return sigma * z / total


def at(gamma):
    """alpha, sigma and the variance of z."""
    alpha_squared = 1 / (1 + np.exp(gamma))
    return np.sqrt(alpha_squared), np.sqrt(1 - alpha_squared), alpha_squared * VARIANCE + 1 - alpha_squared


def test_times_are_those_of_ddpms_linear_schedule():
    beta = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    alpha_squared = {
        0: 0.9999,
        100: np.prod([1 - b for b in beta[:101]]),
        999: 4.0358e-5,
    }  # the last as DDPM's is known
    for time, value in alpha_squared.items():
        assert 1 / (1 + np.exp(gamma_at(time))) == pytest.approx(value, rel=1e-4)
    assert noise_attacks.TIME == 100 and (gamma_at(0), gamma_at(110)) == GAMMAS


def test_loss_at_t_on_normal_images_is_the_closed_form():
    alpha, sigma, total = at(gamma_at(100))
    error = (alpha**2 * VARIANCE * EPSILON - alpha * sigma * X) / total
    found = noise_attacks.loss_at_t(of_normal, X, EPSILON)
    torch.testing.assert_close(found, -(error**2).flatten(1).sum(1))


def test_the_mean_loss_at_t_on_normal_images_is_the_closed_form():
    """alpha^4 VARIANCE^2 D / total^2 + alpha^2 sigma^2 |x|^2 / total^2, over epsilon."""
    alpha, sigma, total = at(gamma_at(100))
    x = X[:1].expand(20_000, *X.shape[1:])
    found = noise_attacks.loss_at_t(of_normal, x, torch.randn(x.shape, generator=torch.manual_seed(0)).double())
    expected = (alpha**4 * VARIANCE**2 * 6 + alpha**2 * sigma**2 * float((X[0] ** 2).sum())) / total**2
    assert float(-found.mean()) == pytest.approx(expected, rel=0.02)


def test_sima_and_pia_on_normal_images_are_the_closed_forms():
    alpha, sigma, total = at(gamma_at(100))
    _, sigma_0, total_0 = at(gamma_at(0))
    torch.testing.assert_close(noise_attacks.sima(of_normal, X, EPSILON), -((sigma * X / total) ** 4).flatten(1).sum(1))
    own = sigma_0 * X / total_0
    difference = own - sigma * (alpha * X + sigma * own) / total
    torch.testing.assert_close(noise_attacks.pia(of_normal, X, EPSILON), -(difference**4).flatten(1).sum(1))


def test_secmi_on_normal_images_is_a_product_of_ddims_linear_steps():
    def step(time, other):
        (alpha, sigma, total), (other_alpha, other_sigma, _) = at(gamma_at(time)), at(gamma_at(other))
        return other_alpha / alpha * (1 - sigma**2 / total) + other_sigma * sigma / total

    to_t = np.prod([step(time, time + 10) for time in range(0, 100, 10)])
    there_and_back = step(100, 110) * step(110, 100)
    expected = -((to_t * (there_and_back - 1)) ** 2) * (X**2).flatten(1).sum(1)
    assert there_and_back != 1
    torch.testing.assert_close(noise_attacks.secmi(of_normal, X, EPSILON), expected, rtol=1e-6, atol=0)


class Linear(LinearVAE):
    """Its decoder says the mean image itself."""

    observation = "pixels"

    def mean(self, parameters):
        return parameters.reshape(-1, *SHAPE)


def test_reconstruction_by_a_linear_vae_is_the_closed_form():
    """|x - W m - mu|^2 + tr(W S W') over q(z | x) = N(m, S)."""
    model, x = Linear(36, 2, noise=5).double(), torch.rand(3, *SHAPE, generator=torch.manual_seed(0)).double()
    mean, log_variance = model.encode(x)
    missed = (x.flatten(1) - mean @ model.weight.T - model.mu).square().sum(1)
    expected = missed + (model.weight**2 @ log_variance.exp().T).sum(0)
    noise = torch.randn(4000, 3, 2, generator=torch.manual_seed(1)).double()
    found = image_attacks.reconstruction(model, x, x, noise)
    torch.testing.assert_close(-found, expected, rtol=0.02, atol=0)
    torch.testing.assert_close(image_attacks.reconstruction(model, x, x, 0 * noise[:2]), -missed)


BYTES = np.array([[0, 0], [255, 0], [255, 255], [0, 51]], dtype=np.uint8)
DRAWN = torch.tensor([[0, 0], [0, 1], [1, 0.5]])


def test_nearest_sample_and_monte_carlo_by_hand():
    found = image_attacks.nearest_sample(BYTES, DRAWN)
    np.testing.assert_allclose(found, [0, -0.5, -0.5, -0.2], atol=1e-6)
    assert image_attacks.median_distance(found) == pytest.approx(0.35)
    np.testing.assert_allclose(image_attacks.monte_carlo(BYTES, DRAWN, 0.5), [1 / 3, 0, 0, 1 / 3])
    np.testing.assert_allclose(image_attacks.monte_carlo(BYTES, DRAWN, 1.01), [2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert image_attacks.monte_carlo(BYTES, DRAWN, 0).tolist() == [0] * 4


def experiment(models_of, n=80, repeats=3, design_of=None, seen=None) -> Inputs:
    """Random images and half-splits of them; `models_of(x)` makes a model of what it is trained on, or of `seen` instead."""
    images = np.random.default_rng(0).integers(0, 256, (n + 10, 36), dtype=np.uint8)
    split, label = (np.arange(n + 10) >= n).astype(np.int8), np.arange(n + 10) % 3
    members = design(design_of or {"design": "half_split", "repeats": repeats}, split, np.full(n + 10, -1), 42, "toy")
    observation = models_of(torch.zeros(1, *SHAPE)).observation
    x = observe(torch.from_numpy(images), torch.full(images.shape, 0.5), observation).reshape(-1, *SHAPE)
    rows = [np.flatnonzero(row) for row in members.in_training] if seen is None else [seen] * len(members.repeat)
    models = [models_of(x[some]) for some in rows]
    dataset = xr.Dataset(
        {"images": (("sample", "pixel"), images), "label": ("sample", label), "split": ("sample", split)},
        attrs={"image_shape": list(SHAPE), "dataset": "noise"},
    )
    loaders = [
        lambda epoch, number=number: [models[i] for i in np.flatnonzero(members.repeat == number)]
        for number in range(members.repeat.max() + 1)
    ]
    membership, scores = xr.Dataset(members.variables(split, label)), {"mine": xr.Dataset({"epoch": ("epoch", [1])})}
    return Inputs("toy", 1, scores, dataset, membership=membership, models=loaders)


def fitted(model):
    def of(x):
        made = model()
        made.fit(x)
        return made.eval()

    return of


copying = fitted(lambda: KernelDensity(SHAPE, bandwidth=0.01))
denoising = fitted(lambda: MemorizingDenoiser(SHAPE, gamma_0=-13.3))


def areas(answer) -> dict:
    variables = [answer.variables[f"area_under_curve{ending}"][1] for ending in ("", "_low", "_high")]
    return dict(zip(answer.variables["attack"][1].tolist(), zip(*variables, strict=True), strict=True))


@pytest.fixture(scope="module")
def of_copies():
    return analyse(experiment(copying))


@pytest.fixture(scope="module")
def of_denoisers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_attacks, "SAMPLES", 100)
        return analyse(experiment(denoising, n=60))


def test_models_that_copy_are_betrayed_by_their_samples(of_copies):
    found = areas(of_copies)
    for name in OF_SAMPLES:
        assert found[name][0] > 0.99 and found[CALIBRATED[name]][0] > 0.99
        assert (of_copies.variables[name][1] > 0.9).all() and len(of_copies.variables[name][1]) == 80
    assert np.isnan(of_copies.variables["secmi"][1]).all() and np.isnan(found["secmi"]).all()
    assert {*of_copies.lacking} == {*ATTACKS, *CALIBRATED.values()} - {*OF_SAMPLES, *map(CALIBRATED.get, OF_SAMPLES)}
    assert of_copies.lacking["secmi"] == "needs a model that predicts noise"
    assert of_copies.lacking["reconstruction_calibrated"] == "needs an encoder, and a decoder whose mean is an image"


def test_a_denoiser_that_has_memorized_perfectly_is_betrayed_by_every_attack(of_denoisers):
    found = areas(of_denoisers)
    for name in NOISE_ATTACKS:
        # Members' own numbers are all but 0; two shadows say what others' are, of which fourth powers differ widely.
        assert found[name][0] > 0.999 and found[CALIBRATED[name]][0] > 0.9
    assert {*of_denoisers.lacking} == {"reconstruction", "reconstruction_calibrated"}
    assert {*of_denoisers.seconds} == {
        name for name in (*ATTACKS, *CALIBRATED.values()) if "reconstruction" not in name
    }


@pytest.mark.parametrize("models_of", [copying, denoising])
def test_models_that_saw_none_of_the_images_leave_every_area_at_one_half(models_of, monkeypatch):
    monkeypatch.setattr(model_attacks, "SAMPLES", 50)
    tested = {name: area for name, area in areas(analyse(experiment(models_of, seen=np.arange(80, 90)))).items()}
    defined = {name: area for name, area in tested.items() if not np.isnan(area[0])}
    assert len(defined) >= 4
    for _, low, high in defined.values():
        assert low <= 0.5 <= high


def test_calibration_takes_away_what_all_models_find_hard():
    """N(level + delta if in, 1) minus the mean of m out shadows: area Phi(delta / sqrt(2 (1 + 1/m))), whatever the levels."""
    rng, n, repeats, delta = np.random.default_rng(0), 2000, 21, 1.5
    first = rng.random((repeats, n)) < 0.5
    is_in, repeat = np.concatenate([first, ~first]), np.tile(np.arange(repeats), 2)
    scores = rng.normal(0, 15, n) + rng.normal(0, 1, is_in.shape) + delta * is_in
    area = roc(minus_out_shadows(scores, is_in, repeat), is_in, rng).area.estimate
    assert area == pytest.approx(norm.cdf(delta / np.sqrt(2 * (1 + 1 / 20))), abs=0.005)
    assert roc(scores, is_in, rng).area.estimate < 0.6


def test_calibration_by_hand_reads_out_shadows_of_other_repeats_only():
    scores = np.array([[5.0, 1], [100, 100], [2, 3], [4, 7]])
    is_in = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=bool)
    found = minus_out_shadows(scores, is_in, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(found, [[1, -2], [96, 97], [-98, 2], [-96, 6]])


def test_with_one_repeat_the_attacks_remain_and_their_calibrated_forms_are_lacking():
    answer = analyse(experiment(copying, repeats=1))
    assert areas(answer)["nearest_sample"][0] > 0.99 and np.isnan(areas(answer)["nearest_sample_calibrated"][0])
    assert "from other repeats" in answer.lacking["nearest_sample_calibrated"]
    assert "nearest_sample" not in answer.lacking and ANALYSES["model_attacks"].requires == ()


def test_models_of_so_many_repeats_are_targets(monkeypatch):
    monkeypatch.setattr(model_attacks, "REPEATS", 2)
    given = experiment(copying, repeats=3)
    given.models[2] = None  # never asked for
    answer = analyse(given)
    assert answer.summary["targets"] == 4 and answer.settings["repeats"] == 2
    assert answer.variables["members"][1][list(answer.variables["attack"][1]).index("monte_carlo")] == 2 * 80


class Blur(DiffusionModel):
    """Remembers what it was asked about; knows three classes."""

    def __init__(self, classes=3):
        super().__init__(SHAPE, -13.3, 5.0, 2, classes=classes)
        self.share, self.asked = torch.nn.Parameter(torch.tensor(0.5)), []

    def predict_noise(self, z, gamma, label=None):
        self.asked.append((z, gamma, label))
        return self.share * z + 0.01 * (0 if label is None else label.reshape(-1, 1, 1, 1))


def judged(given):
    return JudgedImages.of(given.dataset, np.arange(80), given.seed, "model attacks")


def test_a_model_with_classes_is_given_the_class_of_every_image():
    model, given = Blur(), experiment(copying)
    with torch.no_grad():
        model_attacks.OF_BLOCKS["sima"](model, judged(given).x(model), judged(given))
    _, gamma, label = model.asked[0]
    assert label.tolist() == given.dataset["label"].values[:80].tolist()
    assert float(gamma[0]) == pytest.approx(gamma_at(100))
    assert why_not(model) == {"reconstruction": "needs an encoder, which engram does not ask of a model with classes"}


def test_parts_change_no_value_and_bound_what_the_network_sees(monkeypatch):
    model, given = Blur(), experiment(copying)
    whole = model_attacks.attack([model], judged(given), "toy", Counter())
    assert {*whole} == {*ATTACKS} - {"reconstruction"}
    monkeypatch.setattr(model_attacks, "AT_ONCE", 32)
    monkeypatch.setattr(model_attacks, "PIXELS_AT_ONCE", 10 * 36)
    model.asked.clear()
    in_parts = model_attacks.attack([model], judged(given), "toy", Counter())
    assert max(len(z) for z, *_ in model.asked[model.steps :]) == 10  # after those of its samples
    for name in whole:
        np.testing.assert_allclose(in_parts[name], whole[name], rtol=1e-5)


def test_equal_models_get_equal_numbers_as_x_and_noise_are_the_same_for_all():
    scores = model_attacks.attack([Blur(0), Blur(0)], judged(experiment(copying)), "toy", Counter())
    for values in scores.values():
        np.testing.assert_array_equal(values[0], values[1])
    vae = [Linear(36, 2).eval(), Linear(36, 2).eval()]
    assert {*why_not(vae[0])} == {*ATTACKS} - {"reconstruction"}
    scores = model_attacks.attack(vae, judged(experiment(copying)), "toy", Counter())
    np.testing.assert_array_equal(*scores["reconstruction"])
    assert np.ptp(scores["reconstruction"][0]) > 0


def test_a_model_of_few_noise_levels_is_not_asked_about_others():
    reasons = why_not(MemorizingDenoiser(SHAPE))
    assert reasons["pia"] == reasons["loss_at_t"]
    assert "gamma from -9.2 to -2.0; this one learned -4 to 5" in reasons["pia"]
    assert "monte_carlo" not in reasons


def test_the_figure_shows_what_there_is_and_says_what_is_lacking(of_copies):
    analysis = xr.Dataset(dict(of_copies.variables))
    analysis.attrs = {"targets": 6, "lacking": json.dumps(dict(of_copies.lacking))}
    texts = [text.get_text() for text in draw(analysis).findobj(Text)]
    assert texts.count("nearest sample") == texts.count("Monte Carlo") == 2 and "SecMI" not in texts
    below = [
        text for text in texts if text.startswith("6 target models: 240 pairs of a model and a member, 240 others")
    ]
    assert len(below) == 2 and all("Without loss at t, SecMI, PIA, SimA: needs a model" in text for text in below)
    assert {*LOOK} == {*ATTACKS}


def test_the_catalogue_names_every_attack_and_asks_no_model_for_samples():
    declared = ANALYSES["model_attacks"]
    assert list(declared.columns) == list(declared.measures) == [*ATTACKS, *CALIBRATED.values()]
    assert not declared.draws_samples
