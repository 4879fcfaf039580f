"""The nearest-neighbour test for copying: rho_i = min_v d(x_i, v) / min_s d(x_i, s), with d Euclidean.

v runs over held-out images and s over as many samples of the model: rho_i > 1 says that the model's samples come nearer
to training image i than fresh real images do. Images are halved first, as in van den Burg & Williams (2021).
"""

import logging
from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from engram.analyses.inputs import Answer, Inputs
from engram.errors import UserError
from engram.files import inputs
from engram.files.artifacts import variable
from engram.models.samples import sample
from engram.runtime.machine import installed_memory
from engram.scores import intervals

BLOCK = 2048, 8192  # rows of x and of y whose distances are held at once: 64 MiB
PAIR_VALUES = 2**24  # pixels of the pairs re-evaluated in double precision at once
PUBLISHED_BATCH = 256
VALIDATION = {"celeba": 19_867}  # of the images that are not for training, the first: those the paper compares with
HELD = 6  # blocks of distances, and of what is made from them, at once

log = logging.getLogger("engram")


def distance_ratio(train, validation, samples, as_published: bool = False) -> np.ndarray:
    """rho of each training image, (n,), from images (n, ...), (v, ...) and (s, ...).

    Infinite where the samples contain the image and `validation` does not; 1 where both do, as where both are as near.
    `as_published` repeats the reference code's slip: within each batch of 256, an image's distances are those of the
    batch's first image to the image's nearest neighbours, which is noise.
    """
    to_validation, to_samples = (_distances(train, others)[int(as_published)] for others in (validation, samples))
    return ratio(to_validation, to_samples)


def ratio(distance: np.ndarray, other: np.ndarray) -> np.ndarray:
    """distance / other, with 0/0 = 1 and d/0 = inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == other, 1.0, distance / other)


def nearest(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest of y (m, ...) to each of x (n, ...), the lowest among equals, and its distance: (n,), (n,).

    Euclidean and exact, in bounded memory: distances come from float32 matrix products, and every y that rounding could
    have hidden from being the nearest is evaluated again in double precision. Tensors on a GPU are compared there.
    """
    x, y = rows(x), rows(y)
    index, squared = np.zeros(len(x), dtype=np.int64), np.full(len(x), np.inf)
    for row in range(0, len(x), BLOCK[0]):
        for column in range(0, len(y), BLOCK[1]):
            here = slice(row, row + BLOCK[0])
            block_index, block_squared = _nearest_in_block(x[here], y[column : column + BLOCK[1]])
            nearer = block_squared < squared[here]
            index[here][nearer] = block_index[nearer] + column
            squared[here][nearer] = block_squared[nearer]
    return index, np.sqrt(squared)


