"""Images as models judge them, and named random numbers that are the same for all models and whenever they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from engram.models import observations
from engram.models.conditions import conditions
from engram.models.protocols import noise_shape
from engram.randomness import Name, image_normals


@dataclass(frozen=True)
class JudgedImages:
    """uint8 `images` (n, pixels) that are judged, their `rows` in the `dataset` and their classes `label`, (n,).

    `purpose` names their noise: what two analyses draw for an image has nothing in common.
    """

    rows: np.ndarray
    images: np.ndarray
    label: np.ndarray
    shape: tuple[int, int, int]
    dataset: str
    seed: int
    purpose: str

    @classmethod
    def of(cls, dataset: xr.Dataset, rows: np.ndarray, seed: int, purpose: str) -> "JudgedImages":
        images, label = (dataset[name].values[rows] for name in ("images", "label"))
        shape = tuple(int(size) for size in dataset.attrs["image_shape"])
        return cls(rows, images, label, shape, str(dataset.attrs["dataset"]), seed, purpose)

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, here: slice | np.ndarray) -> "JudgedImages":
        """Some of them, which are judged as among all."""
        return replace(self, rows=self.rows[here], images=self.images[here], label=self.label[here])

    def parts(self, at_once: int) -> Iterator[tuple[slice, "JudgedImages"]]:
        """So many of them at a time, in order, and where these are."""
        for start in range(0, len(self), at_once):
            here = slice(start, start + at_once)
            yield here, self.part(here)

    def pixels(self) -> Tensor:
        """Values in [0, 1], (n, *shape)."""
        return torch.from_numpy(self.images).reshape(-1, *self.shape).float() / 255

    def x(self, model: nn.Module, draw: int = 0) -> Tensor:
        """x that the model sees, (n, *shape): one of the fixed draws, which are those of likelihoods, too."""
        images = torch.from_numpy(self.images)
        x = observations.draw_fixed(images, self.rows, model.observation, self.seed, self.dataset, draw)
        return x.reshape(-1, *self.shape).to(observations.precision(model))

    def normals(self, shape: tuple[int, ...], *names: Name) -> Tensor:
        """Standard normals, (n, *shape), the same for all models."""
        return image_normals(self.rows, shape, self.seed, self.purpose, *names)

    def given(self, model: nn.Module, draw: int) -> tuple[Tensor, ...]:
        """What a model's objective takes: x, noise and, for a model with classes, label."""
        noise = self.normals(noise_shape(model), self.dataset, draw).to(observations.precision(model))
        return self.x(model, draw), noise, *conditions(model, self.label)
