"""The estimate of log p(x) against closed forms, quadrature and its own error bars."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from engram.errors import UserError
from engram.likelihood.estimation import SAMPLES_CHUNK, estimate, estimate_to_precision
from engram.likelihood.importance import generalized_pareto_shape, pareto_k, summarize
from engram.models.observations import draw, log_pixel_volume
from latent_models import (
    GaussianVAE,
    LinearVAE,
    conv_vae,
    drawn_from,
    log_px_by_quadrature,
    small_digits,
    trained_on_digits,
    without_relu,
)

LOG_256 = math.log(256)


@pytest.fixture(scope="module")
def digits():
    return small_digits(1000)


@pytest.fixture(scope="module")
def model(digits):
    return trained_on_digits(digits, latent_dim=2)


# --- closed form: probabilistic PCA


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("latent_dim", [1, 16, 64])
def test_one_laplace_sample_is_exact_in_a_linear_model_at_scale_one(dtype, tolerance, latent_dim):
    model = LinearVAE(pixels=80, latent_dim=latent_dim, noise=1.0, encoder_shift=0.3).to(dtype)
    model.weight /= math.sqrt(latent_dim)
    x = model.draw(50)
    found = estimate(model, x, samples=1, proposal_scale=1.0)
    assert (found.log_px.double() - model.exact(x)).abs().max() < tolerance
    torch.testing.assert_close(found.elbo, found.log_px)


def test_a_wider_proposal_errs_by_just_what_its_scale_says():
    model, scale, dim = LinearVAE(pixels=40, latent_dim=16).double(), 1.1, 16
    x = model.draw(300)
    noise = torch.randn(300, 1, dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    error = estimate(model, x, samples=1, proposal_scale=scale, noise=noise).log_px - model.exact(x)
    expected = dim * math.log(scale) - 0.5 * (scale**2 - 1) * (noise[:, 0] ** 2).sum(-1)
    torch.testing.assert_close(error, expected)
    assert error.std().item() == pytest.approx(0.5 * (scale**2 - 1) * math.sqrt(2 * dim), rel=0.15)  # 0.59 nats


def test_the_elbo_of_a_mean_field_encoder_falls_short_by_its_divergence_from_the_posterior():
    model = LinearVAE(pixels=10, latent_dim=3).double()
    x, precision = model.draw(4), model.precision()
    q = torch.diag(1 / precision.diagonal())
    divergence = 0.5 * ((precision @ q).trace() - 3 - torch.logdet(precision) - torch.logdet(q))
    found = estimate(model, x, proposal="encoder", samples=20_000)
    torch.testing.assert_close(found.elbo, model.exact(x) - divergence, rtol=0, atol=0.03)
    torch.testing.assert_close(found.log_px, model.exact(x), rtol=0, atol=0.03)
    assert not found.fell_back.any()


@pytest.mark.parametrize("name", ["gaussian_conv_vae", "gaussian_conv_vae_scalar_variance"])
def test_one_laplace_sample_is_exact_for_a_convolutional_decoder_without_relu(name):
    model, weight, offset = without_relu(conv_vae(name, latent_dim=3))
    variance = torch.exp(getattr(model, "log_variance", torch.zeros(()))).double()
    covariance = weight @ weight.T + variance * torch.eye(1024)
    x = drawn_from(model, 5)
    exact = torch.distributions.MultivariateNormal(offset, covariance).log_prob(x.flatten(1))
    found = estimate(model, x, samples=1, proposal_scale=1.0)
    torch.testing.assert_close(found.log_px, exact + log_pixel_volume(x, "logit"), rtol=0, atol=1e-6)


# --- quadrature


@pytest.mark.parametrize("latent_dim", [1, 2])
@pytest.mark.parametrize("name", ["bernoulli_conv_vae", "gaussian_conv_vae", "gaussian_conv_vae_scalar_variance"])
def test_a_convolutional_vae_agrees_with_quadrature_by_both_proposals(name, latent_dim):
    model = conv_vae(name, latent_dim)
    x = drawn_from(model, 6)
    exact = log_px_by_quadrature(model, x, reach=4.5, points={1: 301, 2: 51}[latent_dim])
    exact += log_pixel_volume(x, model.observation)
    for proposal, samples in (("laplace", 256), ("encoder", 2048)):
        found = estimate(model, x, proposal, samples=samples)
        assert ((found.log_px - exact).abs() <= 4 * found.standard_error + 1e-3).all()
        assert found.standard_error.max() < 0.1
        assert not found.fell_back.any()


def test_a_mixture_of_logistics_keeps_its_encoder_and_agrees_with_quadrature():
    model = conv_vae("logistic_mixture_conv_vae", latent_dim=1).float()
    x = drawn_from(model, 2)
    found = estimate(model, x, "laplace", samples=256)
    assert found.fell_back.all()
    exact = log_px_by_quadrature(model, x, reach=4.5, points=41)
    assert ((found.log_px - exact).abs() <= 4 * found.standard_error + 1e-3).all()
    assert found.standard_error.max() < 0.1


@pytest.mark.parametrize(("proposal", "samples"), [("laplace", 64), ("encoder", 1024)])
def test_a_mlp_vae_agrees_with_quadrature_within_its_standard_errors(model, digits, proposal, samples):
    x = digits[:100]
    found = estimate(model, x, proposal=proposal, samples=samples)
    error = found.log_px.double() - log_px_by_quadrature(model, x)
    assert abs(error.mean()) <= 0.02
    if proposal == "laplace":
        assert (error.abs() <= 4 * found.standard_error).all()


def test_gaussian_pixels_with_a_variance_each_agree_with_quadrature():
    model = GaussianVAE()
    z = torch.randn(100, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, log_variance = model.decode(z).unbind(-1)
    x = mean + torch.exp(0.5 * log_variance.clamp(min=-2)) * torch.randn(
        100, 12, generator=torch.Generator().manual_seed(1)
    )
    found = estimate(model, x, samples=256)
    error = found.log_px - log_px_by_quadrature(model, x, reach=8, points=4001)
    assert abs(error.mean()) <= 0.02
    assert (error.abs() <= 4 * found.standard_error + 0.05).float().mean() >= 0.97
    assert not found.fell_back.any()


def test_standard_errors_cover_what_other_seeds_give(model, digits):
    x = digits[:200]
    runs = [estimate(model, x, samples=64, seed=seed) for seed in range(12)]
    spread = torch.stack([run.log_px for run in runs]).std(0)
    claimed = torch.stack([run.standard_error for run in runs]).mean(0)
    assert 0.8 < (claimed.pow(2).mean() / spread.pow(2).mean()).sqrt() < 1.25


def test_laplace_errs_less_than_the_encoder_with_a_quarter_of_the_samples(model, digits):
    x = digits[:200]
    exact = log_px_by_quadrature(model, x)
    laplace, encoder = (estimate(model, x, name, n).log_px - exact for name, n in (("laplace", 16), ("encoder", 64)))
    assert laplace.pow(2).mean() < encoder.pow(2).mean()


@pytest.mark.slow
def test_the_fit_does_not_stay_at_the_spiky_mode_of_a_hardly_trained_model():
    x = torch.nn.functional.pad(small_digits(4480).repeat_interleave(2, -1).repeat_interleave(2, -2), (2, 2, 2, 2))
    model = trained_on_digits(x, latent_dim=16, steps=70, learning_rate=1e-3, hidden=(512, 256)).eval()
    fewer = x[:40]
    exact = estimate(model, fewer, "encoder", samples=5000, seed=1)
    assert exact.standard_error.square().mean().sqrt() < 0.3, "the encoder is no bad proposal yet"
    error = estimate(model, fewer).log_px - exact.log_px
    assert error.square().mean().sqrt() < 1.5 and error.min() > -5


# --- the same answer however it is asked for


def test_an_image_gets_the_same_value_in_any_chunk_or_subset_when_its_noise_is_named(model, digits, monkeypatch):
    x = digits[:40]
    noise = torch.randn(40, 16, 2, generator=torch.Generator().manual_seed(0))
    whole = estimate(model, x, noise=noise)
    rows = torch.tensor([31, 4, 17])
    part = estimate(model, x[rows], noise=noise[rows])
    for chunk in ("SAMPLES_CHUNK", "JACOBIAN_CHUNK"):
        monkeypatch.setattr(f"engram.likelihood.estimation.{chunk}", 3 * 2 * 196)
    chunked = estimate(model, x, noise=noise)
    for name in ("log_px", "elbo", "standard_error", "effective_samples"):
        torch.testing.assert_close(getattr(part, name), getattr(whole, name)[rows], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(getattr(chunked, name), getattr(whole, name), rtol=1e-3, atol=1e-3)


def test_seeds_repeat_and_differ(model, digits):
    first, again, other = (estimate(model, digits[:5], seed=seed).log_px for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_models_mode_is_left_as_found_and_does_not_matter(digits):
    model = trained_on_digits(digits, latent_dim=2, steps=1)
    model.decoder.append(torch.nn.Dropout(0.5))
    found = []
    for training in (True, False):
        model.train(training)
        found.append(estimate(model, digits[:5]).log_px)
        assert model.training is model.decoder.training is training
    assert torch.equal(*found)


def test_no_pass_decodes_more_than_the_chunk(model, digits, monkeypatch):
    largest = 0
    decode = model.decode

    def watched(z):
        nonlocal largest
        largest = max(largest, z.shape[:-1].numel() * 196)
        return decode(z)

    monkeypatch.setattr(model, "decode", watched)
    estimate(model, digits[:8], samples=10_000)
    assert SAMPLES_CHUNK / 2 < largest <= SAMPLES_CHUNK


# --- hostile models


def test_a_model_without_a_density_is_refused(digits):
    with pytest.raises(UserError, match=r"Linear has neither encode, decode .* nor log_prob"):
        estimate(torch.nn.Linear(1, 1), digits[:2])


def test_infinite_weights_fall_back_to_the_encoder_and_are_counted(model, digits):
    class Hostile(torch.nn.Module):
        """Fisher information that is not a number for images reconstructed with much ink."""

        encode, decode, log_prob_given_latent = model.encode, model.decode, model.log_prob_given_latent

        def information(self, parameters):
            ink = torch.sigmoid(parameters).sum(-1, keepdim=True)
            return torch.where(ink > 35, torch.nan, model.information(parameters))

    found = estimate(Hostile(), digits[:100])
    encoder = estimate(model, digits[:100], "encoder")
    assert 0 < found.fell_back.sum() < 100
    torch.testing.assert_close(found.log_px[found.fell_back], encoder.log_px[found.fell_back], rtol=1e-4, atol=1e-3)
    assert found.log_px.isfinite().all()


@pytest.mark.parametrize("factor", [1e-30, 1e3, 1e12, 1e30, torch.nan])
@pytest.mark.parametrize("proposal", ["laplace", "encoder"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_no_weights_make_a_nan(digits, factor, proposal, part):
    model = trained_on_digits(digits, latent_dim=2, steps=1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(part):
                weight *= factor
    found = estimate(model, digits[:6], proposal)
    for name in ("log_px", "elbo", "standard_error", "effective_samples"):
        assert not getattr(found, name).isnan().any()
    if part == "encoder":
        assert found.log_px.isfinite().all()


def test_a_model_without_information_keeps_its_encoder_and_says_so(model, digits):
    class Mixture(torch.nn.Module):
        encode, decode, log_prob_given_latent = model.encode, model.decode, model.log_prob_given_latent

    found = estimate(Mixture(), digits[:10])
    assert found.fell_back.all()
    torch.testing.assert_close(found.log_px, estimate(model, digits[:10], "encoder").log_px)


@pytest.mark.parametrize(
    "wrong", [{"proposal": "oracle"}, {"samples": 0}, {"newton_steps": 0}, {"proposal_scale": 0.0}]
)
def test_a_setting_out_of_range_is_named(model, digits, wrong):
    with pytest.raises(UserError, match=str(next(iter(wrong.values())))):
        estimate(model, digits[:1], **wrong)


# --- exact models and pixel space


class UniformPixels(torch.nn.Module):
    """Uniform on [0, 1]^D, as a density of the logit observation."""

    observation = "logit"

    def log_prob(self, x):
        return (
            (torch.nn.functional.logsigmoid(x) + torch.nn.functional.logsigmoid(-x) - math.log(0.9)).flatten(1).sum(1)
        )


def test_the_uniform_density_gives_every_8_bit_image_its_share():
    images = torch.randint(256, (5, 3 * 8 * 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    uniforms = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    found = estimate(UniformPixels(), draw(images, uniforms, "logit").reshape(-1, 3, 8, 8).double())
    torch.testing.assert_close(found.log_px, torch.full((5,), -192 * LOG_256, dtype=torch.float64))
    assert (found.standard_error == 0).all()
    assert not found.fell_back.any()


def test_a_latent_model_of_logits_is_moved_to_pixel_space_by_the_same_volume():
    class Logits(LinearVAE):
        observation = "logit"

    logits, plain = Logits(pixels=12, latent_dim=2).double(), LinearVAE(pixels=12, latent_dim=2).double()
    x = plain.draw(7)
    moved, stayed = estimate(logits, x), estimate(plain, x)
    volume = estimate(UniformPixels(), x).log_px - UniformPixels().log_prob(x)
    torch.testing.assert_close(moved.log_px, stayed.log_px + volume)
    torch.testing.assert_close(moved.elbo, stayed.elbo + volume)


# --- diagnostics


def test_summary_of_weights_worked_by_hand():
    found = summarize(torch.log(torch.tensor([[1.0, 2, 3], [5, 5, 5], [0, 0, 6], [0, 0, 0]])), torch.zeros(4).bool())
    torch.testing.assert_close(found.log_px, torch.log(torch.tensor([2.0, 5, 2, 0])))
    torch.testing.assert_close(found.effective_samples, torch.tensor([36 / 14, 3, 1, 0]))
    torch.testing.assert_close(found.standard_error, torch.tensor([1 / (2 * math.sqrt(3)), 0, 1, torch.inf]))
    torch.testing.assert_close(found.elbo[:2], torch.tensor([math.log(6) / 3, math.log(5)]))
    assert found.pareto_k.isnan().all(), "three weights have no tail to fit"


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.5, 1.0])
def test_generalized_pareto_shape_is_recovered(shape):
    sample = np.sort(genpareto(shape, scale=3).rvs((20, 2000), random_state=0), axis=1)
    found = generalized_pareto_shape(torch.from_numpy(sample))
    assert found.mean() == pytest.approx(shape, abs=0.03)
    assert found[0] == pytest.approx(genpareto.fit(sample[0], floc=0)[0], abs=0.03)


def test_pareto_k_tells_a_proposal_that_is_too_narrow():
    """Weights of N(0, s^2) for N(0, 1) have a tail of shape 1 - s^2 when s < 1, and none when s > 1."""
    noise = torch.randn(50, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shapes = {s: pareto_k(0.5 * (1 - s**2) * noise**2).mean().item() for s in (0.4, 0.6, 1.2)}
    assert shapes[0.4] > 0.7
    assert 0.4 < shapes[0.6] < 0.8
    assert shapes[1.2] < 0.2
    assert pareto_k(torch.zeros(2, 100)).isnan().all()


def test_samples_go_to_the_images_that_need_them(model, digits):
    x, target = digits[:150], 0.1
    found = estimate_to_precision(model, x, target, max_samples=16384)
    first = estimate(model, x, samples=16)
    easy = first.standard_error <= target
    assert 0 < easy.sum() < 150
    assert (found.samples[easy] == 16).all()
    assert (found.samples[~easy] > 16).all()
    assert (found.standard_error <= target).all()
    error = found.log_px - log_px_by_quadrature(model, x)
    assert error.pow(2).mean().sqrt() < 1.5 * target


def test_no_image_gets_more_than_the_most_it_may(model, digits):
    found = estimate_to_precision(model, digits[:20], 1e-6, max_samples=100)
    assert (found.samples == 64).all()
