"""What training and likelihood jobs ask of a cluster, estimated from the experiment; docs/slurm.md gives the formulas.

Each rate is one CPU core's, for the fully connected model, as which every model counts that engram.runtime.model_costs does not
know. A request is SAFETY times what it comes to, and grows with the attempt: a job that ends early costs nothing, one that is cut
off is asked for again.
"""

import math
from itertools import pairwise
from pathlib import Path

from engram.runtime.model_costs import Cost, cost

Shape = tuple[int, int, int, int]  # images, channels, height, width

TRAINED = 7_000  # images a second, forward and back
DECODED = 64_000  # samples of z a second, decoded and judged
STEP = 3  # passes through the network that a training step costs: forward, and back for inputs and for weights
BLOCK = 400  # bytes of a block of 32 steps for each pixel of a batch: what x is drawn from, x, and its noise
AT_ONCE = 2**16  # pixels that go through the network of a bound at a time
OF_SAMPLES = 40  # bytes for each pixel of an image's samples of a bound
SAFETY = 3
EMPTY_JOB = 1_500, 10  # MB and minutes of a job that computes nothing
LONGEST = 24 * 60  # minutes a training asks for at most: it goes on from its saved state in the next attempt


def shape_of_images(path: str | Path) -> Shape:
    """Of a data set's file; zeros of a damaged one, of which the job itself will speak.

    Raises FileNotFoundError before the file is made: Snakemake then shows <TBD>, and asks again when it is.
    """
    import h5py  # here, because it takes half a second, and most starts of Snakemake need no request

    try:
        with h5py.File(path) as file:
            return len(file["images"]), *map(int, file.attrs["image_shape"])
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "no such data set", str(path)) from error  # Snakemake looks at the name
    except (OSError, KeyError):
        return 0, 0, 0, 0


def train_minutes(experiment: dict, repeat: str, shape: Shape, attempt: int) -> int:
    """Minutes for training one repeat of an experiment of config.yaml on images of `shape`."""
    epochs = experiment["training"]["epochs"] if "training" in experiment else 1  # fitted in closed form
    shown = shape[0] * _models(experiment, repeat, shape[0]) * epochs
    counted = _cost(experiment, shape)
    seconds = shown * STEP * counted.multiply_adds / counted.rate if counted else shown / TRAINED
    return min(LONGEST, _minutes(seconds, attempt))


def train_megabytes(experiment: dict, repeat: str, shape: Shape, attempt: int) -> int:
    """Images, weights with gradient and Adam's two moments, and the weights of every scored epoch, gathered at the end.

    Of a counted model also a batch on its way back.
    """
    images, pixels = shape[0], math.prod(shape[1:])
    weights = 4 * _models(experiment, repeat, images) * _parameters(experiment, shape)
    counted = _cost(experiment, shape)
    batch = experiment["training"]["batch_size"] * (4 * counted.kept + BLOCK * pixels) if counted else 0
    return _megabytes(images * pixels + weights * (4 + len(experiment.get("scored_epochs", [1]))) + batch, attempt)


def likelihood_minutes(experiment: dict, estimator: dict, repeat: str, shape: Shape, attempt: int) -> int:
    """Minutes for log p of all images under the models of one repeat at one epoch, by an estimator of config.yaml."""
    estimates = shape[0] * _models(experiment, repeat, shape[0]) * estimator.get("draws", 1)
    passes, counted = estimates * decodings(experiment, estimator), _cost(experiment, shape)
    return _minutes(passes * counted.multiply_adds / counted.rate if counted else passes / DECODED, attempt)


def decodings(experiment: dict, estimator: dict) -> int:
    """How many samples could be decoded for the price of one estimate, at most: passes through the network, without a latent z.

    A Laplace proposal costs six for each Gauss-Newton step, one for each column of the curvature, and four for each pair of
    gradients, of which there are latent_dim but at least 16 (engram.likelihood.laplace).
    """
    samples = estimator.get("max_samples", estimator.get("samples", 1))
    if estimator["proposal"] != "laplace":
        return samples
    return samples + 6 * estimator.get("newton_steps", 2) + 5 * max(16, experiment["model"].get("latent_dim", 16))


def likelihood_megabytes(experiment: dict, estimator: dict, repeat: str, shape: Shape, attempt: int) -> int:
    """Images, weights, and some ten numbers for each estimate.

    Of a bound also the samples of one image, and what the network makes of the images that go through it at a time.
    """
    images, pixels = shape[0], math.prod(shape[1:])
    models = _models(experiment, repeat, images)
    weights = 4 * models * _parameters(experiment, shape)
    size = images * pixels + 2 * weights + 80 * models * estimator.get("draws", 1) * images
    return _megabytes(size + _at_once(_cost(experiment, shape), estimator, shape), attempt)


def _at_once(counted: Cost | None, estimator: dict, shape: Shape) -> int:
    """Bytes that samples of a bound take while they are judged: the network holds a third at most of what training keeps."""
    if counted is None or estimator["proposal"] != "bound":
        return 0
    images = max(1, AT_ONCE // max(1, math.prod(shape[2:])))
    samples = estimator.get("max_samples", estimator["samples"])
    return OF_SAMPLES * samples * math.prod(shape[1:]) + 4 * images * counted.kept // 3


def _models(experiment: dict, repeat: str, images: int) -> int:
    """How many models a repeat's file holds."""
    if repeat == "full":
        return 1
    membership = experiment["membership"]
    of_design = {"half_split": 2, "leave_one_out": images, "staggered": len(membership.get("cohorts", ())) + 1}
    return of_design.get(membership["design"], membership.get("folds", 1))


def _cost(experiment: dict, shape: Shape) -> Cost | None:
    return cost(experiment["model"], shape[1:])


def _parameters(experiment: dict, shape: Shape) -> int:
    """Weights of the fully connected model with these settings; other models that are not counted have about as many.

    What a user's own model calls hidden may be anything, so only that of engram's counts. Models that are fitted keep at most
    a row for each image or each pixel, in double precision.
    """
    model, images, pixels = experiment["model"], shape[0], math.prod(shape[1:])
    if counted := _cost(experiment, shape):
        return counted.parameters
    if "training" not in experiment:
        return 2 * pixels * max(images, pixels)
    hidden = model.get("hidden", (512, 256)) if model["name"] == "bernoulli_mlp_vae" else (512, 256)
    widths = [pixels, *hidden, model.get("latent_dim", 16)]
    return 2 * sum(a * b for a, b in pairwise(widths))


def _minutes(seconds: float, attempt: int) -> int:
    return attempt * math.ceil(EMPTY_JOB[1] + SAFETY * seconds / 60)


def _megabytes(size: float, attempt: int) -> int:
    return attempt * math.ceil(EMPTY_JOB[0] + SAFETY * size / 1e6)
