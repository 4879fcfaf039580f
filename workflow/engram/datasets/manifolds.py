"""Data sets of known dimension: points of simple manifolds, as images.

A manifold lies in a few coordinates. These become pixels along as many random orthonormal directions, which keeps angles and the
ratios of distances, about a middle grey and as large as the range from black to white allows. Rounding to grey levels then
moves every pixel by up to half a level: noise in all directions, which is as good as none while the nearest images are much
farther apart, and beyond that raises every estimate of the dimension (docs/data_dimension.md has numbers).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engram.datasets.duplicates import ALONE
from engram.datasets.image_set import ImageSet, from_source
from engram.datasets.known import in_manifold, mistakes_in_manifold
from engram.datasets.reading import Reading
from engram.datasets.sampling import apportion
from engram.errors import UserError
from engram.files.artifacts import TEST, TRAIN
from engram.randomness import Name, generator

APART = 2.5  # between the centres of the balls of a mixture, whose radius is 1
EVENED = 50  # times that directions are evened out, which is plenty
WHITE = 255


@dataclass(frozen=True)
class Part:
    """What `draw(rng, n)` gives n points of, (n, coordinates), and its dimension. Of the images it has a share by its `weight`.

    A weight of 0 is an isolated point's, which stands `copies` times among the training images.
    """

    name: str
    dimension: int
    draw: Callable[[np.random.Generator, int], np.ndarray]
    weight: int = 1


def load(name: str, definition: Mapping[str, Any], stream: tuple[Name, ...]) -> ImageSet:
    """The images of a data set that config.yaml defines by `manifold`: grey squares, each with its part's class and dimension.

    Copies of an isolated point are a group, and no test images, which would not be new. Raises UserError for a definition that
    cannot be.
    """
    for mistake in mistakes_in_manifold(definition):
        raise UserError(f"datasets.{name}{mistake}")
    asked = in_manifold(definition)
    parts, side = parts_of(asked), asked["image_size"]
    part, split = _dealt(parts, asked, generator(*stream, "order"))
    points = _points(parts, part, stream)
    is_copy = np.array([each.weight == 0 for each in parts])[part]
    return from_source(
        as_images(points, side**2, generator(*stream, "directions")),
        (1, side, side),
        part,
        split,
        [each.name for each in parts],
        f"{asked['train']} training and {asked['test']} test images from: {_told(asked)}, {side} x {side}",
        group=np.where(is_copy, 0, ALONE) if is_copy.any() else None,
        dimension=np.array([each.dimension for each in parts], dtype=float)[part],
        reading=Reading(split="drawing both from the manifold"),
    )


def parts_of(asked: Mapping[str, Any]) -> list[Part]:
    """The parts of a manifold, all in the same coordinates."""
    match asked["manifold"]:
        case "subspace":
            return [Part("subspace", asked["dimension"], lambda rng, n: in_ball(rng, n, asked["dimension"]))]
        case "sphere":
            return [Part("sphere", asked["dimension"], lambda rng, n: on_sphere(rng, n, asked["dimension"]))]
        case "mixture":
            return [_ball(dimension, place, asked["dimensions"]) for place, dimension in enumerate(asked["dimensions"])]
        case "lollipop":
            disc = Part("disc", 2, lambda rng, n: in_ball(rng, n, 2) + np.array([0, 1]), weight=2)
            stick = Part("stick", 1, lambda rng, n: rng.uniform(-1, 0, (n, 1)) * np.array([0, 1]))
            return [disc, stick, Part("point", 0, lambda rng, n: np.tile([0, -1.5], (n, 1)), weight=0)]
        case "circle_with_point":
            circle = Part("circle", 1, lambda rng, n: on_sphere(rng, n, 1))
            return [circle, Part("point", 0, lambda rng, n: np.tile([0.5, 0], (n, 1)), weight=0)]


def on_sphere(rng: np.random.Generator, n: int, dimension: int) -> np.ndarray:
    """Points on the unit sphere of so many dimensions, evenly: (n, dimension + 1)."""
    points = rng.normal(size=(n, dimension + 1))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def in_ball(rng: np.random.Generator, n: int, dimension: int) -> np.ndarray:
    """Points of the unit ball, evenly: (n, dimension)."""
    return on_sphere(rng, n, dimension - 1) * rng.random((n, 1)) ** (1 / dimension)


def as_images(points: np.ndarray, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """`points` (n, coordinates) along random orthonormal directions of grey levels, (n, pixels) uint8, from black to white."""
    coordinates = points.shape[1]
    # Two at least: along a single one, all pixels would be rounded alike, and leave as many images as there are levels.
    directions = _directions(pixels, max(2, coordinates), rng)[:, :coordinates]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    values = (points - middle) @ directions.T
    return np.round(WHITE / 2 * (1 + values / np.abs(values).max())).astype(np.uint8)


def _directions(pixels: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Random orthonormal directions, (pixels, number), in which all pixels take an equal part, so that none limits the others."""
    directions = rng.normal(size=(pixels, number))
    for _ in range(EVENED):
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        left, _, right = np.linalg.svd(directions, full_matrices=False)
        directions = left @ right  # the nearest that are orthonormal
    return directions


def _ball(dimension: int, place: int, dimensions: list[int]) -> Part:
    """A ball of a mixture, in the leading of the coordinates that all share, and at a corner of a simplex in the others."""
    corner = APART / np.sqrt(2) * np.eye(len(dimensions))[place]

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        rest = np.zeros((n, max(dimensions) - dimension))
        return np.hstack([in_ball(rng, n, dimension), rest, np.tile(corner, (n, 1))])

    return Part(f"{dimension}-d ball", dimension, draw)


def _dealt(parts: list[Part], asked: Mapping[str, Any], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The part of each image, an index, and its split: training images first, both in random order."""
    weight = np.array([part.weight for part in parts])
    copies = asked["copies"] * (weight == 0)
    train = np.repeat(np.arange(len(parts)), apportion(weight, asked["train"] - copies.sum()) + copies)
    test = np.repeat(np.arange(len(parts)), apportion(weight, asked["test"]))
    split = np.repeat(np.array([TRAIN, TEST], np.int8), [len(train), len(test)])
    return np.concatenate([rng.permutation(train), rng.permutation(test)]), split


def _points(parts: list[Part], part: np.ndarray, stream: tuple[Name, ...]) -> np.ndarray:
    """Coordinates of every image's point, (n, coordinates)."""
    drawn = [
        each.draw(generator(*stream, "points", index), int((part == index).sum())) for index, each in enumerate(parts)
    ]
    points = np.empty((len(part), drawn[0].shape[1]))
    for index, of_part in enumerate(drawn):
        points[part == index] = of_part
    return points


def _told(asked: Mapping[str, Any]) -> str:
    """The manifold, and what of its settings it takes: "sphere, dimension 5"."""
    settings = [f"{key} {asked[key]}" for key in ("dimension", "dimensions") if key in asked]
    return ", ".join([asked["manifold"].replace("_", " "), *settings])
