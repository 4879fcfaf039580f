"""Do the samples of the full model crowd around few training images, and are those the memorized ones?

Each sample is given to its nearest training image (Euclidean, images halved). The share of samples an image receives
says how crowded it is; the coverage, the share of training images that receive any, is set against that of test images.
"""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr

from engram.analyses.inputs import Answer, Inputs
from engram.analyses.neighbors import halve, halved, nearest
from engram.files import inputs
from engram.files.artifacts import variable
from engram.models.samples import sample
from engram.scores import intervals

SAMPLES_PER_IMAGE, MOST_SAMPLES = 10, 100_000


def share(owner: np.ndarray, n: int) -> np.ndarray:
    """Share of the draws whose nearest training image is each of `n`, (n,), from the nearest image's index per draw."""
    return np.bincount(owner, minlength=n) / len(owner)


def coverage(owner: np.ndarray, n: int) -> np.ndarray:
    """Share of the `n` training images that the first 1, 2, ... draws are nearest to, (draws,): a rising curve."""
    first = np.zeros(len(owner))
    first[np.unique(owner, return_index=True)[1]] = 1
    return np.cumsum(first) / n


def coverage_range(owner: np.ndarray, n: int, size: int) -> intervals.Interval:
    """Coverage by `size` draws: mean and 2.5 to 97.5 % range over the disjoint sets of that size that `owner` holds."""
    sets = owner[: len(owner) // size * size].reshape(-1, size)
    covered = [len(np.unique(drawn)) / n for drawn in sets]
    return intervals.Interval(float(np.mean(covered)), *map(float, np.quantile(covered, [0.025, 0.975])))


def class_shares(labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The classes among labels (n,) and the share of each, or of the total weight (n,) that falls on it."""
    classes, position = np.unique(labels, return_inverse=True)
    shares = np.bincount(position, weights)
    return classes, shares / shares.sum()


def analyse(given: Inputs) -> Answer:
    """Crowding by 10 samples per scored image, at most 100,000, of the full model at the last epoch."""
    train = halved(given.dataset, given.first["sample"].values)
    test = halved(given.dataset, inputs.test_samples(given.dataset))
    number = min(SAMPLES_PER_IMAGE * len(train), MOST_SAMPLES)
    drawn = sample(given.full_model(given.epoch), number, given.seed, "mode_collapse", given.experiment)
    samples = torch.cat([halve(part) for part in drawn])
    of_sample, of_test = nearest(samples, train)[0], nearest(test, train)[0]
    return Answer(_variables(of_sample, of_test, given.scores), {"epoch": given.epoch, "samples": number})


def _variables(of_sample: np.ndarray, of_test: np.ndarray, scores: Mapping[str, xr.Dataset]) -> dict[str, tuple]:
    first = next(iter(scores.values()))
    n, labels = first.sizes["sample"], first["label"].values
    shares = share(of_sample, n)
    classes, class_share_train = class_shares(labels)
    correlations = [intervals.spearman(shares, inputs.last(scored)) for scored in scores.values()]
    size = min(len(of_test), len(of_sample))
    of_samples, of_tests = "share of samples nearest to the training image", "the same of test images"
    position = "position of the training image nearest to the"
    return {
        "sample": first["sample"].variable,
        "estimator": variable(("estimator",), list(scores), "1", "estimator of the memorization score"),
        "class": variable(("class",), classes, "1", "class of training images, -1 if none"),
        "share": variable(("sample",), shares, "1", of_samples),
        "share_test": variable(("sample",), share(of_test, n), "1", of_tests),
        "nearest_to_generated": variable(("generated",), of_sample, "1", f"{position} sample"),
        "nearest_to_test": variable(("test",), of_test, "1", f"{position} test image"),
        "class_share_train": variable(("class",), class_share_train, "1", "share among training images"),
        "class_share_samples": variable(("class",), class_shares(labels, shares)[1], "1", "share among samples"),
        "coverage_test": variable((), coverage(of_test, n)[size - 1], "1", "coverage by the test images"),
        **intervals.variables("coverage", coverage_range(of_sample, n, size), "coverage by as many samples", axes=()),
        **intervals.variables("spearman", correlations, "Spearman's rank correlation of share with the score"),
    }
