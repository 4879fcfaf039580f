"""Models that are fitted in closed form: no steps, no epochs, nothing to resume.

They are fitted to the very draws of x that likelihoods with `observation: fixed` judge first, so that an image's log p under a
model that was fitted to it is that of a formula.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from engram.errors import about
from engram.models import observations
from engram.models.building import build
from engram.models.protocols import ExactModel, noise_shape, offers
from engram.randomness import image_normals
from engram.training.plan import Losses, Plan
from engram.training.trained import state_of


def fit(plan: Plan, images: Tensor, dataset: str) -> tuple[list[nn.Module], Losses]:
    """The models of a plan, fitted to uint8 `images` (n, pixels) of a data set, and -log p of what they saw and did not see.

    Where a model gives a bound on log p alone, its losses are of one sample of that for each image.

    `dataset` names the draws of x, as in the likelihoods.
    """
    with about(f"experiments.{plan.experiment}.model"):
        models = [build(image_shape=plan.image_shape, **plan.model) for _ in plan.folds]
    x = observations.draw_fixed(
        images.cpu(), np.arange(len(images)), models[0].observation, plan.seed, dataset, 0
    ).reshape(-1, *plan.image_shape)
    x = x.to(images.device, observations.precision(models[0]))
    for model, rows in zip(models, plan.trained_on, strict=True):
        model.to(images.device).eval().fit(x[rows])
    losses = [
        np.array([[_loss(model, x[rows], rows, plan.seed) for model, rows in zip(models, of_models, strict=True)]])
        for of_models in (plan.trained_on, plan.held_out)
    ]
    return models, Losses(*losses)


def stacked(models: Sequence[nn.Module]) -> dict[str, np.ndarray]:
    """Every buffer by name, (1, model, ...); those with a row for each image are filled with zeros to the longest."""
    each = [{name: value.detach().cpu().numpy() for name, value in state_of(model).items()} for model in models]
    return {name: np.stack(_padded([values[name] for values in each]))[None] for name in each[0]}


def _padded(values: list[np.ndarray]) -> list[np.ndarray]:
    if len({value.shape for value in values}) == 1:
        return values
    rows = max(map(len, values))
    return [np.pad(value, [(0, rows - len(value)), *[(0, 0)] * (value.ndim - 1)]) for value in values]


@torch.no_grad()
def _loss(model: nn.Module, x: Tensor, rows: np.ndarray, seed: int) -> float:
    """Mean -log p of an image in nats, in pixel space; NaN of none. `rows` of the data set name the noise of a bound."""
    if not len(x):
        return float("nan")
    if offers(model, ExactModel):
        log_px = model.log_prob(x)
    else:
        noise = image_normals(rows, (1, *noise_shape(model)), seed, "fitted", "loss").to(x)
        log_px = model.bound(x, noise).squeeze(1)
    log_px = log_px + observations.log_pixel_volume(x, model.observation)
    return -float(log_px.double().mean())
