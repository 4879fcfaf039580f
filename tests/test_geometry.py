"""Dimensions of models against closed forms, autograd and methods.md O10; labels of cases that are known."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import linregress
from torch.distributions import MultivariateNormal, Normal

from engram.geometry import closed_form_diffusion, jacobian
from engram.geometry.closed_form_diffusion import closed_form_dimension
from engram.geometry.flipd import flipd
from engram.geometry.generators import generator_of
from engram.geometry.jacobian import numerical_rank, singular_values, visible
from engram.geometry.labels import DATA, NOT_MEMORIZED, OVERFITTING, UNDECIDED, Dimensions, hardly_varies, label
from engram.geometry.lidl import lidl, local_dimensions
from engram.geometry.normal_bundle import SCORES, normal_bundle
from engram.geometry.smoothed_vae import SmoothedVAE, gaussian_moments, lidl_of_vae
from engram.geometry.smoothing import on_manifold, own_noise, smoothed
from engram.likelihood.estimation import estimate
from engram.models import build
from engram.models.diffusion import alpha_and_sigma
from engram.models.observations import to_pixels
from latent_models import LinearVAE
from memorizing_denoiser import MemorizingDenoiser

SHAPE = (1, 4, 4)


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The Jacobian of a generator.


def test_singular_values_of_a_linear_decoder_are_those_of_its_weights():
    weight = normals(3, 40)
    found = singular_values(lambda z: (z @ weight).reshape(-1, 1, 5, 8), normals(7, 3, seed=1))
    assert found.shape == (7, 3)
    np.testing.assert_allclose(found, torch.linalg.svdvals(weight).expand(7, 3), rtol=1e-10)


def test_there_are_no_more_singular_values_than_pixels():
    weight = normals(5, 2)
    found = singular_values(lambda z: z @ weight, normals(4, 5))
    np.testing.assert_allclose(found, torch.linalg.svdvals(weight).expand(4, 2), rtol=1e-10)


@pytest.mark.parametrize(
    "name", ["bernoulli_mlp_vae", pytest.param("logistic_mixture_conv_vae", marks=pytest.mark.slow)]
)
def test_singular_values_of_a_vae_are_those_of_autograd(name, monkeypatch):
    """In blocks of two images, and of the mean image in pixel units."""
    torch.manual_seed(0)
    shape = SHAPE if name == "bernoulli_mlp_vae" else (1, 32, 32)
    settings = {"hidden": (32, 32)} if name == "bernoulli_mlp_vae" else {"features": 1}
    model = build(name, shape, latent_dim=3, **settings).double().eval()
    monkeypatch.setattr(jacobian, "NUMBERS", 2 * 3 * math.prod(shape))
    z = normals(5, 3)
    found = singular_values(generator_of(model).generate, z)
    for row in (0, 4):
        own = torch.autograd.functional.jacobian(lambda one: model.mean(model.decode(one)).flatten(), z[row : row + 1])
        np.testing.assert_allclose(found[row], torch.linalg.svdvals(own.reshape(-1, 3)), rtol=1e-8)


def test_a_flow_gives_back_its_image_and_has_autograds_jacobian():
    pytest.importorskip("zuko", reason="the flow needs zuko, of the extra `flows`")
    torch.manual_seed(0)
    model = build("flow", SHAPE, transforms=2, hidden=(8,)).double().eval()
    with torch.no_grad():
        model.center += 0.3
        model.log_scale -= 0.2
    x = 0.5 * normals(3, *SHAPE)
    generate, infer = generator_of(model)
    z = infer(x)
    torch.testing.assert_close(generate(z), to_pixels(x, "logit"))
    found = singular_values(generate, z)
    by_pixel = torch.autograd.functional.jacobian(lambda one: to_pixels(one, "logit"), x[:1]).reshape(16, 16)
    to_z = torch.autograd.functional.jacobian(lambda one: infer(one), x[:1]).reshape(16, 16)
    known = torch.linalg.svdvals(by_pixel @ torch.linalg.inv(to_z))
    np.testing.assert_allclose(found[0], known, rtol=1e-6)


def test_a_direction_counts_if_the_image_moves_by_a_grey_level_in_root_mean_square():
    """z moves every pixel of 64 by 1.01, and by 0.99, of a grey level."""
    assert visible(64) == pytest.approx(8 / 255)
    singular = torch.tensor([[1.01, 0.99], [1.01, 1.01]]) * 8 / 255
    assert numerical_rank(singular, 64).tolist() == [1, 2]


def test_a_model_without_latents_has_no_generator():
    assert generator_of(build("ppca", SHAPE, latent_dim=2)) is None


# LIDL.


def log_px_of_rank_three(x, widths):
    variances = torch.tensor([1.0] * 3 + [0.0] * 7, dtype=torch.float64)
    return torch.stack([Normal(0, (variances + width**2).sqrt()).log_prob(x).sum(1) for width in widths])


def test_lidl_of_a_normal_distribution_of_rank_three():
    """methods.md O10, by its eight default widths."""
    widths = torch.tensor(np.geomspace(0.01, 0.1, 8))
    x = torch.tensor([[1.0, 1, 1] + [0] * 7], dtype=torch.float64)
    found = lidl(log_px_of_rank_three(x, widths), widths.log(), 10)
    assert float(found.value) == pytest.approx(2.999977, abs=5e-7)
    assert 0 < float(found.standard_error) < 1e-4
    local = local_dimensions(log_px_of_rank_three(x, widths), widths.log(), 10)
    assert local.shape == (7, 1) and torch.allclose(local, torch.full_like(local, 3), atol=1e-3)


def test_lidl_is_scipys_line():
    widths, log_p = torch.tensor([0.1, 0.2, 0.5, 0.7]), normals(4, 3)
    found = lidl(log_p, widths.log(), 5)
    for row in range(3):
        line = linregress(widths.log().numpy(), log_p[:, row].numpy())
        assert float(found.value[row]) == pytest.approx(5 + line.slope, rel=1e-5)
        assert float(found.standard_error[row]) == pytest.approx(line.stderr, rel=1e-5)


def ppca(pixels_of_latent=4, noise=0.03):
    """D = 64, d = 4, s = .03, as in methods.md 1D.6; axes that are no pixels."""
    model = build("ppca", (1, 8, 8), latent_dim=pixels_of_latent)
    axes = torch.linalg.qr(normals(64, pixels_of_latent))[0].T
    model.axes.copy_(axes)
    model.variances.copy_(torch.full((pixels_of_latent,), 1 + noise**2))
    model.noise_variance.copy_(torch.tensor(noise**2))
    return model


def widths_about(model):
    return own_noise(model) * torch.tensor(np.geomspace(1, 2, 5))


def dimension_of(model, x):
    widths = widths_about(model)
    deltas = (widths**2 - own_noise(model) ** 2).clamp(min=0).sqrt()
    log_p = torch.stack([smoothed(model, float(delta)).log_prob(x) for delta in deltas])
    return lidl(log_p, widths.log(), x[0].numel())


def test_lidl_of_probabilistic_pca_is_its_number_of_axes_on_the_manifold():
    """And not at an image with noise of the model's size, by the slope on log delta: methods.md 1D.6."""
    model = ppca()
    torch.manual_seed(0)
    x = model.sample(50, observation=True)
    on = on_manifold(model, x)
    torch.testing.assert_close(on.flatten(1), on.flatten(1) @ model.axes.T @ model.axes)  # the mean is 0
    found = dimension_of(model, on)
    w2 = own_noise(model) ** 2
    known = 4 - 4 * w2 + (w2 * (on.flatten(1) @ model.axes.T) ** 2).sum(1)  # to first order in w^2, at w = s
    assert found.value == pytest.approx(known.numpy(), abs=0.02)
    assert float(found.value.mean()) == pytest.approx(4, abs=0.01)
    deltas = torch.tensor([0.02, 0.03, 0.045])
    naive = lidl(torch.stack([smoothed(model, float(each)).log_prob(x) for each in deltas]), deltas.log(), 64)
    assert float(naive.value.mean()) > 30
    deltas = 10 * own_noise(model) * torch.tensor([0.9, 1, 1.1])
    wide = lidl(torch.stack([smoothed(model, float(each)).log_prob(x) for each in deltas]), deltas.log(), 64)
    # Noise of variance s^2 in 60 directions still counts: w^2 is 101 s^2, and each is 1 - (100 / 101)^2 of a dimension.
    assert float(wide.value.mean()) == pytest.approx(4 + 60 * (1 - (100 / 101) ** 2), abs=0.1)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_smoothed_gaussians_have_a_larger_covariance(covariance):
    model = build("gaussian", SHAPE, covariance=covariance)
    model.fit(normals(40, *SHAPE))
    axes = model.axes if covariance == "full" else torch.eye(16, dtype=torch.float64)
    total = axes.T @ torch.diag(model.variances) @ axes + 0.09 * torch.eye(16, dtype=torch.float64)
    x, before = normals(5, *SHAPE, seed=2), model.variances.clone()
    known = MultivariateNormal(model.center, total).log_prob(x.flatten(1))
    torch.testing.assert_close(smoothed(model, 0.3).log_prob(x), known)
    assert torch.equal(model.variances, before)


