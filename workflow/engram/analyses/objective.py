"""The objective of images under one trained model, by draws of x and of noise that are the same whenever they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from engram.models.conditions import conditions
from engram.models.diffusion import PIXELS_AT_ONCE
from engram.models.observations import draw_fixed, log_pixel_volume, precision
from engram.models.protocols import BoundedModel, ExactModel, FittedModel, has, noise_shape, offers
from engram.randomness import image_normals

DRAWS, DRAWS_OF_BOUND = 8, 16  # of x and noise, for each image; the noise of a diffusion's bound is larger


def way_to_log_px(model: object) -> str | None:
    """How -log p is had of a model, in a reader's words; None if it cannot."""
    if offers(model, ExactModel):
        return "exact"
    if offers(model, BoundedModel):
        return "by its bound, from one sample a draw"
    return "by its objective, of a VAE the evidence lower bound" if has(model, "forward") else None


def log_px(model: nn.Module, x: Tensor, noise: Tensor, *label: Tensor) -> Tensor:
    """log p(x) in nats, (n,), from a single sample of the noise (n, *noise_shape) where it is not exact."""
    if offers(model, ExactModel):
        return model.log_prob(x, *label)
    if offers(model, BoundedModel):
        return model.bound(x, noise[:, None], *label).squeeze(1)
    return model(x, noise, *label)


@dataclass(frozen=True)
class Judged:
    """Images of a data set by their `rows` (n,), which every model in eval mode judges on the same draws; `seed` is their root."""

    dataset: xr.Dataset
    rows: np.ndarray
    seed: int

    def draws(self, model: nn.Module) -> int:
        """How many draws of x and noise: one for a model that was fitted to that very draw of x."""
        if offers(model, FittedModel):
            return 1
        return DRAWS_OF_BOUND if offers(model, BoundedModel) else DRAWS

    def blocks(self, model: nn.Module, draw: int, at_most: int | None = None) -> Iterator[tuple[Tensor, ...]]:
        """x, noise and, for a model with classes, label, of some images at a time, in order; at most so many."""
        image_shape = tuple(int(size) for size in self.dataset.attrs["image_shape"])
        # A diffusion model takes no more through its network at once, so that its layers see all of a block.
        size = max(1, min(PIXELS_AT_ONCE // int(np.prod(image_shape[1:])), at_most or len(self.rows)))
        name, labels = str(self.dataset.attrs["dataset"]), self.dataset["label"].values
        for start in range(0, len(self.rows), size):
            rows = self.rows[start : start + size]
            images = torch.from_numpy(self.dataset["images"].values[rows])
            x = draw_fixed(images, rows, model.observation, self.seed, name, draw).reshape(-1, *image_shape)
            noise = image_normals(rows, noise_shape(model), self.seed, "objective", name, draw)
            weights = precision(model)
            yield x.to(weights), noise.to(weights), *conditions(model, labels[rows])

    @torch.no_grad()
    def log_px(self, model: nn.Module) -> np.ndarray:
        """log p of each image in pixel space, mean over draws: (n,), nats."""
        draws = range(self.draws(model))
        return np.mean([torch.cat([*self._log_px(model, draw)]).numpy() for draw in draws], axis=0)

    def _log_px(self, model: nn.Module, draw: int) -> Iterator[Tensor]:
        for inputs in self.blocks(model, draw):
            yield log_px(model, *inputs).double() + log_pixel_volume(inputs[0], model.observation)
