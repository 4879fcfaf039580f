"""Error rates of the labels of memorization on data sets of known dimension: the table of docs/geometry.md.

    OMP_NUM_THREADS=1 uv run python benchmarks/labels.py [--seeds 5] [--size 1]

A kernel density is learned of each manifold (docs/data_dimension.md), and its images are labelled by the estimated dimension of the
data: once with the model's dimension by LIDL, which sees the same neighbours, and once with the exact one. A narrow kernel has
none, a wide one that of the data. Numbers of images are the lowest and the highest of the seeds. It takes a minute of one core.
"""

import argparse
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from common import print_table

from engram.analyses.data_dimension import by_distances, equal_images
from engram.analyses.geometry import REPEATED
from engram.analyses.judged_images import JudgedImages
from engram.analyses.ways_to_dimension import by_density
from engram.datasets import manifolds
from engram.geometry.data_dimension import PATCH
from engram.geometry.labels import DATA, NOT_MEMORIZED, OVERFITTING, UNDECIDED, Dimensions, label
from engram.geometry.nearest import nearest_different
from engram.models import build


class Case(NamedTuple):
    """`train` images of a manifold, the kernel's bandwidth, and what its images are that stand there once."""

    manifold: str
    train: int
    bandwidth: float
    right: str


CASES = (
    Case("circle_with_point", 1010, 0.05, OVERFITTING),
    Case("circle_with_point", 1010, 0.5, NOT_MEMORIZED),
    Case("circle_with_point", 1010, 2, NOT_MEMORIZED),
    Case("circle_with_point", 210, 4, NOT_MEMORIZED),
    Case("lollipop", 610, 1, NOT_MEMORIZED),
)


class Images(NamedTuple):
    """Training images (n, pixels), the part that each is of, its known dimension, and the estimated one of the data."""

    images: np.ndarray
    part: np.ndarray
    parts: list[str]
    known: np.ndarray
    data: Dimensions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=float, default=1, help="of the data sets, in those of the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        some = case._replace(train=int(case.train * options.size))
        rows += _rows(some, [counted(some, seed) for seed in range(1, options.seeds + 1)])
    print_table(rows)


def counted(case: Case, seed: int) -> dict[tuple[str, str], np.ndarray]:
    """Of each part and way to the model's dimension: images with the right label, undecided, and wrong, and the quantiles 0.05,
    0.5 and 0.95 of the model's dimension."""
    made = _made(case, seed)
    exact = np.zeros(len(made.known)) if case.right == OVERFITTING else made.known
    models = {"LIDL": _learned(case, made, seed), "exact": Dimensions(exact, np.zeros(len(exact)))}
    found = {}
    for way, model in models.items():
        labels = label(made.data, model, is_absolute=True).labels
        for place, name in enumerate(made.parts):
            here = made.part == place
            quantiles = np.quantile(model.value[here], [0.05, 0.5, 0.95])
            found[name, way] = np.append(_judged(labels[here], DATA if name == "point" else case.right), quantiles)
    return found


def _judged(labels: np.ndarray, right: str) -> list[int]:
    """Images with the right label, undecided, and wrong."""
    is_right, is_undecided = labels == right, labels == UNDECIDED
    return [int(each.sum()) for each in (is_right, is_undecided, ~is_right & ~is_undecided)]


def _made(case: Case, seed: int) -> Images:
    """The training images, which stand first; repeated ones have data dimension 0, as in the analysis `geometry`."""
    made = manifolds.load("m", {"manifold": case.manifold, "train": case.train, "test": 10}, (seed, "dataset", "m"))
    images = made.images.reshape(len(made.images), -1)[: case.train]
    found, is_repeated = by_distances(images, nearest_different(images, PATCH)), equal_images(images) >= REPEATED
    columns = (found[name] for name in ("lid_data", "lid_data_standard_error"))
    data = Dimensions(*(np.where(is_repeated, 0.0, values) for values in columns))
    return Images(images, made.labels[: case.train], made.label_names, made.dimension[: case.train], data)


def _learned(case: Case, made: Images, seed: int) -> Dimensions:
    """The dimension of a kernel density of the images, by LIDL."""
    side = int(made.images.shape[1] ** 0.5)
    dataset = xr.Dataset(
        {"images": (("sample", "pixel"), made.images), "label": ("sample", made.part)},
        attrs={"image_shape": [1, side, side], "dataset": "m"},
    )
    judged = JudgedImages.of(dataset, np.arange(case.train), seed, "model dimension")
    model = build("kernel_density", judged.shape, bandwidth=case.bandwidth)
    model.fit(judged.x(model))
    return Dimensions(*(part.numpy() for part in by_density(model, judged).dimension))


def _rows(case: Case, found: list[Mapping[tuple[str, str], np.ndarray]]) -> list[dict[str, object]]:
    """Lines of the table: ranges of counts over seeds, and the median over seeds of the quantiles."""
    rows = []
    for name, way in found[0]:
        numbers = np.array([of_seed[name, way] for of_seed in found])
        low, middle, high = np.median(numbers[:, 3:], axis=0)
        counts = [f"{values.min():,.0f} to {values.max():,.0f}" for values in numbers[:, :3].T]
        rows.append(
            {
                "data set": f"`{case.manifold}`, {case.train:,}",
                "part": name,
                "`bandwidth`": case.bandwidth,
                "model's dimension": f"{way}: {middle:z.2f} ({low:z.2f} to {high:z.2f})",
                "should be": DATA if name == "point" else case.right,
                **dict(zip(("right", "undecided", "wrong"), counts, strict=True)),
            }
        )
    return rows


if __name__ == "__main__":
    main()
