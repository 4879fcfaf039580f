"""What training and likelihood jobs ask of a cluster, estimated from the experiment; docs/slurm.md gives the formulas.

Each rate is one CPU core's, for the fully connected model. A request is SAFETY times what it comes to, and grows with the
attempt: a job that ends early costs nothing, one that is cut off is asked for again.
"""

import math
from itertools import pairwise
from pathlib import Path

TRAINED = 7_000  # images a second, forward and back
DECODED = 64_000  # samples of z a second, decoded and judged
SAFETY = 3
EMPTY_JOB = 1_500, 10  # MB and minutes of a job that computes nothing
LONGEST = 24 * 60  # minutes a training asks for at most: it goes on from its saved state in the next attempt


def shape_of_images(path: str | Path) -> tuple[int, int]:
    """(images, pixels) of a data set's file; (0, 0) of a damaged one, of which the job itself will speak.

    Raises FileNotFoundError before the file is made: Snakemake then shows <TBD>, and asks again when it is.
    """
    import h5py  # here, because it takes half a second, and most starts of Snakemake need no request

    try:
        with h5py.File(path) as file:
            return file["images"].shape
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "no such data set", str(path)) from error  # Snakemake looks at the name
    except (OSError, KeyError):
        return 0, 0


def train_minutes(experiment: dict, repeat: str, shape: tuple[int, int], attempt: int) -> int:
    """Minutes for training one repeat of an experiment of config.yaml on images of `shape` (images, pixels)."""
    epochs = experiment["training"]["epochs"] if "training" in experiment else 1  # fitted in closed form
    shown = shape[0] * _models(experiment, repeat, shape[0]) * epochs
    return min(LONGEST, _minutes(shown / TRAINED, attempt))


def train_megabytes(experiment: dict, repeat: str, shape: tuple[int, int], attempt: int) -> int:
    """Images, weights with gradient and Adam's two moments, and the weights of every scored epoch, gathered at the end."""
    images, pixels = shape
    weights = 4 * _models(experiment, repeat, images) * _parameters(experiment, images, pixels)
    return _megabytes(images * pixels + weights * (4 + len(experiment.get("scored_epochs", [1]))), attempt)


def likelihood_minutes(experiment: dict, estimator: dict, repeat: str, shape: tuple[int, int], attempt: int) -> int:
    """Minutes for log p of all images under the models of one repeat at one epoch, by an estimator of config.yaml."""
    estimates = shape[0] * _models(experiment, repeat, shape[0]) * estimator.get("draws", 1)
    return _minutes(estimates * decodings(experiment, estimator) / DECODED, attempt)


def decodings(experiment: dict, estimator: dict) -> int:
    """How many samples could be decoded for the price of one estimate, at most.

    A Laplace proposal costs six for each Gauss-Newton step, one for each column of the curvature, and four for each pair of
    gradients, of which there are latent_dim but at least 16 (engram.likelihood.laplace).
    """
    samples = estimator.get("max_samples", estimator.get("samples", 1))
    if estimator["proposal"] != "laplace":
        return samples
    return samples + 6 * estimator.get("newton_steps", 2) + 5 * max(16, experiment["model"].get("latent_dim", 16))


def likelihood_megabytes(experiment: dict, estimator: dict, repeat: str, shape: tuple[int, int], attempt: int) -> int:
    """Images, weights, and some ten numbers for each estimate."""
    images, pixels = shape
    models = _models(experiment, repeat, images)
    weights = 4 * models * _parameters(experiment, images, pixels)
    return _megabytes(images * pixels + 2 * weights + 80 * models * estimator.get("draws", 1) * images, attempt)


def _models(experiment: dict, repeat: str, images: int) -> int:
    """How many models a repeat's file holds."""
    if repeat == "full":
        return 1
    membership = experiment["membership"]
    return {"half_split": 2, "leave_one_out": images}.get(membership["design"], membership.get("folds", 1))


def _parameters(experiment: dict, images: int, pixels: int) -> int:
    """Weights of the fully connected model with these settings; other models have about as many.

    What a user's own model calls hidden may be anything, so only that of engram's counts. Models that are fitted keep at most
    a row for each image or each pixel, in double precision.
    """
    model = experiment["model"]
    if "training" not in experiment:
        return 2 * pixels * max(images, pixels)
    hidden = model.get("hidden", (512, 256)) if model["name"] == "bernoulli_mlp_vae" else (512, 256)
    widths = [pixels, *hidden, model.get("latent_dim", 16)]
    return 2 * sum(a * b for a, b in pairwise(widths))


def _minutes(seconds: float, attempt: int) -> int:
    return attempt * math.ceil(EMPTY_JOB[1] + SAFETY * seconds / 60)


def _megabytes(size: float, attempt: int) -> int:
    return attempt * math.ceil(EMPTY_JOB[0] + SAFETY * size / 1e6)
