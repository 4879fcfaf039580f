"""The images that attacks judge, as models see them, and named random numbers that are the same for all models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses.inputs import Inputs
from engram.models import observations
from engram.randomness import image_normals

AT_ONCE = 256


@dataclass(frozen=True)
class JudgedImages:
    """uint8 `images` (n, pixels) that are judged, their `rows` in the `dataset` and their classes `label`, (n,)."""

    rows: np.ndarray
    images: np.ndarray
    label: np.ndarray
    shape: tuple[int, int, int]
    dataset: str
    seed: int

    @classmethod
    def of(cls, given: Inputs, rows: np.ndarray) -> "JudgedImages":
        images, label = (given.dataset[name].values[rows] for name in ("images", "label"))
        shape = tuple(int(size) for size in given.dataset.attrs["image_shape"])
        return cls(rows, images, label, shape, given.dataset.attrs["dataset"], given.seed)

    def blocks(self) -> Iterator[tuple[slice, "JudgedImages"]]:
        """Some of them at a time, and where these are."""
        for start in range(0, len(self.rows), AT_ONCE):
            here = slice(start, start + AT_ONCE)
            yield here, replace(self, rows=self.rows[here], images=self.images[here], label=self.label[here])

    def pixels(self) -> Tensor:
        """Values in [0, 1], (n, *shape)."""
        return torch.from_numpy(self.images).reshape(-1, *self.shape).float() / 255

    def x(self, model: nn.Module) -> Tensor:
        """x that the model sees, (n, *shape): the first of the fixed draws, which are the same for all models."""
        images = torch.from_numpy(self.images)
        x = observations.draw_fixed(images, self.rows, model.observation, self.seed, self.dataset, 0)
        return x.reshape(-1, *self.shape).to(observations.precision(model))

    def normals(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Standard normals, (n, *shape), the same for all models."""
        return image_normals(self.rows, tuple(shape), self.seed, "model attacks", purpose, self.dataset)
