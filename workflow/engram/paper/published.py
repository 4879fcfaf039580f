"""What the paper (van den Burg & Williams 2021, arXiv 2106.03216) printed, and the settings it printed it for.

Settings are in the form of config.yaml. Values are of the last epoch. A tolerance is what printing or reading off a
figure may have cost the number; for losses, of which there is one training each, what we allow another training.
"""

from dataclasses import dataclass
from typing import Any

TWO_RATES = "mnist_lr1e-3", "mnist_lr1e-4"  # experiments that differ in learning rate only
IMAGES = {"mnist": 60_000, "cifar10": 50_000, "celeba": 162_770}  # scored images by data set

_TEN_BY_TEN = {"design": "k_fold", "folds": 10, "repeats": 10}
_EVERY_FIFTH = list(range(5, 101, 5))

_MNIST = {
    "dataset": "mnist",
    "model": {"name": "bernoulli_mlp_vae", "latent_dim": 16},
    "membership": _TEN_BY_TEN,
    "scored_epochs": _EVERY_FIFTH,
}

SETTINGS: dict[str, dict[str, Any]] = {
    "mnist_lr1e-3": _MNIST | {"training": {"epochs": 100, "batch_size": 64, "learning_rate": 0.001}},
    "mnist_lr1e-4": _MNIST | {"training": {"epochs": 100, "batch_size": 64, "learning_rate": 0.0001}},
    "cifar10": {
        "dataset": "cifar10",
        "model": {"name": "gaussian_conv_vae", "latent_dim": 64},
        "training": {"epochs": 100, "batch_size": 64, "learning_rate": 0.001, "augmentation": "horizontal_flip"},
        "membership": _TEN_BY_TEN,
        "scored_epochs": [50, 100],
    },
    "celeba": {
        "dataset": "celeba",
        "model": {"name": "gaussian_conv_vae_scalar_variance", "latent_dim": 32},
        "training": {"epochs": 50, "batch_size": 64, "learning_rate": 0.001, "augmentation": "horizontal_flip"},
        "membership": _TEN_BY_TEN,
        "scored_epochs": [25, 50],
    },
}

SAMPLES = {"mnist_lr1e-3": 256, "mnist_lr1e-4": 256, "cifar10": 128, "celeba": 128}  # importance samples


@dataclass(frozen=True)
class Value:
    """A printed number: its quantity (a key of engram.scores.quantities, or a loss), how exact it is, and where it stands."""

    quantity: str
    value: float
    tolerance: float
    source: str
    unit: str = "nats"


LOSSES, QUANTILES, HISTOGRAM, DENSITY = (
    "figure of the losses",
    "figure of the quantiles of M",
    "histogram of M and its text",
    "histogram of U by memorization and its text",
)


def _mnist(median, q95, q999, low, high, negative, train, test) -> list[Value]:
    return [
        Value("median of M", median, 0.05, HISTOGRAM),
        Value("0.95 quantile of M", q95, 0.005, QUANTILES),
        Value("0.999 quantile of M", q999, 0.05, QUANTILES),
        Value("minimum of M", low, 0.5, HISTOGRAM),
        Value("maximum of M", high, 5, HISTOGRAM),
        Value("share of images with M < 0", negative, 0.0005, HISTOGRAM, "1"),
        Value("loss of the full model, training images", train, 1, LOSSES),
        Value("loss of the full model, test images", test, 1, LOSSES),
    ]


VALUES: dict[str, list[Value]] = {
    "mnist_lr1e-3": _mnist(4.4, 14.53, 43.9, -18, 210, 0.122, 93.7, 96.2),
    "mnist_lr1e-4": [
        *_mnist(3.5, 10.84, 22.9, -13, 80, 0.160, 94.7, 95.0),
        Value("mean of M", 3.8, 0.05, "text"),
    ],
    "cifar10": [
        Value("median of M", 97, 0.5, HISTOGRAM),
        Value("minimum of M", -180, 5, HISTOGRAM),
        Value("maximum of M", 900, 50, HISTOGRAM),
    ],
    "celeba": [
        Value("median of M", 60, 0.5, HISTOGRAM),
        Value("minimum of M", -450, 25, HISTOGRAM),
        Value("maximum of M", 6500, 50, HISTOGRAM),
        Value("images with M <= 0.95", 7093, 0.5, "histogram of rho, whose split is there", "images"),
        Value("share of images with U in [-14500, -12000]", 0.899, 0.0005, DENSITY, "1"),
        Value("share of highly memorized with U in [-14500, -12000]", 0.5896, 0.00005, DENSITY, "1"),
        Value("share highly memorized where U < -17000", 0.78, 0.005, DENSITY, "1"),
        Value("share highly memorized where U > -11000", 0.007, 0.0005, DENSITY, "1"),
    ],
}
