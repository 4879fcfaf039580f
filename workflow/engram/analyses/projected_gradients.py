"""Gradients of a model's objective for single images, projected at random to a few numbers each.

A layer's gradient for one image is a sum of products g a' (engram.analyses.gradients). Feature j is the sum over layers of
(g . v_j)(a . u_j) / sqrt(features), with u_j and v_j standard normal: a and g are projected apart, and neither a gradient nor a
projection of all weights is ever held. On average over projections the product of two images' features is that of their
gradients (Johnson-Lindenstrauss, with projections of rank one in each layer).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses.gradients import Differentiated, Factors
from engram.errors import UserError
from engram.models import observations
from engram.models.conditions import conditions
from engram.models.protocols import TrainableModel, noise_shape, offers
from engram.randomness import image_normals, torch_generator

FEATURES = 1024
DRAWS = 2  # of x and noise, over which an image's gradient is averaged
AT_ONCE = 128  # images


class Images(NamedTuple):
    """Images of a data set by their `rows` in it, which name their noise: pixels uint8 (n, pixels), and labels (n,)."""

    pixels: Tensor
    rows: np.ndarray
    labels: np.ndarray
    dataset: str
    seed: int

    def given(self, model: nn.Module, draw: int, part: slice) -> tuple[Tensor, ...]:
        """What the objective takes of some: x, the draw of that number that likelihoods judge, too, noise, and conditions."""
        rows, precision = self.rows[part], observations.precision(model)
        x = observations.draw_fixed(self.pixels[part], rows, model.observation, self.seed, self.dataset, draw)
        noise = image_normals(rows, noise_shape(model), self.seed, "gradients", self.dataset, draw)
        x = x.reshape(-1, *model.image_shape).to(precision)
        return x, noise.to(precision), *conditions(model, self.labels[part])

    def first(self, number: int) -> "Images":
        return Images(self.pixels[:number], self.rows[:number], self.labels[:number], self.dataset, self.seed)

    def beyond(self, number: int) -> "Images":
        return Images(self.pixels[number:], self.rows[number:], self.labels[number:], self.dataset, self.seed)

    def parts(self, model: nn.Module) -> Iterator[slice]:
        """Slices of so few images that what torch.func holds of them is bounded."""
        size = min(AT_ONCE, self.differentiated(model).images_at_once)
        return (slice(start, start + size) for start in range(0, len(self.rows), size))

    def differentiated(self, model: nn.Module) -> Differentiated:
        """The model as what gives gradients; raises UserError as that does."""
        return Differentiated.of(model, *self.given(model, 0, slice(None, 3)))


def why_none(model: nn.Module, images: Images) -> str | None:
    """Why no gradient of a model can be had, in words; None if it can."""
    if not offers(model, TrainableModel) or not any(value.requires_grad for value in model.parameters()):
        return "the model is fitted in closed form, without gradients"
    try:
        images.differentiated(model)
    except UserError as error:
        return str(error)
    return None


def features(model: nn.Module, images: Images, draws: int = DRAWS, size: int = FEATURES) -> Tensor:
    """Projected gradients of the objective (log p or its bound), mean over draws of x and noise: (n, size) float32.

    Images seen apart, and by different models of one kind, are projected alike.
    """
    differentiated, projections = images.differentiated(model), Projections(images.seed, size)
    total = torch.zeros(len(images.rows), size)
    for part in images.parts(model):
        for draw in range(draws):
            found = differentiated(*images.given(model, draw, part))
            for name, factors in found.layers():
                total[part] += projections.of_layer(name, factors)
            if found.others.shape[1]:
                total[part] += projections.of_vectors("", found.others)
    return total / draws


class Projections:
    """Random projections to `size` numbers, each layer's named by `seed` and its own name, and kept."""

    def __init__(self, seed: int, size: int):
        self.seed, self.size = seed, size
        self.kept: dict[tuple[str, str], Tensor] = {}

    def of_layer(self, name: str, factors: Factors) -> Tensor:
        """(n, size) of the gradients that factors are, by the shorter of two ways."""
        rows, columns = (part.float() for part in factors)
        r, c = factors.shape
        v, u = self._normals(name, "rows", r), self._normals(name, "columns", c)
        by_place = rows.shape[1] * (r + c) <= r * c
        products = (rows @ v) * (columns @ u) if by_place else (rows.mT @ columns @ u) * v
        return products.sum(1) / self.size**0.5

    def of_vectors(self, name: str, vectors: Tensor) -> Tensor:
        """(n, size) of gradients (n, weights)."""
        return vectors.float() @ self._normals(name, "weights", vectors.shape[1]) / self.size**0.5

    def _normals(self, name: str, side: str, length: int) -> Tensor:
        if (name, side) not in self.kept:
            generator = torch_generator("cpu", self.seed, "gradients", "projection", name, side)
            self.kept[name, side] = torch.randn(length, self.size, generator=generator)
        return self.kept[name, side]
