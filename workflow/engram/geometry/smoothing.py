"""The density of a model under further normal noise, p * N(0, delta^2 I), without training it again.

A model whose x has normal noise of variance s^2 only needs that of s^2 + delta^2 in its place. The closed forms have such noise,
and so do VAEs with Gaussian pixels (engram.geometry.smoothed_vae). Bernoulli pixels and mixtures of logistics have none, and a
flow's blur has no closed form.

The slope of log p on log delta would count the model's own noise as dimensions: 37.5 in place of 4 for a probabilistic PCA of 64
pixels, 4 axes and noise of the same size as delta. So widths are sqrt(s^2 + delta^2), and points lie on the model's manifold.
"""

import copy
import math

import torch
from torch import Tensor

from engram.models.gaussian import Gaussian
from engram.models.kernel_density import KernelDensity
from engram.models.ppca import PPCA

ClosedForm = Gaussian | PPCA | KernelDensity


def smoothed(model: ClosedForm, delta: float) -> ClosedForm:
    """The model of p * N(0, delta^2 I)."""
    if isinstance(model, KernelDensity):  # a shallow copy: its images may be many
        found = copy.copy(model)
        found.bandwidth = math.hypot(model.bandwidth, delta)
        return found
    found = copy.deepcopy(model)
    found.variances += delta**2
    if isinstance(found, PPCA):
        found.noise_variance += delta**2
    return found


def own_noise(model: ClosedForm) -> float:
    """s, the width of the noise about the model's manifold; of a Gaussian that to which smaller ones are raised."""
    if isinstance(model, KernelDensity):
        return model.bandwidth
    return math.sqrt(model.noise_variance if isinstance(model, PPCA) else model.least_variance)


def on_manifold(model: ClosedForm, x: Tensor) -> Tensor:
    """x (n, *image_shape) without its noise: brought to the principal axes that vary more than noise does.

    A kernel density's manifold are its training images, where x is one of them already.
    """
    if isinstance(model, KernelDensity):
        return x
    rows = x.flatten(1).double() - model.center
    if isinstance(model, PPCA):
        rows = rows @ model.axes.T @ model.axes
    else:
        axes = getattr(model, "axes", torch.eye(rows.shape[1], dtype=rows.dtype))
        axes = axes[model.variances > model.least_variance]
        rows = rows @ axes.T @ axes
    return (model.center + rows).reshape(x.shape)