def halve(images) -> Tensor:
    """Images (n, C, H, W) at half their height and width, by the mean of the pixels each new pixel covers."""
    images = torch.as_tensor(images, dtype=torch.float32)
    return adaptive_avg_pool2d(images, tuple(max(1, side // 2) for side in images.shape[-2:]))


def halved(dataset: xr.Dataset, sample: np.ndarray) -> Tensor:
    """Images of the data set by index, halved."""
    return torch.cat([halve(inputs.images(dataset, part)) for part in inputs.in_parts(sample)])


def memory(n: int, v: int, pixels: int) -> int:
    """Bytes that comparing n images with v held-out images and as many samples takes, of `pixels` each before halving.

    The images themselves and HELD blocks; never the n v distances.
    """
    block = min(n, BLOCK[0]) * min(v, BLOCK[1])
    return 4 * ((n + 2 * v) * pixels // 4 + HELD * block) + 24 * PAIR_VALUES


def require_memory(n: int, v: int, pixels: int, loaded: int) -> None:
    """Log what `analyse` will hold at most, `loaded` bytes of images included; UserError if the machine has less."""
    needed, installed = loaded + memory(n, v, pixels), installed_memory()
    log.info("%d images against %d held-out images and as many samples: about %.1f GB", n, v, needed / 1e9)
    if needed > installed:
        raise UserError(
            f"neighbors: {n:,} images against {v:,} need about {needed / 1e9:.1f} GB of memory, this machine has "
            f"{installed / 1e9:.1f} GB; score a subset of the data set (subset_of)"
        )


def rows(images) -> Tensor:
    """Images (n, ...) of any kind as rows (n, pixels), float32."""
    if not isinstance(images, Tensor):
        images = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    return images.float().flatten(1)


def _nearest_in_block(x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    x_norm, y_norm = x.square().sum(1), y.square().sum(1)
    squared = torch.addmm(x_norm[:, None] + y_norm, x, y.T, alpha=-2)
    # Worst-case rounding of the line above, |error| <= (pixels + 8) u (|x|^2 + |y|^2), u = 2^-24, taken on both sides.
    slack = 2 * (x.shape[1] + 8) * 2.0**-24 * (x_norm + y_norm.max())
    row, column = (squared <= (squared.amin(1) + slack)[:, None]).nonzero(as_tuple=True)
    exact = squared_distance(x, y, row, column)
    row, column = row.cpu().numpy(), column.cpu().numpy()
    order = np.lexsort((column, exact, row))
    first = order[np.unique(row[order], return_index=True)[1]]
    return column[first], exact[first]


def squared_distance(x: Tensor, y: Tensor, row: Tensor, column: Tensor) -> np.ndarray:
    """Of the pairs x[row], y[column], in double precision."""
    pairs = max(1, PAIR_VALUES // x.shape[1])
    chunks = zip(row.split(pairs), column.split(pairs), strict=True)
    return torch.cat([(x[i].double() - y[j].double()).square().sum(1) for i, j in chunks]).cpu().numpy()


def _distances(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each x to its nearest y: correct, and as published."""
    index, distance = nearest(x, y)
    first_of_batch = torch.arange(len(index)) // PUBLISHED_BATCH * PUBLISHED_BATCH
    return distance, np.sqrt(squared_distance(rows(x), rows(y), first_of_batch, torch.from_numpy(index)))


def analyse(given: Inputs) -> Answer:
    """rho of every scored image under the full model at the last scored epoch.

    Held-out images are the test images, of CelebA the validation images; samples are as many mean images. With rank
    correlations of rho and each estimator's score. Raises UserError if that needs more memory than there is.
    """
    dataset, scored = given.dataset, given.first["sample"].values
    held_out = inputs.test_samples(dataset)[: VALIDATION.get(dataset.attrs["dataset"])]
    require_memory(len(scored), len(held_out), dataset.sizes["pixel"], dataset["images"].nbytes)
    train, validation = halved(dataset, scored), halved(dataset, held_out)
    drawn = sample(given.full_model(given.epoch), len(validation), given.seed, "neighbors", given.experiment)
    samples = torch.cat([halve(part) for part in drawn])
    variables = _variables(_distances(train, validation), _distances(train, samples), given.scores)
    return Answer(variables, {"epoch": given.epoch, "samples": len(samples)})


def _variables(to_validation: tuple, to_samples: tuple, scores: Mapping[str, xr.Dataset]) -> dict[str, tuple]:
    rho, rho_as_published = map(ratio, to_validation, to_samples)
    score = [inputs.last(scored) for scored in scores.values()]
    meaning = "nearest held-out distance over nearest sample distance"
    wrong_row = "by the reference code's wrong row"
    nearest_of = "distance to the nearest"
    return {
        "sample": next(iter(scores.values()))["sample"].variable,
        "estimator": variable(("estimator",), list(scores), "1", "estimator of the memorization score"),
        "rho": variable(("sample",), rho, "1", meaning, may_be_undefined=True),
        "rho_as_published": variable(
            ("sample",), rho_as_published, "1", f"{meaning}, {wrong_row}", may_be_undefined=True
        ),
        "distance_to_validation": variable(("sample",), to_validation[0], "1", f"{nearest_of} held-out image"),
        "distance_to_samples": variable(("sample",), to_samples[0], "1", f"{nearest_of} sample of the model"),
        **_correlations("spearman", "rho", rho, score),
        **_correlations("spearman_as_published", f"rho ({wrong_row})", rho_as_published, score),
    }


def _correlations(name: str, of: str, rho: np.ndarray, scores: list[np.ndarray]) -> dict[str, tuple]:
    correlations = [intervals.spearman(rho, score) for score in scores]
    return intervals.variables(name, correlations, f"Spearman's rank correlation of {of} with the score")