def test_smoothed_probabilistic_pca_and_kernel_density():
    model, x = ppca(), normals(5, 1, 8, 8, seed=2)
    total = model.axes.T @ model.axes + (0.03**2 + 0.25) * torch.eye(64, dtype=torch.float64)
    known = MultivariateNormal(torch.zeros(64, dtype=torch.float64), total).log_prob(x.flatten(1))
    torch.testing.assert_close(smoothed(model, 0.5).log_prob(x), known)
    density = build("kernel_density", (1, 8, 8), bandwidth=0.3)
    density.fit(normals(9, 1, 8, 8))
    wider = build("kernel_density", (1, 8, 8), bandwidth=0.5)
    wider.fit(normals(9, 1, 8, 8))
    torch.testing.assert_close(smoothed(density, 0.4).log_prob(x), wider.log_prob(x))
    assert own_noise(density) == 0.3 and on_manifold(density, x) is x


def test_a_gaussian_of_low_rank_is_as_wide_as_its_axes_above_the_noise():
    model = build("gaussian", SHAPE, least_variance=1e-4)
    model.fit(torch.cat([normals(60, 3), torch.zeros(60, 13, dtype=torch.float64)], 1).reshape(-1, *SHAPE))
    x = normals(20, *SHAPE, seed=3)
    on = on_manifold(model, x)
    assert torch.allclose(on.flatten(1)[:, 3:], torch.zeros(1, dtype=torch.float64), atol=1e-12)
    assert dimension_of(model, on).value == pytest.approx(3, abs=0.01)


