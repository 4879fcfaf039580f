"""A diffusion model that has memorized its images perfectly: it expects the noise that would have led from one of them to z."""

import math

import torch
from torch import Tensor

from engram.models.diffusion import DiffusionModel, alpha_and_sigma


class MemorizingDenoiser(DiffusionModel):
    """The posterior mean of the noise, if every image that it was fitted to is as likely as any other; in float64."""

    forward = property()  # as if there were none: it is fitted, not trained

    def __init__(self, image_shape, gamma_0: float = -4.0, gamma_1: float = 5.0, steps: int = 50):
        super().__init__(image_shape, gamma_0, gamma_1, steps)
        # The first `count` rows are points: files pad the models of a repeat to the length of the longest.
        self.register_buffer("points", torch.zeros(1, math.prod(image_shape), dtype=torch.float64))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))

    def fit(self, x: Tensor) -> None:
        self.points, self.count = x.flatten(1).double().clone(), torch.tensor(len(x))

    def predict_noise(self, z: Tensor, gamma: Tensor) -> Tensor:
        points, rows = self.points[: self.count], z.flatten(1)
        alpha, sigma = (part[:, None] for part in alpha_and_sigma(gamma))
        weights = ((alpha * rows @ points.T - alpha**2 * (points**2).sum(1) / 2) / sigma**2).softmax(1)
        return ((rows - alpha * weights @ points) / sigma).reshape(z.shape)
