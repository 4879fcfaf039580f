"""The models of examples/ and of docs/own_model.md: each goes through the workflow to a report; log p is what theory says."""

import math
import shutil
from itertools import product

import numpy as np
import pytest
import torch
import xarray
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

import own_model_page
import workspace
from engram.checks.examination import Uses, examine
from engram.likelihood.estimation import estimate
from engram.models import build
from engram.models.diffusion import alpha_and_sigma, prior_divergence

EXPERIMENTS = {
    "dropout": {"name": "examples.vae_with_dropout:OrdinalVAE", "latent_dim": 2, "hidden": 16, "dropout": 0.3},
    "exact": {"name": "examples.exact_model:Autoregressive", "hidden": 32},
    "two_levels": {"name": "examples.two_level_vae:TwoLevelVAE", "lower": 2, "upper": 1, "hidden": 16},
    "denoiser": {"name": "examples.denoiser:Denoiser", "features": 4, "dilations": [1, 2], "steps": 3},
    "page": {"name": "my_model:MyVAE", "latent_dim": 2},
}
ESTIMATOR = dict.fromkeys(EXPERIMENTS, "corrected") | {"denoiser": "bound"}
OF_EXPERIMENT = {
    "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.01},
    "membership": {"design": "k_fold", "folds": 2, "repeats": 2},
    "scored_epochs": [2],
    "analyses": ["neighbors", "predictors"],
}
WITHOUT_LAPLACE = {"two_levels"}  # whose images all keep a proposal of the model's own


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(workspace.REPOSITORY))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A workspace with examples/ and my_model.py beside config.yaml, and a report of experiments, a model each."""
    folder = workspace.create(tmp_path_factory.mktemp("examples") / "engram")
    shutil.copytree(workspace.REPOSITORY / "examples", folder / "examples")
    (folder / "my_model.py").write_text(own_model_page.model())
    for name, model in EXPERIMENTS.items():
        of_model = {"model": model, "estimators": [ESTIMATOR[name]]}
        workspace.change(folder, "experiments", **{name: workspace.TINY | OF_EXPERIMENT | of_model})
    workspace.change(folder, "experiments", "two_levels", "training", kl_warm_up=1)
    workspace.change(folder, run=[*EXPERIMENTS])
    run = workspace.snakemake(folder)
    assert run.returncode == 0, run.stdout
    return folder


@pytest.mark.slow
def test_the_workflow_makes_a_report_of_all_examples(folder):
    page = (folder / "results/report.html").read_text()
    for name in EXPERIMENTS:
        assert name in page
        scores = xarray.open_dataset(folder / f"results/{name}/scores/{ESTIMATOR[name]}.h5", engine="h5netcdf")
        assert np.isfinite(scores["score"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_log_p_of_each_example_is_had_in_its_own_way(folder, name):
    path = folder / f"results/{name}/likelihood/{ESTIMATOR[name]}/repeat-00/epoch-2.h5"
    likelihood = xarray.open_dataset(path, engine="h5netcdf")
    assert (likelihood["log_px"] <= 0).all()
    assert likelihood["fell_back"].mean() == (name in WITHOUT_LAPLACE)
    assert (likelihood["standard_error"] == 0).all() == (name == "exact")


@pytest.mark.slow
def test_another_line_of_an_example_trains_its_models_again_and_another_comment_does_not(folder):
    example = folder / "examples/exact_model.py"
    written = example.read_text()
    example.write_text(written + "# a comment\n")
    assert workspace.planned(folder) == {}
    workspace.edit(example, "hidden = relu(linear(", "hidden = torch.tanh(linear(")
    assert workspace.planned(folder)["train"] == 3
    example.write_text(written)


def built(name: str, image_shape: tuple[int, int, int], larger: float = 4.0, **settings: object) -> nn.Module:
    """An example of examples/ in float64, its weights `larger` than at first, so that no distribution is near uniform."""
    torch.manual_seed(1)
    model = build(f"examples.{name}", image_shape, **settings).double().eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.mul_(larger)
    return model


def every_binary_image() -> Tensor:
    return torch.tensor([*product((0.0, 1.0), repeat=4)], dtype=torch.float64).reshape(-1, 1, 2, 2)


def test_the_exact_model_is_a_distribution_and_draws_from_it():
    model, images = built("exact_model:Autoregressive", (1, 2, 2), hidden=12), every_binary_image()
    p = model.log_prob(images).exp()
    assert p.sum() == pytest.approx(1) and p.max() > 0.15
    drawn = model.sample(20_000, observation=True, generator=torch.Generator().manual_seed(0))
    share = (drawn[:, None] == images).flatten(2).all(2).double().mean(0)
    assert (share - p).abs().max() < 4 * (p.max() / len(drawn)).sqrt()
    means = model.sample(20_000, generator=torch.Generator().manual_seed(0)).mean(0)
    assert torch.allclose(means, (p[:, None, None, None] * images).sum(0), atol=0.02)


def test_the_exact_models_conditionals_are_those_of_its_joint_distribution():
    """By enumeration: the first pixel's probability in a mean image is the marginal one, whatever is drawn."""
    model, images = built("exact_model:Autoregressive", (1, 2, 2), hidden=12), every_binary_image()
    marginal = model.log_prob(images).exp()[images[:, 0, 0, 0] == 1].sum()
    assert torch.allclose(model.sample(5)[:, 0, 0, 0], marginal)