def test_the_dimension_of_a_kernel_density_is_that_of_closed_form_diffusion():
    """Both are sum_j p_j |x - x_j|^2 / w^2."""
    model = build("kernel_density", SHAPE, bandwidth=1.0)
    x = normals(30, *SHAPE)
    model.fit(x)
    widths = torch.tensor([0.999, 1.0, 1.001])
    log_p = torch.stack([build_density(x, float(width)).log_prob(x) for width in widths])
    known = closed_form_dimension(x, x, [0.0])[0]
    assert lidl(log_p, widths.log(), 16).value == pytest.approx(known.numpy(), abs=1e-3)


def build_density(x, bandwidth):
    model = build("kernel_density", SHAPE, bandwidth=bandwidth)
    model.fit(x)
    return model


# VAEs with Gaussian pixels.


def linear_vae(noise=0.1):
    model = LinearVAE(24, 3, noise=noise).double()
    model.observation = "pixels"
    log_variance = torch.tensor(2 * math.log(noise), dtype=torch.float64)
    return model, lambda parameters: (parameters, log_variance)


def test_a_smoothed_linear_vae_has_the_density_of_its_noise_and_delta_together():
    model, moments = linear_vae()
    x = model.draw(6).reshape(6, 24)
    for delta in (0.0, 0.2):
        found = estimate(SmoothedVAE(model, moments, delta), x, "laplace", samples=200, proposal_scale=1.0)
        total = model.weight @ model.weight.T + (0.01 + delta**2) * torch.eye(24, dtype=torch.float64)
        known = MultivariateNormal(model.mu, total).log_prob(x)
        torch.testing.assert_close(found.log_px, known, rtol=0, atol=1e-6)


