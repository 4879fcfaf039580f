"""Influence of training images on log p of test images by EK-FAC: g_x' (F + damping)^-1 g_i, of models made of linear layers.

In the basis of a layer's eigenvectors (engram.analyses.ekfac) a gradient is a product of rows and columns, and the influence a sum
over its entries with the inverse eigenvalues (r, c) as weights. Their singular value decomposition makes that a few products of
matrices; without it, there would be one for each test image. Singular values are kept until what is left out is TOLERANCE of the
whole, each entry weighed by the size of gradients there.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from engram.analyses import ekfac
from engram.analyses.ekfac import Curvature
from engram.analyses.gradients import Factors
from engram.analyses.judged_images import JudgedImages
from engram.analyses.objective import differentiated
from engram.analyses.projected_gradients import AT_ONCE

TOLERANCE = 0.03
DRAW = 0  # the draw of x and noise whose gradients are taken: that of x which likelihoods judge


def why_not(model: nn.Module, judged: JudgedImages) -> str | None:
    """Why a model has no influence by EK-FAC here, in words; None if it has."""
    gradients = differentiated(model, judged)
    uses = gradients(*judged.part(slice(1)).given(model, DRAW)).layers()
    if gradients.others or any(factors.rows.shape[1] > 1 for _, factors in uses):
        return "influence by EK-FAC is computed for models of linear layers alone"
    return None


def influence(model: nn.Module, judged: JudgedImages, train: int) -> Tensor:
    """Of the first `train` of the images on log p (or its bound) of the others, (train, others); higher if they raise it."""
    fitted_on, tests = judged.part(slice(train)), judged.part(slice(train, None))
    curvatures = ekfac.fit(lambda: (layers for _, layers in _blocks(model, fitted_on)))
    weights = {name: separable(curvature) for name, curvature in curvatures.items()}
    known: dict[str, list[Factors]] = {name: [] for name in curvatures}
    for _, layers in _blocks(model, tests):
        for name, factors in layers:
            known[name].append(curvatures[name].projected(factors))
    of_tests = {
        name: Factors(*(torch.cat(parts) for parts in zip(*of_layer, strict=True))) for name, of_layer in known.items()
    }
    tau = torch.zeros(train, len(tests))
    for part, layers in _blocks(model, fitted_on):
        for name, factors in layers:
            tau[part] += products(curvatures[name].projected(factors), of_tests[name], *weights[name])
    return tau


def separable(curvature: Curvature) -> tuple[Tensor, Tensor]:
    """a (q, r) and b (q, c) such that the sum over q of a_q b_q' is the inverse of the damped eigenvalues, (r, c)."""
    damped = curvature.eigenvalues + ekfac.DAMPING * curvature.eigenvalues.mean()
    of_rows, of_columns = (damped.mean(axis).sqrt().clamp_min(torch.finfo(damped.dtype).tiny) for axis in (1, 0))
    left, values, right = torch.linalg.svd(of_rows[:, None] * curvature.inverse * of_columns, full_matrices=False)
    left_out = values.square().flip(0).cumsum(0).flip(0).sqrt()
    kept = max(1, int((left_out > TOLERANCE * left_out[0]).sum()))
    return (left[:, :kept] * values[:kept] / of_rows[:, None]).T, right[:kept] / of_columns


def products(train: Factors, test: Factors, of_rows: Tensor, of_columns: Tensor) -> Tensor:
    """(n, x): sum over q of (rows_i a_q rows_x)(columns_i b_q columns_x), of layers that are used once for an image."""

    def between(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
        """(q, n, x) from (n, 1, r), (x, 1, r) and (q, r)."""
        return (weights[:, None] * a[:, 0]) @ b[:, 0].T

    return (between(train.rows, test.rows, of_rows) * between(train.columns, test.columns, of_columns)).sum(0)


def _blocks(model: nn.Module, judged: JudgedImages) -> Iterator[tuple[slice, Iterator[tuple[str, Factors]]]]:
    """Some images at a time, with the factors of every layer."""
    gradients = differentiated(model, judged)
    parts = judged.parts(min(AT_ONCE, gradients.images_at_once))
    return ((here, gradients(*part.given(model, DRAW)).layers()) for here, part in parts)
