"""Fitted models through the stages: what is stored and scored is what NumPy computes from the membership alone."""

import numpy as np
import pytest
import torch
import xarray as xr

from engram.files import artifacts
from engram.likelihood import stage as likelihood_stage
from engram.models.kernel_density import KernelDensity
from engram.models.observations import draw_fixed, log_pixel_volume
from engram.training import stage, trained

EXACT = {"proposal": "encoder", "samples": 1, "observation": "fixed", "draws": 1}
N, SIDE = 31, 3


@pytest.fixture
def dataset(tmp_path, rng):
    images = rng.integers(0, 256, (N, SIDE * SIDE)).astype(np.uint8)
    zeros = np.zeros(N, dtype=int)
    variables = {
        "images": artifacts.variable(("sample", "pixel"), images, "1", "grey levels"),
        "label": artifacts.variable(("sample",), zeros - 1, "1", "class"),
        "split": artifacts.variable(("sample",), (np.arange(N) >= 25).astype(int), "1", "split"),
    }
    attributes = {"image_shape": [1, SIDE, SIDE], "dataset": "toy", "dataset_sha256": "0" * 64}
    artifacts.write(tmp_path / "dataset.h5", "dataset", variables, attributes)
    return tmp_path / "dataset.h5"


def run(dataset, folder, model, **more):
    values = {
        "model": model,
        "training": None,
        "scored_epochs": [1],
        "membership": {"design": "k_fold", "folds": 4},
        "seed": 5,
        "code": "c",
    }
    stage.train(dataset, folder / "models.h5", folder / "state", values, "e", "repeat-00", threads=1)
    likelihood_stage.run(
        folder / "likelihood.h5",
        folder / "models.h5",
        dataset,
        experiment="e",
        estimator="exact",
        repeat="repeat-00",
        epoch=1,
        settings=EXACT,
        seed=5,
        threads=1,
    )
    return artifacts.read(folder / "likelihood.h5", "likelihood"), artifacts.read(folder / "models.h5", "models")


def seen_by_each(folds):
    """Training images of each fold, by the stage's own design."""
    from engram.designs.membership import models_of

    split = (np.arange(N) >= 25).astype(int)
    return models_of("repeat-00", {"design": "k_fold", "folds": folds}, split, np.full(N, -1), 5, "e")[1]


def observed(dataset) -> np.ndarray:
    stored = xr.load_dataset(dataset, engine="h5netcdf")
    x = draw_fixed(torch.from_numpy(stored.images.values), np.arange(N), "logit", 5, "toy", 0)
    return x.double().numpy(), log_pixel_volume(x, "logit").double().numpy()


def normal(x, rows, least=0.01):
    """log N of every row of x under the normal with the moments of some rows, its variances at least `least`."""
    deviations = x[rows] - x[rows].mean(0)
    variances, axes = np.linalg.eigh(deviations.T @ deviations / rows.sum())
    variances = np.maximum(variances, least)
    along = (x - x[rows].mean(0)) @ axes
    return -0.5 * (along**2 / variances + np.log(2 * np.pi * variances)).sum(1)


def kernels(x, rows, bandwidth=0.8):
    squares = ((x[:, None] - x[rows][None]) ** 2).sum(2)
    heights = -0.5 * squares / bandwidth**2 - x.shape[1] / 2 * np.log(2 * np.pi * bandwidth**2)
    return np.log(np.exp(heights).mean(1))


@pytest.mark.parametrize(
    ("model", "density"),
    [({"name": "gaussian"}, normal), ({"name": "kernel_density", "bandwidth": 0.8}, kernels)],
)
def test_the_log_p_of_every_fold_is_that_of_the_density_fitted_to_what_it_saw(dataset, tmp_path, model, density):
    likelihood, stored = run(dataset, tmp_path, model)
    (x, volume), seen = observed(dataset), seen_by_each(4)
    assert {int(row.sum()) for row in seen} == {18, 19}, "folds of unequal size"
    for fold in range(4):
        expected = density(x, seen[fold]) + volume
        np.testing.assert_allclose(likelihood.log_px.values[fold, 0], expected, rtol=1e-6)
        assert stored.loss_train.values[0, fold] == pytest.approx(-expected[seen[fold]].mean(), rel=1e-6)
        unseen = ~seen[fold] & (np.arange(N) < 25)
        assert stored.loss_held_out.values[0, fold] == pytest.approx(-expected[unseen].mean(), rel=1e-6)
    assert (likelihood.standard_error.values == 0).all() and not (tmp_path / "state").exists()


def test_stored_models_are_the_fitted_ones_and_draw_samples(dataset, tmp_path):
    run(dataset, tmp_path, {"name": "kernel_density", "bandwidth": 1e-3})
    model = trained.load_model(tmp_path / "models.h5", epoch=1, index=2)
    (x, _), seen = observed(dataset), seen_by_each(4)[2]
    assert model.count == seen.sum()
    drawn = model.sample(20, observation=True, generator=torch.Generator().manual_seed(0)).flatten(1).numpy()
    nearest = ((drawn[:, None] - x[seen][None]) ** 2).sum(2).min(1)
    assert nearest.max() < 1e-4


class OnlyABound(KernelDensity):
    """Its bound is a kernel density's log p, whatever the noise; it also has a weight, which is drawn and never fitted."""

    log_prob = property()  # as if there were none
    noise_shape = (2, 1)

    def __init__(self, image_shape):
        super().__init__(image_shape, bandwidth=0.8)
        self.shift = torch.nn.Parameter(torch.randn((), dtype=torch.float64))

    def bound(self, x, noise):
        return KernelDensity.log_prob(self, x - self.shift)[:, None].expand(noise.shape[:2])

    def fit(self, x):
        super().fit(x - self.shift.detach())


def test_a_fit_that_gives_a_bound_alone_has_losses_too_and_keeps_its_weights(dataset, tmp_path):
    torch.manual_seed(3)
    likelihood, stored = run(dataset, tmp_path, {"name": "test_fitted:OnlyABound"})
    (x, volume), seen = observed(dataset), seen_by_each(4)
    assert len({*stored["shift"].values[0].tolist()}) == 4
    for fold in range(4):
        expected = kernels(x, seen[fold]) + volume
        np.testing.assert_allclose(likelihood.log_px.values[fold, 0], expected, rtol=1e-6)
        assert stored.loss_train.values[0, fold] == pytest.approx(-expected[seen[fold]].mean(), rel=1e-6)