def test_lidl_of_a_linear_vae_is_its_latent_dimension():
    model, moments = linear_vae(0.01)
    x = model.draw(6).reshape(6, 24)
    found = lidl_of_vae(model, moments, x, normals(6, 50, 3), np.geomspace(1, 2, 4), scale=1.0)
    assert found.value == pytest.approx(3, abs=0.01)


def test_lidl_of_a_vae_whose_pixels_have_unlike_variances():
    """Variances of 0.01^2 and of 0.02^2: the width is their geometric mean, and the latent dimension remains."""
    model, _ = linear_vae(0.01)
    log_variance = 2 * torch.tensor([0.01, 0.02] * 12, dtype=torch.float64).log()

    def moments(parameters):
        return parameters, log_variance.expand_as(parameters)

    found = lidl_of_vae(model, moments, model.draw(6).reshape(6, 24), normals(6, 200, 3), np.geomspace(1, 2, 4))
    assert found.value == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("name", ["gaussian_conv_vae", "gaussian_conv_vae_scalar_variance"])
def test_known_vaes_keep_their_density_at_delta_zero_and_gain_variance_beyond(name):
    torch.manual_seed(0)
    model = build(name, (1, 32, 32), latent_dim=3, features=2).double().eval()
    x, z = normals(4, 1, 32, 32), normals(2, 4, 3)
    moments = gaussian_moments(model)
    same = SmoothedVAE(model, moments, 0.0)
    torch.testing.assert_close(same.log_prob_given_latent(x, z), model.log_prob_given_latent(x, z))
    mean, log_variance = moments(model.decode(z))
    wider = SmoothedVAE(model, moments, 0.7).log_prob_given_latent(x, z)
    known = Normal(mean, (log_variance.exp() + 0.49).sqrt()).log_prob(x).flatten(2).sum(2)
    torch.testing.assert_close(wider, known)
    estimate(SmoothedVAE(model, moments, 0.7), x, "laplace", samples=8)
    assert gaussian_moments(build("bernoulli_conv_vae", (1, 32, 32), latent_dim=2)) is None


# Diffusion.


@pytest.mark.parametrize("gamma", [-5.0, -1.0, 2.0])
def test_closed_form_diffusion_is_flipd_of_the_denoiser_that_has_memorized(gamma):
    images = 0.5 * normals(12, *SHAPE)
    model = MemorizingDenoiser(SHAPE)
    model.fit(images)
    x = images[:5] + 0.05 * normals(5, *SHAPE, seed=1)
    found = closed_form_dimension(x, images, [gamma])
    assert found[0] == pytest.approx(flipd(model.predict_noise, x, gamma).value.detach().numpy(), rel=1e-8, abs=1e-8)


def test_closed_form_diffusion_of_a_plane():
    """methods.md O10: rank 2 in ten dimensions, 10,000 samples; and 0 where an image stands alone."""
    plane = 2 * normals(10_000, 2) @ torch.linalg.qr(normals(10, 2, seed=1))[0].T
    gamma = math.log(math.expm1(0.1))
    found = closed_form_dimension(plane[:100], plane, [gamma, -20.0])
    assert abs(float(found[0].mean()) - 2) < 0.1
    assert float(found[1].abs().max()) < 1e-4


