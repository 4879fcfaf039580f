"""Through the whole workflow: the scores of fitted models are the definition, in float64, on what membership.h5 says."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

import workspace
from engram.files import artifacts
from engram.files.artifacts import TRAIN
from engram.models.observations import draw_fixed

pytestmark = pytest.mark.slow

BANDWIDTH, LEAST, SEED = 2.0, 0.05, 42
LEAVE_ONE_OUT = {"design": "leave_one_out", "repeats": 1}
FITTED = {"dataset": "toy", "estimators": ["exact"], "analyses": ["density_split"], "seed": SEED}
EXPERIMENTS = {
    "normal": FITTED
    | {
        "model": {"name": "gaussian", "least_variance": LEAST},
        "membership": {"design": "k_fold", "folds": 3, "repeats": 2},
    },
    "spherical": FITTED
    | {"model": {"name": "gaussian", "covariance": "spherical", "variance": 0.5}, "membership": LEAVE_ONE_OUT},
    "correlated": FITTED | {"model": {"name": "gaussian", "least_variance": 1e-9}, "membership": LEAVE_ONE_OUT},
    "kernels": FITTED | {"model": {"name": "kernel_density", "bandwidth": BANDWIDTH}, "membership": LEAVE_ONE_OUT},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = workspace.create(tmp_path_factory.mktemp("closed") / "engram")
    config = workspace.read(folder)
    config["experiments"] |= EXPERIMENTS
    workspace.write(folder, config | {"run": [*EXPERIMENTS]})
    full = [f"results/{name}/likelihood/exact/full/epoch-1.h5" for name in ("spherical", "correlated", "kernels")]
    run = workspace.snakemake(folder, "all", *full)
    assert run.returncode == 0, run.stdout
    return folder


def observed(folder) -> tuple[np.ndarray, np.ndarray]:
    """x of every image as float64, and which images are for training."""
    data = artifacts.read(folder / "results/datasets/toy.h5", "dataset")
    images = torch.from_numpy(data.images.values)
    x = draw_fixed(images, np.arange(len(images)), "logit", SEED, "toy", 0)
    return x.double().numpy(), data.split.values == TRAIN


def scores(folder, name) -> np.ndarray:
    return artifacts.read(folder / f"results/{name}/scores/exact.h5", "scores")["score"].values[-1]


def full_minus_left_out(folder, name) -> np.ndarray:
    """log p of each training image under the model of all, minus that under the one model that was not fitted to it."""
    full, left_out = (
        artifacts.read(folder / f"results/{name}/likelihood/exact/{repeat}/epoch-1.h5", "likelihood")["log_px"].values[
            :, 0
        ]
        for repeat in ("full", "repeat-00")
    )
    seen = artifacts.read(folder / f"results/{name}/membership.h5", "membership")["in_training"].values
    train = seen.any(0)
    return full[0, train] - left_out[(~seen[:, train]).argmax(0), np.flatnonzero(train)]


def test_the_scores_are_the_definition_on_the_densities_of_the_folds(folder):
    x, train = observed(folder)
    seen = artifacts.read(folder / "results/normal/membership.h5", "membership")["in_training"].values
    log_px = []
    for rows in seen:
        deviations = x[rows] - x[rows].mean(0)
        variances, axes = np.linalg.eigh(deviations.T @ deviations / rows.sum())
        variances = np.maximum(variances, LEAST)
        along = (x[train] - x[rows].mean(0)) @ axes
        log_px.append(-0.5 * (along**2 / variances + np.log(2 * np.pi * variances)).sum(1))
    log_px, is_in = np.array(log_px), seen[:, train]
    expected = [np.mean(column[of]) - np.mean(column[~of]) for column, of in zip(log_px.T, is_in.T, strict=True)]
    np.testing.assert_allclose(scores(folder, "normal"), expected, atol=2e-4 * np.abs(log_px).max() / 100)
    assert np.median(expected) > 5


def test_a_normal_of_known_variance_memorizes_by_the_distance_from_the_mean(folder):
    x, train = observed(folder)
    rows, n = x[train], train.sum()
    expected = (2 * n - 1) * ((rows - rows.mean(0)) ** 2).sum(1) / (2 * 0.5 * (n - 1) ** 2)
    np.testing.assert_allclose(full_minus_left_out(folder, "spherical"), expected, atol=1e-3)


def test_a_fitted_normal_memorizes_by_the_mahalanobis_distance(folder):
    x, train = observed(folder)
    rows, (n, pixels) = x[train], x[train].shape
    deviations = rows - rows.mean(0)
    h = (deviations * np.linalg.solve(deviations.T @ deviations / n, deviations.T).T).sum(1)
    left = 1 - h / (n - 1)
    expected = 0.5 * (pixels * np.log(n / (n - 1)) + np.log(left)) + 0.5 * (n / (n - 1)) * h / left - h / 2
    np.testing.assert_allclose(full_minus_left_out(folder, "correlated"), expected, rtol=1e-5, atol=1e-3)
    assert expected.min() > 1 and expected.max() > 1.5 * expected.min()


def test_a_kernel_density_memorizes_by_the_height_of_its_kernel(folder):
    x, train = observed(folder)
    rows, n = x[train], int(train.sum())
    height = -0.5 * rows.shape[1] * np.log(2 * np.pi * BANDWIDTH**2)
    squares = ((rows[:, None] - rows[None]) ** 2).sum(2)
    kernels = height - 0.5 * squares / BANDWIDTH**2
    np.fill_diagonal(kernels, -np.inf)
    others = logsumexp(kernels, axis=1) - np.log(n - 1)
    expected = np.logaddexp(np.log((n - 1) / n), height - np.log(n) - others)
    np.testing.assert_allclose(full_minus_left_out(folder, "kernels"), expected, atol=1e-3)
    assert expected.max() > 1


def test_a_fit_shows_no_figure_against_epochs_and_says_why(folder):
    figures = {path.stem for path in (folder / "results/normal/figures").glob("*.png")}
    assert "score_histogram" in figures and not figures & {"losses", "quantiles"}
    assert "log p at stated epochs" in (folder / "results/report.html").read_text()
