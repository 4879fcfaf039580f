"""Through the whole workflow: what a denoiser that has memorized its images scores, at grey levels, is a closed form.

Its density at any time is a mixture of normals about its images. So minus diffusion and prior terms of the bound are
E[log p(z_0) - log q(z_0 | x)] - E[log p(z_1) - log N(z_1)], for which z_0 and z_1 are drawn here, and no time between them; and
the reconstruction is an integral over one normal number a pixel.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import norm

import workspace
from engram.files import artifacts
from engram.files.artifacts import TRAIN

pytestmark = pytest.mark.slow

NAME, SIDE, IMAGES = "memorizing", 4, 60
# At time 0 the kernel is 17 grey levels wide, so that a copy is worth some nats, not millions; at time 1 enough of an image is left
# for the prior term to be seen.
GAMMA_0, GAMMA_1 = -4.0, 1.0
SAMPLES, DRAWS = 32, 96  # times of one shift, and independent shifts, over which the workflow's error is taken
EXPERIMENT = {
    "dataset": "small",
    "model": {"name": "memorizing_denoiser:MemorizingDenoiser", "gamma_0": GAMMA_0, "gamma_1": GAMMA_1},
    "membership": {"design": "half_split", "repeats": 2},
    "estimators": ["bound"],
    "overrides": {"bound": {"samples": SAMPLES, "draws": DRAWS}},
    "analyses": ["density_split"],
    "seed": 42,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = workspace.create(tmp_path_factory.mktemp("bound") / "engram")
    shutil.copy(Path(__file__).with_name("memorizing_denoiser.py"), folder)
    np.savez(folder / "small.npz", images=grey_levels(), labels=np.arange(IMAGES) % 4)
    config = workspace.read(folder)
    config["datasets"]["small"] = {"npz": "small.npz", "test_fraction": 0.25}
    config["experiments"][NAME] = EXPERIMENT
    workspace.write(folder, config | {"run": [NAME]})
    run = workspace.snakemake(folder)
    assert run.returncode == 0, run.stdout
    return folder


def grey_levels() -> np.ndarray:
    """Four prototypes, and images at smaller and larger distances from them: what is memorized of them differs as much."""
    rng = np.random.default_rng(1)
    prototypes = rng.integers(60, 196, (4, SIDE, SIDE))
    apart = rng.normal(size=(IMAGES, SIDE, SIDE)) * rng.uniform(8, 40, (IMAGES, 1, 1))
    return (prototypes[np.arange(IMAGES) % 4] + apart).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def workflows(folder):
    """log p of the training images by the workflow, (models, draws, images), and which model saw which of them."""
    parts = [
        artifacts.read(folder / f"results/{NAME}/likelihood/bound/repeat-0{repeat}/epoch-1.h5", "likelihood")
        for repeat in range(2)
    ]
    seen = artifacts.read(folder / f"results/{NAME}/membership.h5", "membership")["in_training"].values
    train = parts[0].split.values == TRAIN
    return np.concatenate([part.log_px.values for part in parts])[..., train], seen[:, train]


@pytest.fixture(scope="module")
def closed_form(folder, workflows):
    """log p of the training images by formula, (models, draws of ours, images)."""
    data = artifacts.read(folder / "results/datasets/small.h5", "dataset")
    x = data.images.values[data.split.values == TRAIN] / 127.5 - 1
    outside = reconstruction(x)
    return np.array([outside + without_reconstruction(x, x[rows]) for rows in workflows[1]])


def without_reconstruction(x: np.ndarray, points: np.ndarray, draws: int = 4000) -> np.ndarray:
    """Draws of minus diffusion and prior terms, (draws, images), for a model that has memorized `points`; in NumPy's float64."""
    values = np.empty((draws, len(x)))
    for image, pixels in enumerate(x):
        noise = np.random.default_rng([7, image]).normal(size=(2, draws, x.shape[1]))
        values[:, image] = ratio(pixels, points, GAMMA_0, noise[0]) - ratio(pixels, points, GAMMA_1, noise[1], True)
    return values


def ratio(
    pixels: np.ndarray, points: np.ndarray, gamma: float, noise: np.ndarray, to_normal: bool = False
) -> np.ndarray:
    """log p(z) - log q(z | x), or log p(z) - log N(z), of z drawn from q by `noise` (draws, pixels): (draws,)."""
    alpha, sigma = np.sqrt(expit(-gamma)), np.sqrt(expit(gamma))
    z = alpha * pixels + sigma * noise
    squares = (z**2).sum(1)[:, None] - 2 * alpha * z @ points.T + alpha**2 * (points**2).sum(1)
    log_p = logsumexp(-0.5 * squares / sigma**2, axis=1) - np.log(len(points)) - pixels.size * np.log(sigma)
    other = -0.5 * (z**2).sum(1) if to_normal else -0.5 * (noise**2).sum(1) - pixels.size * np.log(sigma)
    return log_p - other


def reconstruction(x: np.ndarray) -> np.ndarray:
    """E log p(level | z_0) of each image, (images,), by the trapezoidal rule over the noise of one pixel."""
    width, levels = np.exp(GAMMA_0 / 2), np.arange(256) / 127.5 - 1
    noise = np.linspace(-9, 9, 181)
    logits = (
        -0.5 * ((levels[:, None, None] + width * noise[:, None] - levels) / width) ** 2
    )  # (own level, noise, level)
    own = -0.5 * noise**2 - logsumexp(logits, axis=2)
    of_level = np.trapezoid(norm.pdf(noise) * own, noise, axis=1)
    return of_level[np.rint((x + 1) * 127.5).astype(int)].sum(1)


def over_models(log_px: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of the score, each (draws, images), from log p (models, draws, images)."""
    inside, outside = (np.nanmean(np.where(which[:, None], log_px, np.nan), axis=0) for which in (seen, ~seen))
    return {"in": inside, "out": outside, "score": inside - outside}


@pytest.mark.parametrize("part", ["in", "out", "score"])
def test_log_p_of_models_that_have_memorized_is_the_closed_form(workflows, closed_form, part):
    log_px, seen = workflows
    ours, theirs = over_models(closed_form, seen)[part], over_models(log_px, seen)[part]
    error = np.hypot(*(values.std(0, ddof=1) / np.sqrt(len(values)) for values in (ours, theirs)))
    deviations = (theirs.mean(0) - ours.mean(0)) / error
    assert abs(deviations).max() < 4 and np.median(error) < 0.5
    assert abs(deviations.sum()) < 4 * np.sqrt(len(deviations)), "what all images share"


def test_the_score_is_that_difference_and_of_1_to_100_nats(folder, workflows):
    scores = artifacts.read(folder / f"results/{NAME}/scores/bound.h5", "scores")["score"].values[-1]
    np.testing.assert_allclose(scores, over_models(*workflows)["score"].mean(0), atol=1e-3)
    assert np.mean((scores > 1) & (scores < 100)) > 0.9 and np.median(scores) > 5