def test_closed_form_diffusion_comes_in_blocks(monkeypatch):
    x = normals(7, 3)
    whole = closed_form_dimension(x, x, [0.0, 1.0])
    monkeypatch.setattr(closed_form_diffusion, "AT_ONCE", 14)
    torch.testing.assert_close(closed_form_dimension(x, x, [0.0, 1.0]), whole)


@pytest.mark.parametrize(("rank", "at"), [(0, 0.0), (3, 0.0), (3, 1.0), (9, 0.5)])
def test_normal_bundle_of_a_flat_of_known_rank(rank, at):
    variances = torch.tensor([1.0] * rank + [0.0] * (10 - rank), dtype=torch.float64)
    turn = torch.linalg.qr(normals(10, 10))[0]

    def predict(z, gamma):
        alpha, sigma = alpha_and_sigma(gamma[:, None])
        return (sigma * (z @ turn) / (alpha**2 * variances + sigma**2)) @ turn.T

    x = at * variances[None] @ turn.T
    noise = normals(1, SCORES * 10, 10, seed=1)
    assert normal_bundle(predict, x, math.log(math.expm1(1e-4)), noise).tolist() == [rank]


# Labels.


def dimensions(value, error=0.0):
    value = np.asarray(value, dtype=float)
    return Dimensions(value, np.broadcast_to(np.asarray(error, dtype=float), value.shape))


def test_absolute_labels_by_hand():
    data, model = dimensions([1, 1, 1, 0, 8, 8], 0.1), dimensions([1, 0, 0.45, 0, 6.5, 5], [0, 0, 0.3, 0, 0, 0])
    found = label(data, model, is_absolute=True)
    assert found.labels.tolist() == [NOT_MEMORIZED, OVERFITTING, UNDECIDED, DATA, NOT_MEMORIZED, OVERFITTING]
    np.testing.assert_allclose(found.gap, [0, 1, 0.55, 0, 1.5, 3])
    assert found.why_none == ""


def test_what_errors_do_not_settle_is_undecided():
    """A gap within two standard errors; no gap where none could be seen; data of small dimension, or not beyond errors."""

    def of(data, data_error, model):
        others = [2.0] * 4
        data = dimensions([data, *others], [data_error, 0, 0, 0, 0])
        return label(data, dimensions([model, *others]), is_absolute=True).labels[0]

    assert of(2, 0.45, 1) == OVERFITTING and of(2, 0.55, 1) == UNDECIDED
    assert of(2, 0.95, 2) == NOT_MEMORIZED and of(2, 1.05, 2) == UNDECIDED
    assert of(0.9, 0.04, 0.9) == DATA and of(0.9, 0.06, 0.9) == UNDECIDED and of(1.1, 0.3, 1.1) == NOT_MEMORIZED


def test_few_images_are_labelled_by_the_error_of_the_data_alone(rng):
    """Maximum likelihood with 20 neighbours: 19 m / gamma(19), with the standard error value / sqrt(17)."""
    for m in (1, 2, 12):
        value = m * 18 / rng.gamma(19, 1, 5000)
        found = label(dimensions(value, value / 17**0.5), dimensions(np.full(5000, m)), is_absolute=True).labels
        assert (found == OVERFITTING).mean() < 0.005
        spike = label(dimensions(value, value / 17**0.5), dimensions(np.zeros(5000)), is_absolute=True).labels
        assert (spike == OVERFITTING).mean() > 0.95


def test_relative_labels_hold_an_image_against_those_of_like_data_dimension(rng):
    """The model's dimension is ten times the data's, on a scale of its own; five images lack a third of theirs."""
    data = rng.uniform(5, 15, 1000)
    model = 10 * data + rng.normal(0, 3, 1000)
    model[:5] *= 0.6
    found = label(dimensions(data), dimensions(model), is_absolute=False)
    assert (found.labels[:5] == OVERFITTING).mean() >= 0.8
    assert (found.labels[5:] == OVERFITTING).sum() <= 3
    # On another scale the labels are the same.
    assert label(dimensions(data), dimensions(3 * model), False).labels.tolist() == found.labels.tolist()


