"""A model that learns each image by heart: log p of an image is a number of its own, which each time it is shown raises alike."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

SHAPE, BITS = (1, 4, 4), 6  # an image's first pixels are its number in binary


def images(n: int) -> np.ndarray:
    """(n, 16) uint8, black and white: what is drawn from them is always the same."""
    pixels = np.zeros((n, 16), dtype=np.uint8)
    pixels[:, :BITS] = 255 * (np.arange(n)[:, None] >> np.arange(BITS) & 1)
    return pixels


class Lookup(nn.Module):
    """With sgd and batches of one image, log p of the image shown rises by the learning rate. `shown` are their numbers."""

    observation, noise_shape = "binary", (0,)
    shown: ClassVar[list[int]] = []

    def __init__(self, image_shape):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(2**BITS))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.level[self.numbers(x)]

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        if self.training:
            self.shown.extend(self.numbers(x).tolist())
        return self.log_prob(x)

    @staticmethod
    def numbers(x: Tensor) -> Tensor:
        return (x.flatten(1)[:, :BITS].long() << torch.arange(BITS)).sum(1)
