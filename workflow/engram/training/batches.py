"""What models see in training: x drawn anew from images each time, and the noise of the objective.

Random streams are named by model, epoch and block of steps, so no draw depends on what was drawn before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engram.models import observations
from engram.randomness import generator, torch_generator
from engram.runtime.device import at_once
from engram.training.augmentation import flip_horizontally
from engram.training.plan import Plan

STEPS_PER_BLOCK = 32
IMAGES_FOR_LOSS = 10_000  # at most so many fixed images for each loss


@dataclass(frozen=True)
class Batches:
    """Draws from `images`, uint8 (n, pixels) on the device, for models of one kind.

    observation, noise_shape and precision say what the models take: how x is drawn, the shape of an image's noise, and the type
    of numbers; conditions what they are given of each image beside x (engram.models.conditions).
    """

    plan: Plan
    images: Tensor
    observation: str
    noise_shape: tuple[int, ...]
    precision: torch.dtype
    conditions: tuple[Tensor, ...] = ()

    @property
    def images_per_block(self) -> int:
        return STEPS_PER_BLOCK * self.plan.batch_size

    def order(self, position: int, epoch: int) -> np.ndarray:
        """The order in which an epoch shows the model at `position` its training images."""
        return generator(*self.plan.stream(position, "order", epoch)).permutation(self.plan.shown(position, epoch))

    def of_block(self, position: int, order: np.ndarray, epoch: int, block: int) -> tuple[Tensor, ...]:
        """All that one model sees in a block of steps: x (images, *image_shape), normals (images, *noise_shape), conditions."""
        chosen = order[block * self.images_per_block : (block + 1) * self.images_per_block]
        uniforms, normals, *mirrored = (part[: len(chosen)] for part in self.noise(position, epoch, block))
        return self.observe(chosen, uniforms, *mirrored), normals, *self._conditions_of(chosen)

    def noise(self, position: int, epoch: int, block: int) -> tuple[Tensor, ...]:
        """Uniforms (images, pixels) for drawing x and normals (images, *noise_shape) for the objective, of one block.

        With augmentation also whether to mirror each image, (images,) bool.
        """
        device, most = self.images.device, self.images_per_block
        stream = torch_generator(device, *self.plan.stream(position, "noise", epoch, block))
        uniforms = torch.rand(most, self.images.shape[1], generator=stream, device=device)
        normals = torch.randn(most, *self.noise_shape, generator=stream, device=device).to(self.precision)
        if self.plan.augmentation == "none":
            return uniforms, normals
        return uniforms, normals, torch.rand(most, generator=stream, device=device) < 0.5

    def observe(self, chosen: np.ndarray, uniforms: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """x (len(chosen), *image_shape) of the images `chosen`, those that `mirrored` (len(chosen),) names turned over."""
        images = self.images[torch.from_numpy(chosen).to(self.images.device)]
        if mirrored is not None:
            images = flip_horizontally(images, mirrored, self.plan.image_shape)
        x = observations.draw(images, uniforms, self.observation)
        return x.reshape(-1, *self.plan.image_shape).to(self.precision)

    def _conditions_of(self, chosen: np.ndarray) -> tuple[Tensor, ...]:
        return tuple(values[torch.from_numpy(chosen).to(values.device)] for values in self.conditions)

    def of_loss(self, position: int, images: np.ndarray, name: str) -> Iterator[tuple[Tensor, ...]]:
        """x, noise and conditions of some of `images`, in parts, for a loss called `name`: the same after every epoch.

        Where images enter during training, those of the training loss change when they do.
        """
        chosen = np.sort(generator(*self.plan.stream(position, "loss", name)).permutation(images)[:IMAGES_FOR_LOSS])
        stream = torch_generator(self.images.device, *self.plan.stream(position, "loss", name))
        for part in np.array_split(chosen, -(-len(chosen) // at_once(1000, self.images.device))):
            shape = (len(part), self.images.shape[1])
            x = self.observe(part, torch.rand(shape, generator=stream, device=self.images.device))
            noise = torch.randn(len(part), *self.noise_shape, generator=stream, device=self.images.device)
            yield x, noise.to(self.precision), *self._conditions_of(part)