def test_of_dimensions_that_say_nothing_of_each_other_few_are_labelled(rng):
    found = label(dimensions(rng.normal(12, 2, 5000)), dimensions(rng.normal(90, 10, 5000)), is_absolute=False)
    assert (found.labels == OVERFITTING).mean() < 0.005


def test_where_the_models_dimension_hardly_varies_nothing_is_labelled(rng):
    """A VAE of 16 latent dimensions, of which nearly all images use 15 or 16."""
    model = rng.choice([14, 15, 16], 500, p=[0.02, 0.3, 0.68]).astype(float)
    found = label(dimensions(rng.normal(12, 2, 500)), dimensions(model), is_absolute=False)
    assert {*found.labels} == {""} and "hardly varies" in found.why_none
    assert hardly_varies(model) and not hardly_varies(rng.uniform(8, 16, 500))


def test_images_without_a_dimension_get_no_label():
    found = label(dimensions([1, np.nan, 1]), dimensions([0, 0, np.nan]), is_absolute=True)
    assert found.labels.tolist() == [OVERFITTING, "", ""]
    none = label(dimensions([1.0]), dimensions([np.nan]), is_absolute=False)
    assert none.labels.tolist() == [""] and none.why_none


@pytest.mark.parametrize("is_absolute", [True, False])
def test_an_infinite_dimension_is_none(rng, is_absolute):
    data, model = rng.uniform(5, 15, 200), rng.uniform(5, 15, 200)
    data[:3], model[3] = np.inf, -np.inf
    found = label(dimensions(data), dimensions(model), is_absolute)
    assert (found.labels[:4] == "").all() and np.isnan(found.gap[:4]).all() and (found.labels[4:] != "").all()


def test_images_of_one_of_few_data_dimensions_are_held_against_one_another(rng):
    """Known dimensions 1, 2 and 5, and a model that is right to 0.05, in any order of images."""
    known = np.repeat([1.0, 2.0, 5.0], 300)
    model = known + rng.normal(0, 0.05, 900)
    found = label(dimensions(known), dimensions(model), is_absolute=False)
    assert (found.labels == NOT_MEMORIZED).all()
    np.testing.assert_allclose(
        found.gap, np.repeat([np.median(model[known == each]) for each in (1, 2, 5)], 300) - model
    )


def test_few_images_of_one_data_dimension_are_not_held_against_those_of_another(rng):
    """Twenty of dimension 1 are a fiftieth of all, and would be in the lowest tenth with those of 2."""
    known = np.repeat([1.0, 2.0, 5.0], [20, 490, 490])
    found = label(dimensions(known), dimensions(known + rng.normal(0, 0.05, 1000)), is_absolute=False)
    assert np.abs(found.gap).max() < 0.3


def test_labels_do_not_depend_on_the_order_of_images(rng):
    """A third of the images share one data dimension, whose place is in several tenths."""
    data = np.where(rng.random(300) < 1 / 3, 8.0, rng.uniform(5, 15, 300))
    model, order = data + rng.standard_t(2, 300), rng.permutation(300)
    found, again = (label(dimensions(data[of]), dimensions(model[of]), False) for of in (np.arange(300), order))
    assert {OVERFITTING, NOT_MEMORIZED} <= {*found.labels}
    assert again.labels.tolist() == found.labels[order].tolist()
    np.testing.assert_array_equal(again.gap, found.gap[order])


