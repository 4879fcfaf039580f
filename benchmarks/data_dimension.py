"""Estimates of the dimension of data on manifolds whose dimension is known: the tables of docs/data_dimension.md.

    OMP_NUM_THREADS=1 uv run python benchmarks/data_dimension.py [--images 1000] [--seeds 3]

First balls of rising dimension, lowest and highest over seeds; then points before and after they are rounded to grey levels of
16 x 16 pixels, medians over the images of a part, of one seed.
"""

import argparse

import numpy as np
from common import print_table

from engram.analyses.data_dimension import by_directions, by_distances
from engram.datasets import manifolds
from engram.geometry import data_dimension as estimators
from engram.geometry.data_dimension import NEIGHBOURS, PATCH
from engram.geometry.nearest import nearest_different
from engram.randomness import generator

BALLS = (2, 5, 10, 15, 20, 30)
# name, dimension or None, place of the part, and how many images of the part
ROUNDED = (
    ("sphere", {"dimension": 5}, 0, 1000),
    ("sphere", {"dimension": 2}, 0, 1000),
    ("lollipop", {}, 0, 393),
    ("circle_with_point", {}, 0, 200),
    ("circle_with_point", {}, 0, 990),
    ("mixture", {"dimensions": [1, 2, 5]}, 0, 300),
)
PIXELS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="of a ball")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print_table([of_ball(dimension, options.images, options.seeds) for dimension in BALLS])
    print()
    print_table([of_rounding(*row) for row in ROUNDED])


def of_ball(dimension: int, images: int, seeds: int) -> dict[str, object]:
    """A line of the first table."""
    numbers = []
    for seed in range(seeds):
        rng = generator(seed, "ball", dimension)
        points = manifolds.as_images(manifolds.in_ball(rng, images, dimension), PIXELS, rng)
        distance = nearest_different(points, NEIGHBOURS).distance
        value = estimators.maximum_likelihood(distance).value
        numbers.append((value.mean(), np.median(value), estimators.pooled(value), estimators.two_nn(distance)))
    ends = zip(np.min(numbers, axis=0), np.max(numbers, axis=0), strict=True)
    names = ("mean of `lid_data`", "median", "pooled", "TwoNN")
    ranges = {name: f"{low:.2f} to {high:.2f}" for name, (low, high) in zip(names, ends, strict=True)}
    off = np.mean(numbers, axis=0)[0] / dimension - 1
    return {"ball of dimension": dimension, **ranges, "mean off by": f"{100 * off:+.0f} %"}


def of_rounding(manifold: str, settings: dict[str, object], part: int, images: int) -> dict[str, object]:
    """A line of the second table, of one part of a manifold, as large as the whole would be drawn."""
    rng = generator(0, "rounding", manifold, images)
    parts = manifolds.parts_of({"manifold": manifold} | settings)
    drawn = [each.draw(rng, images * each.weight // parts[part].weight or 1) for each in parts]
    points, here = np.concatenate(drawn), np.repeat(np.arange(len(parts)), [len(each) for each in drawn]) == part
    rounded = manifolds.as_images(points, PIXELS, rng)
    of_both = [_medians(each, here) for each in (points, rounded)]
    nearest = np.median(nearest_different(rounded, 1).distance[here])
    estimates = {name: f"{of_both[0][name]:.2f}, {of_both[1][name]:.2f}" for name in of_both[0]}
    return {"part": f"{parts[part].name}, {parts[part].dimension}, {images}", "nearest": f"{nearest:.0f}", **estimates}


def _medians(points: np.ndarray, here: np.ndarray) -> dict[str, float]:
    nearest = nearest_different(points, PATCH)
    found = by_distances(points, nearest) | by_directions(points, nearest)
    return {name: float(np.median(found[name][here])) for name in ("lid_data", "lid_data_two_nn", "lid_data_ess")}


if __name__ == "__main__":
    main()
