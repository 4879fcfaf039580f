"""Half-split experiments whose truth is known: log p linear in membership, and Gaussians whose mean is that of their images."""

import numpy as np
import torch
import xarray as xr
from torch import nn

from engram.analyses.inputs import Inputs
from engram.designs.membership import design
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.files.provenance import attributes


def halves(n: int, repeats: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """in_training (2 repeats, n) of complementary halves, and the repeat of each."""
    membership = design(
        {"design": "half_split", "repeats": repeats}, np.zeros(n, int), np.full(n, -1), seed, f"halves {seed}"
    )
    return membership.in_training, membership.repeat


def linear(rng, in_training: np.ndarray, images: int, share: float, common: float = 0.0):
    """tau (n, images) and log p (halves, images) = half sums of tau + noise; `share` of its variance is the sums'.

    Test images have that share of their variance in `common`: sums that move alike.
    """
    n = in_training.shape[1]
    tau = np.sqrt(common) * rng.normal(size=(n, 1)) + np.sqrt(1 - common) * rng.normal(size=(n, images))
    sums = in_training @ tau
    noise = rng.normal(size=sums.shape) * np.sqrt(n / 4 * (1 / share - 1))
    return tau, sums + noise


class GaussianMean(nn.Module):
    """N(x; mean, 1): log p of an image is quadratic in the mean of the training images."""

    observation = "pixels"

    def __init__(self, image_shape, mean):
        super().__init__()
        self.image_shape, self.noise_shape = image_shape, (0,)
        self.mean = nn.Parameter(torch.as_tensor(mean, dtype=torch.float32))

    def forward(self, x, noise):
        return -0.5 * (x.flatten(1) - self.mean).square().sum(1)


def experiment(folder, repeats=20, n=80, test=15, model=GaussianMean, seed=0) -> Inputs:
    """What the analysis is given of half-split Gaussians, fitted in closed form to random images of 3 x 3."""
    rng = np.random.default_rng(seed)
    pixels, split = rng.integers(0, 256, (n + test, 9), dtype=np.uint8), np.repeat([0, 1], [n, test])
    membership = design({"design": "half_split", "repeats": repeats}, split, np.full(n + test, -1), seed, "halves")
    x = pixels / 255
    means = np.array([x[members].mean(0) for members in membership.in_training])
    log_px = -0.5 * ((x - means[:, None]) ** 2).sum(-1)
    made_by = attributes("halves", seed, {}, dataset_sha256="0" * 64, wall_seconds=1.0)
    path = folder / "likelihood.h5"
    variables = {
        "log_px": variable(("model", "draw", "sample"), log_px[:, None].astype(np.float32), "nats", "log p"),
        "repeat": variable(("model",), membership.repeat, "1", "repeat"),
        "fold": variable(("model",), membership.fold, "1", "fold"),
    }
    artifacts.write(path, "likelihood", variables, made_by | {"estimator": "exact"})
    described = {"image_shape": [1, 3, 3], "dataset": "random", "dataset_sha256": "0" * 64}
    images = {
        "images": variable(("sample", "pixel"), pixels, "1", "grey levels"),
        "label": variable(("sample",), np.full(n + test, -1), "1", "class"),
        "split": variable(("sample",), split, "1", "split"),
    }
    scores = xr.Dataset({"epoch": ("epoch", [1, 2])}, attrs={"dataset_sha256": "0" * 64, "log_px_is_bound": 0})
    by_repeat = means.reshape(repeats, 2, 9)
    return Inputs(
        "halves",
        seed,
        {"exact": scores},
        xr.Dataset(images, attrs=described),
        full_model=lambda epoch: model((1, 3, 3), x[:n].mean(0)),
        membership=xr.Dataset(membership.variables(split, np.full(n + test, -1))),
        last_likelihoods={"exact": [path]},
        models=[lambda epoch, pair=pair: [model((1, 3, 3), mean) for mean in pair] for pair in by_repeat],
    )