def test_few_images_are_not_held_against_one_another(rng):
    """Of 99 images nothing is said, nor of four alike among 100 or more; repeated images are no others."""
    data, model = rng.uniform(5, 15, 100), rng.uniform(5, 15, 100)
    few = label(dimensions(data[:99]), dimensions(model[:99]), is_absolute=False)
    assert {*few.labels} == {""} and np.isnan(few.gap).all() and "99 images" in few.why_none
    assert "" not in label(dimensions(data), dimensions(model), is_absolute=False).labels
    assert label(dimensions(data[:99]), dimensions(model[:99]), is_absolute=True).why_none == ""
    with_repeated = np.append(data[:99], [0.0] * 50)
    assert label(dimensions(with_repeated), dimensions(np.ones(149)), False).why_none == few.why_none
    found = label(dimensions([1.0] * 4 + [2.0] * 5 + [5.0] * 100), dimensions(rng.uniform(5, 15, 109)), False)
    assert (found.labels[:4] == "").all() and (found.labels[4:] != "").all()


@pytest.mark.parametrize("is_absolute", [True, False])
def test_repeated_images_are_data_driven_and_no_measure_of_others(rng, is_absolute):
    """Two thirds are repeated: the median is that of the others, of which ten have a quarter of it."""
    data = np.concatenate([np.zeros(400), np.full(10, 2.0), np.full(190, 8.0)])
    model = data + rng.normal(0, 0.2, 600)
    model[0] = -5  # far below what may be expected of any
    found = label(dimensions(data, 0.1), dimensions(model), is_absolute)
    assert (found.labels[:410] == DATA).all() and (found.labels[410:] == NOT_MEMORIZED).all()
    assert is_absolute or (np.isnan(found.gap) == (data == 0)).all()
    assert {*label(dimensions(np.zeros(3)), dimensions(np.zeros(3)), is_absolute=True).labels} == {DATA}


def test_an_error_of_the_model_that_is_unknown_counts_as_none():
    data = dimensions([1, 1, 1], 0.1)
    found = label(data, dimensions([1, 0, 0], [np.nan, np.nan, 0.6]), is_absolute=True)
    assert found.labels.tolist() == [NOT_MEMORIZED, OVERFITTING, UNDECIDED]


def circle(n, rng):
    """In a plane of three dimensions, and far from it a point that stands there alone (2 x) and another five times (the last)."""
    angle = rng.uniform(0, 2 * np.pi, n)
    on_it = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], 1)
    return np.concatenate([on_it, [[4.0, 0, 0]], np.tile([[0.0, 5, 0]], (5, 1))])


@pytest.mark.parametrize(("bandwidth", "memorized_circle"), [(0.15, False), (1e-5, True)])
def test_labels_of_a_kernel_density_on_a_circle_with_an_isolated_and_a_repeated_point(rng, bandwidth, memorized_circle):
    """The data have one dimension, none at the repeated point, and a population from which the isolated one came has one, too.

    A wide kernel learns the circle, and the isolated point by heart; a narrow one learns everything by heart.
    """
    x = torch.tensor(circle(400, rng))
    model = build_density_of_rows(x, bandwidth)
    found = dimension_of_rows(model, x)
    data = dimensions([1.0] * 401 + [0.0] * 5)
    labels = label(data, dimensions(found.value, found.standard_error), is_absolute=True).labels
    assert labels[400] == OVERFITTING and {*labels[401:]} == {DATA}
    share = (labels[:400] == (OVERFITTING if memorized_circle else NOT_MEMORIZED)).mean()
    assert share > 0.98


def build_density_of_rows(x, bandwidth):
    model = build("kernel_density", (1, 1, 3), bandwidth=bandwidth)
    model.fit(x.reshape(-1, 1, 1, 3))
    return model


def dimension_of_rows(model, x):
    return dimension_of(model, x.reshape(-1, 1, 1, 3))


def test_a_relative_comparison_takes_no_dimension_for_the_least_that_there_is():
    """FLIPD of a network may lie below 0 at all images: then no error is larger than the gap could be."""
    rng = np.random.default_rng(0)
    data = Dimensions(rng.uniform(5, 10, 400), np.full(400, 0.5))
    found = label(data, Dimensions(rng.normal(-8, 1, 400), np.full(400, 0.3)), is_absolute=False)
    assert (found.labels == "not memorized").mean() > 0.95
