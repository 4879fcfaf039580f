"""Who sees which draw of x, that chunks, subsets and company change nothing, and what is stored."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from engram.files import artifacts
from engram.files.artifacts import variable
from engram.likelihood import evaluation, stage
from engram.models import build
from engram.training import trained

SHAPE = (1, 4, 4)
FIXED = {"proposal": "encoder", "samples": 6, "observation": "fixed", "draws": 2}
RESAMPLED = FIXED | {"observation": "resampled", "draws": 1}
STREAM = (42, "toy")


@pytest.fixture
def models():
    torch.manual_seed(0)
    return [build("bernoulli_mlp_vae", SHAPE, latent_dim=3, hidden=(8, 6)).eval() for _ in range(3)]


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (23, 16)).astype(np.uint8)


def evaluate(models, images, estimator, names=None, stream=STREAM):
    names = names or [("e", "repeat-00", fold, 5) for fold in range(len(models))]
    settings = evaluation.Evaluation(estimator, SHAPE, stream, torch.device("cpu"))
    found = evaluation.evaluate(settings, models, names, images)
    return SimpleNamespace(**{name: values.numpy() for name, values in vars(found).items()})


def test_every_model_draw_and_image_gets_an_estimate(models, images):
    found = evaluate(models, images, FIXED)
    assert found.log_px.shape == (3, 2, 23) and np.isfinite(found.log_px).all()
    assert (found.elbo <= found.log_px + 1e-5).all() and not found.fell_back.any()


def test_fixed_draws_are_the_same_for_every_model_experiment_and_epoch(models, images):
    twins = [models[0], models[0]]
    found = evaluate(twins, images, FIXED, names=[("e", "repeat-00", 0, 5), ("other", "repeat-01", 3, 10)])
    assert np.array_equal(found.log_px[0], found.log_px[1])
    assert not np.allclose(found.log_px[:, 0], found.log_px[:, 1])


def test_resampled_draws_are_each_models_own_and_come_back(models, images):
    twins = [models[0], models[0]]
    found = evaluate(twins, images, RESAMPLED)
    assert np.abs(found.log_px[0] - found.log_px[1]).mean() > 0.1
    assert np.array_equal(found.log_px, evaluate(twins, images, RESAMPLED).log_px)


@pytest.mark.parametrize("chunk", [1, 7, 22, 23, 24])
def test_chunks_change_nothing(models, images, monkeypatch, chunk):
    whole = evaluate(models, images, FIXED).log_px
    monkeypatch.setattr(evaluation, "CHUNK", chunk)
    np.testing.assert_allclose(evaluate(models, images, FIXED).log_px, whole, atol=1e-4)


def test_the_first_images_are_judged_the_same_without_the_others(models, images):
    whole = evaluate(models, images, FIXED).log_px
    np.testing.assert_allclose(evaluate(models, images[:9], FIXED).log_px, whole[..., :9], atol=1e-4)


def test_draws_follow_the_grey_levels(models):
    seen = []

    class Spy(torch.nn.Module):
        observation, latent_dim = "binary", 0

        def log_prob(self, x):
            seen.append(x)
            return x.flatten(1).sum(1)

    grey = np.tile(np.array([0, 51, 128, 255], dtype=np.uint8), (500, 4))
    evaluate([Spy()], grey, FIXED | {"draws": 20})
    means = torch.cat(seen).flatten(1).mean(0).numpy()[:4]
    np.testing.assert_allclose(means, [0, 0.2, 128 / 255, 1], atol=0.02)
    assert means[0] == 0 and means[3] == 1


def test_another_root_seed_or_data_set_gives_other_draws(models, images):
    base = evaluate(models[:1], images, FIXED).log_px
    for stream in [(43, "toy"), (42, "toys")]:
        assert not np.allclose(base, evaluate(models[:1], images, FIXED, stream=stream).log_px)


def test_more_samples_go_only_to_images_that_miss_the_precision_asked_for(models, images):
    estimator = FIXED | {"samples": 16, "draws": 1, "target_standard_error": 0.15, "max_samples": 64}
    found = evaluate(models, images, estimator)
    assert set(np.unique(found.samples)) > {16} and found.samples.max() <= 64
    enough = found.samples < 64
    assert (found.standard_error[enough] <= 0.15).all()
    assert (found.standard_error[found.samples == 32] > 0).all()


@pytest.mark.parametrize("samples", [1, 6, 64])
def test_estimates_are_stored_in_float32_as_they_are_computed(models, images, tmp_path, samples):
    settings = evaluation.Evaluation(FIXED | {"samples": samples}, SHAPE, STREAM, torch.device("cpu"))
    estimates = evaluation.evaluate(settings, models, [("e", "repeat-03", fold, 5) for fold in range(3)], images)
    about_images = xr.Dataset({name: ("sample", np.arange(23) % 2) for name in ("split", "label")})
    variables = stage.variables(estimates, "repeat-03", np.arange(3), about_images, stage.meanings("laplace", False, 1))
    artifacts.write(tmp_path / "epoch-5.h5", "likelihood", variables, {})
    stored = artifacts.read(tmp_path / "epoch-5.h5", "likelihood")
    for name in ("log_px", "elbo", "standard_error", "effective_samples", "pareto_k"):
        assert stored[name].dtype == np.float32
        np.testing.assert_array_equal(stored[name], getattr(estimates, name).double())
    assert np.isinf(stored.standard_error).all() == (samples == 1)
    assert (stored.samples == samples).all() and stored.samples.dtype == np.int64
    assert (stored["repeat"] == 3).all() and not stored.fell_back.any()
    assert stored.effective_samples.min() >= 1 - 1e-6 and stored.effective_samples.max() <= samples * (1 + 1e-6)


def test_images_judged_to_a_precision_do_not_depend_on_their_company(models, images):
    estimator = FIXED | {"samples": 16, "draws": 1, "target_standard_error": 0.15, "max_samples": 64}
    whole = evaluate(models, images, estimator)
    part = evaluate(models, images[:9], estimator)
    assert np.array_equal(part.samples, whole.samples[..., :9])
    np.testing.assert_allclose(part.log_px, whole.log_px[..., :9], atol=1e-4)


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize(
    ("model", "proposal", "is_bound"),
    [("Bounded", "bound", True), ("Bounded", "encoder", True), ("Flow", "exact", False), ("Plain", "encoder", False)],
)
def test_a_likelihood_file_says_whether_its_log_p_is_a_bound(
    images, tmp_path, monkeypatch, model, proposal, is_bound, draws
):
    about_images = {name: variable(("sample",), np.arange(23) % 2, "1", name) for name in ("split", "label")}
    about_images |= {"images": variable(("sample", "pixel"), images, "1", "grey levels")}
    named = {"image_shape": list(SHAPE), "dataset": "toy", "dataset_sha256": "0" * 64}
    artifacts.write(tmp_path / "dataset.h5", "dataset", about_images, named)
    folds = {"fold": variable(("model",), [0, 1], "1", "fold")}
    artifacts.write(tmp_path / "models.h5", "models", folds, {"values": "{}"})
    monkeypatch.setattr(trained, "load_models", lambda *_: [build(f"right_models:{model}", SHAPE) for _ in range(2)])
    stage.run(
        tmp_path / "likelihood.h5", tmp_path / "models.h5", tmp_path / "dataset.h5", experiment="e", estimator="mine",
        repeat="repeat-00", epoch=1, settings=FIXED | {"proposal": proposal, "draws": draws}, seed=1, threads=1,
    )  # fmt: skip
    stored = artifacts.read(tmp_path / "likelihood.h5", "likelihood")
    assert bool(stored.attrs["log_px_is_bound"]) == is_bound
    assert ("lower bound on log p(x)" in stored.log_px.long_name) == is_bound
    assert ("over the draws" in stored.standard_error.long_name) == (is_bound and draws == 2)
    if is_bound and draws == 2:
        apart = np.diff(stored.log_px.values, axis=1)  # the standard deviation of two values is this / sqrt(2)
        np.testing.assert_allclose(stored.standard_error, np.repeat(abs(apart) / 2**0.5, 2, axis=1), atol=1e-5)
