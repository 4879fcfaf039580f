"""What analyses, figures and tables read: scores and log p by estimator, losses, and the images they speak of."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from engram.errors import UserError, make_again
from engram.files import artifacts

AT_ONCE = 4096  # images, so that memory stays bounded
LOSSES = ["loss_train", "loss_held_out"]


def scores(paths: Mapping[str, str | Path]) -> dict[str, xr.Dataset]:
    """Score artifacts by estimator, in the order given."""
    return {estimator: artifacts.read(path, "scores") for estimator, path in paths.items()}


def losses(path: str | Path) -> xr.Dataset:
    """Losses by epoch of the models of one training."""
    return artifacts.read(path, "models", LOSSES)


def epoch_of(likelihood: str | Path) -> int:
    """The epoch that a likelihood file says it is of."""
    stored = artifacts.attributes(likelihood, "likelihood")
    try:
        return int(json.loads(stored["values"])["epoch"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{likelihood}: does not say which epoch it is of; {make_again(likelihood)}") from error


def likelihoods_by_epoch(
    likelihoods: Iterable[str | Path], estimator: str | None = None
) -> dict[int, list[str | Path]]:
    """Likelihood files by the epoch they are of, in its order; of one `estimator` only, if it is named."""
    if estimator is not None:
        likelihoods = [path for path in likelihoods if _estimator_of(path) == estimator]
    by_epoch: dict[int, list[str | Path]] = {}
    for path in likelihoods:
        by_epoch.setdefault(epoch_of(path), []).append(path)
    return dict(sorted(by_epoch.items()))


def _estimator_of(likelihood: str | Path) -> str:
    return str(artifacts.attributes(likelihood, "likelihood").get("estimator"))


def last(scores: xr.Dataset, name: str = "score") -> np.ndarray:
    """A variable of the scores at the last scored epoch, (n,)."""
    return scores[name].isel(epoch=-1).values


def in_parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Slices of at most 4096 rows."""
    for start in range(0, len(rows), AT_ONCE):
        yield rows[start : start + AT_ONCE]


def images(dataset: xr.Dataset, sample: np.ndarray) -> np.ndarray:
    """Images of the data set by index, as float32 in [0, 1]: (n, channels, height, width)."""
    rows = dataset["images"].values[sample]
    return rows.reshape(-1, *np.atleast_1d(dataset.attrs["image_shape"])).astype(np.float32) / 255


def test_samples(dataset: xr.Dataset) -> np.ndarray:
    """Indices of the test images. Raises UserError if there are none."""
    test = np.flatnonzero(dataset["split"].values == artifacts.TEST)
    if not len(test):
        name = dataset.attrs["dataset"]
        raise UserError(f"datasets.{name}: has no test images; comparing samples with fresh images needs some")
    return test


def null_quantile(scores: xr.Dataset, level: float, which: str = "null") -> float | None:
    """Quantile of the score without memorization, nats, or None if the artifact does not hold this one or it is undefined.

    `which`: "null", from relabelled models, or "unseen", of images that no model saw.
    """
    quantiles = f"{which}_quantiles"
    if quantiles not in scores or not np.isclose(scores["quantile"], level).any():
        return None
    value = float(scores[quantiles].values[np.isclose(scores["quantile"], level)][0])
    return value if np.isfinite(value) else None