def levels_of_a_pixel(shift: float) -> tuple[nn.Module, Tensor, Tensor]:
    """An ordinal VAE whose decoder says `shift`, all 256 levels of one pixel, and the log-probability of each."""
    model = built("vae_with_dropout:OrdinalVAE", (1, 1, 1), latent_dim=1, hidden=4)
    model.decoder[-1].weight.zero_()
    model.decoder[-1].bias.fill_(shift)
    levels = torch.arange(256, dtype=torch.float64).reshape(-1, 1, 1, 1)
    return model, levels, model.log_prob_given_latent(levels / 255, torch.zeros(256, 1, dtype=torch.float64))


@pytest.mark.parametrize("shift", [-40.0, -3.0, 0.0, 1.7, 40.0])
def test_the_probabilities_of_256_levels_add_up_to_one_and_their_mean_is_the_mean_image(shift):
    model, levels, log_p = levels_of_a_pixel(shift)
    assert log_p.isfinite().all() and log_p.exp().sum() == pytest.approx(1)
    mean = model.mean(torch.full((1, 1), shift, dtype=torch.float64))
    assert mean.item() == pytest.approx((log_p.exp() * levels.flatten()).sum().item() / 255)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 1.7])
def test_the_information_about_a_shift_is_the_mean_square_of_the_score(shift):
    step = 1e-4
    (model, _, log_p), (*_, above), (*_, below) = map(levels_of_a_pixel, (shift, shift + step, shift - step))
    expected = (log_p.exp() * ((above - below) / (2 * step)) ** 2).sum()
    information = model.information(torch.full((1, 1), shift, dtype=torch.float64))
    assert information.item() == pytest.approx(expected.item(), rel=1e-6)


def test_levels_are_drawn_with_their_probabilities():
    model, levels, log_p = levels_of_a_pixel(0.5)
    parameters = torch.full((50_000, 1), 0.5, dtype=torch.float64)
    drawn = model.observe(parameters, torch.Generator().manual_seed(0)).flatten() * 255
    cumulated = (drawn[:, None].round() <= levels.flatten()).double().mean(0)
    assert (cumulated - log_p.exp().cumsum(0)).abs().max() < 2 / math.sqrt(
        len(drawn)
    )  # Kolmogorov and Smirnov's 1.63 at 1 %


def test_dropout_is_at_work_in_training_mode_alone():
    model = built("vae_with_dropout:OrdinalVAE", (1, 4, 4), latent_dim=2, hidden=16)
    x, noise = torch.rand(5, 1, 4, 4, dtype=torch.float64), torch.zeros(5, 2, dtype=torch.float64)
    assert torch.equal(model(x, noise), model(x, noise))
    model.train()
    assert not torch.equal(model(x, noise), model(x, noise))


