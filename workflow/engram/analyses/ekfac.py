"""EK-FAC: an approximation of the Fisher information F in which g'(F + damping)^-1 g is a few matrix products.

Of each layer, the gradients of all images are projected onto the eigenvectors of the second moments of the rows and of the
columns that they are products of (engram.analyses.gradients). F is taken to be diagonal there, its eigenvalues being the mean
squares of the projections (George et al. 2018; for influence, Grosse et al. 2023), and zero between layers. It is the empirical
F, of the gradients of the objective itself, and not that of labels drawn from the model.

The self-influence g'(F + damping)^-1 g over the number of images is a first-order estimate of how much of its objective an image
would lose if it were left out of the training.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from engram.analyses.gradients import Factors

DAMPING = 0.1  # added to the eigenvalues of a layer, in units of their mean (Grosse et al. 2023)
Block = Iterable[tuple[str, Factors]]  # some images' factors of every layer, by name


@dataclass(frozen=True)
class Curvature:
    """F of one layer's weights, a matrix (r, c): eigenvectors (r, r) and (c, c) in columns, and eigenvalues (r, c)."""

    of_rows: Tensor
    of_columns: Tensor
    eigenvalues: Tensor

    @cached_property
    def inverse(self) -> Tensor:
        """Eigenvalues of (F + damping)^-1, (r, c); of a layer without any gradient 0, the pseudo-inverse's."""
        damped = self.eigenvalues + DAMPING * self.eigenvalues.mean()
        return torch.where(damped > 0, 1 / damped, 0)

    def projected(self, factors: Factors) -> Factors:
        """The gradients in the basis of the eigenvectors."""
        return Factors(factors.rows @ self.of_rows, factors.columns @ self.of_columns)

    def self_influence(self, factors: Factors) -> Tensor:
        """g'(F + damping)^-1 g of the layer's gradients g of n images, (n,)."""
        return _weighted_squares(self.projected(factors), self.inverse)

    def preconditioned(self, gradients: Tensor) -> Tensor:
        """(F + damping)^-1 g of gradients (..., r, c), in their shape: its product with another gradient is their influence."""
        projected = self.of_rows.T @ gradients @ self.of_columns
        return self.of_rows @ (projected * self.inverse) @ self.of_columns.T


def fit(blocks: Callable[[], Iterable[Block]]) -> dict[str, Curvature]:
    """F of every layer by name, from factors of all images, which `blocks()` gives block by block, each of two times."""
    moments, images = {}, 0
    for block in blocks():
        for name, factors in block:
            moments[name] = [a + b for a, b in zip(moments.get(name, (0, 0)), _second_moments(factors), strict=True)]
        images += len(factors.rows)
    bases = {name: Curvature(*map(_eigenvectors, of_layer), torch.empty(0)) for name, of_layer in moments.items()}
    squares = dict.fromkeys(bases, 0)
    for block in blocks():
        for name, factors in block:
            squares[name] += _sum_of_squares(bases[name].projected(factors)) / images
    return {name: replace(basis, eigenvalues=squares[name]) for name, basis in bases.items()}


def _second_moments(factors: Factors) -> tuple[Tensor, Tensor]:
    """Sums over images and places of rows rows' and of columns columns': (r, r), (c, c)."""
    rows, columns = (part.flatten(0, 1) for part in factors)
    return rows.T @ rows, columns.T @ columns


def _eigenvectors(moments: Tensor) -> Tensor:
    return torch.linalg.eigh(moments.double())[1].to(moments)


def _sum_of_squares(factors: Factors) -> Tensor:
    """Of all images' gradients, entry by entry: (r, c)."""
    if factors.rows.shape[1] == 1:
        rows, columns = (part[:, 0].square() for part in factors)
        return rows.T @ columns
    return sum(part.matrices().square().sum(0) for part in factors.parts())


def _weighted_squares(factors: Factors, weights: Tensor) -> Tensor:
    """Of each image, the sum over its gradient's entries of weight (r, c) times square: (n,)."""
    if factors.rows.shape[1] == 1:
        rows, columns = (part[:, 0].square() for part in factors)
        return ((rows @ weights) * columns).sum(1)
    return torch.cat([(part.matrices().square() * weights).sum((1, 2)) for part in factors.parts()])
