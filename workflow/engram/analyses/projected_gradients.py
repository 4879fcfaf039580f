"""Gradients of a model's objective for single images, projected at random to a few numbers each.

A layer's gradient for one image is a sum of products g a' (engram.analyses.gradients). Feature j is the sum over layers of
(g . v_j)(a . u_j) / sqrt(features), with u_j and v_j standard normal: a and g are projected apart, and neither a gradient nor a
projection of all weights is ever held. On average over projections the product of two images' features is that of their
gradients (Johnson-Lindenstrauss, with projections of rank one in each layer).
"""

import torch
from torch import Tensor, nn

from engram.analyses.gradients import Factors
from engram.analyses.judged_images import JudgedImages
from engram.analyses.objective import differentiated
from engram.randomness import torch_generator

FEATURES = 1024
DRAWS = 2  # of x and noise, over which an image's gradient is averaged
AT_ONCE = 128  # images


def features(model: nn.Module, judged: JudgedImages, draws: int = DRAWS, size: int = FEATURES) -> Tensor:
    """Projected gradients of the objective (log p or its bound), mean over draws of x and noise: (n, size) float32.

    Images seen apart, and by different models of one kind, are projected alike.
    """
    gradients, projections = differentiated(model, judged), Projections(judged.seed, size)
    total = torch.zeros(len(judged), size)
    for here, part in judged.parts(min(AT_ONCE, gradients.images_at_once)):
        for draw in range(draws):
            found = gradients(*part.given(model, draw))
            for name, factors in found.layers():
                total[here] += projections.of_layer(name, factors)
            if found.others.shape[1]:
                total[here] += projections.of_vectors("", found.others)
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