def test_the_two_level_vaes_log_p_is_that_of_a_quadrature_over_both_levels():
    model = built("two_level_vae:TwoLevelVAE", (1, 2, 2), larger=1.0, lower=1, upper=1, hidden=4)
    model.logits[-1].weight.mul_(4)
    for proposal in (model.lower_given_x, model.upper_given_lower):
        proposal.layers[-1].bias[1] += 1  # wider, as none of them was trained
    x, step = every_binary_image(), 0.05
    z1, z2 = (torch.arange(-end, end, step, dtype=torch.float64)[:, None] for end in (60, 8))
    above = model.lower_given_upper(z2)
    prior = Normal(0.0, 1.0).log_prob(z2) + Normal(above.mean, above.stddev).log_prob(z1.T)  # (z2, z1)
    given = Bernoulli(logits=model.logits(z1)).log_prob(x.flatten(1)[:, None]).sum(-1)  # (x, z1)
    expected = (given + prior.logsumexp(0)).logsumexp(1) + 2 * math.log(step)
    assert expected.exp().sum() == pytest.approx(1, abs=1e-6)

    estimates = estimate(model, x, "encoder", samples=16384)
    deviations = (estimates.log_px - expected) / estimates.standard_error
    assert estimates.standard_error.max() < 0.1
    assert deviations.abs().max() < 4 and deviations.square().mean() < 2.5
    assert (estimates.elbo < expected + 4 * estimates.standard_error).all()


def test_a_denoiser_trained_on_eight_images_pays_more_than_their_entropy_and_less_than_a_narrow_layer():
    """To tell eight images apart costs log 8 nats, beside the reconstruction.

    Half as many units as pixels before the answer would lose half of the noise, at half a nat a pixel and unit of gamma.
    """
    torch.manual_seed(0)
    model = build("examples.denoiser:Denoiser", (1, 4, 4), features=16, dilations=(1, 2), gamma_0=-6.0)
    images = 2 * (torch.rand(8, 1, 4, 4) < 0.5).float() - 1
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for _ in range(200):
        optimizer.zero_grad()
        x = images.repeat(8, 1, 1, 1)
        model(x, torch.randn(len(x), *model.noise_shape)).mean().neg().backward()
        optimizer.step()
    x = images.repeat(500, 1, 1, 1)
    with torch.no_grad():
        cost = model.diffusion_loss(x, torch.rand(len(x)), torch.randn_like(x)) + prior_divergence(x, model.gamma_1)
    narrow = 0.5 * (model.gamma_1 - model.gamma_0) * 8
    assert math.log(8) < cost.mean() < narrow / 1.5


@pytest.mark.parametrize("side", [16, 28, 32])
def test_the_denoiser_passes_the_check_at_the_sides_of_digits(side):
    images = torch.randint(0, 256, (8, 1, side, side), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    uses = Uses(("neighbors", "mode_collapse"), {"bound": "bound"}, is_fitted=False)
    outcome = examine("examples.denoiser:Denoiser", {"features": 4, "steps": 3}, images, uses)
    assert outcome.findings == [] and "predict_noise" in outcome.checked


@pytest.mark.parametrize("predicts", ["v", "x", "score"])
def test_other_predictions_become_noise_by_the_formulas_of_the_page(predicts):
    formulas = {"v": "`alpha * v + sigma * z`", "x": "`(z - alpha * x) / sigma`", "score": "`-sigma * s`"}
    assert formulas[predicts] in own_model_page.PAGE.read_text()
    alpha, sigma = alpha_and_sigma(torch.tensor([-5.0, 0.0, 3.0], dtype=torch.float64))
    x, epsilon = torch.tensor([0.3, -1.0, 0.9]).double(), torch.tensor([-0.7, 0.2, 1.5]).double()
    z, v = alpha * x + sigma * epsilon, alpha * epsilon - sigma * x
    s = -(z - alpha * x) / sigma**2  # the slope of log N(z; alpha x, sigma^2)
    values = {"alpha": alpha, "sigma": sigma, "z": z, "v": v, "x": x, "s": s}
    torch.testing.assert_close(eval(formulas[predicts].strip("`"), values), epsilon)
