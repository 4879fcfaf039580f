"""EK-FAC: an approximation of the Fisher information in which the self-influence g'(F + damping)^-1 g is a few matrix products.

For each layer, the gradients of all images are projected onto the eigenvectors of the second moments of the rows and of the
columns that they are products of (engram.analyses.gradients), and the Fisher information is taken to be diagonal there, with the
mean square of each projection as its eigenvalue (George et al. 2018; for influence Grosse et al. 2023). Layers are taken to be
independent of one another. The Fisher information is the empirical one, of the gradients of the objective itself.

Divided by the number of training images, the self-influence is a first-order estimate of how much of the objective an image
would lose if it were left out of the training.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from engram.analyses.gradients import VALUES, Factors

DAMPING = 0.1  # of the mean eigenvalue of a layer, added to all of its eigenvalues; fixed beforehand (Grosse et al. 2023)
Layers = dict[str, Factors]  # of one block of images, by the layer's name


class Curvature(NamedTuple):
    """The Fisher information about one layer's weights: eigenvectors (r, r) and (c, c), in columns, and eigenvalues (r, c)."""

    of_rows: Tensor
    of_columns: Tensor
    eigenvalues: Tensor

    @property
    def damped(self) -> Tensor:
        """Eigenvalues of what is inverted, (r, c)."""
        return self.eigenvalues + DAMPING * self.eigenvalues.mean()

    def self_influence(self, factors: Factors) -> Tensor:
        """g'(F + damping)^-1 g of n images, (n,); 0 where all gradients are 0."""
        weights = _reciprocal(self.damped)
        squares = _squared_projections(factors, self.of_rows, self.of_columns)
        return torch.cat([part(weights) for part in squares])

    def preconditioned(self, gradients: Tensor) -> Tensor:
        """(F + damping)^-1 g for gradients (n, r, c), in the same shape."""
        projected = self.of_rows.T @ gradients @ self.of_columns
        return self.of_rows @ (projected * _reciprocal(self.damped)) @ self.of_columns.T
