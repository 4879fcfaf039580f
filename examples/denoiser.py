"""A diffusion model with a network of one's own: a few convolutions that say what the noise in an image is.

The base class brings the bound on log p, the objective and samples; the file adds the network. It sees z = alpha x + sigma epsilon,
where x is the image on [-1, 1] and gamma = -log(alpha^2 / sigma^2), and answers epsilon. Every layer is as large as the image,
because noise that has to pass a narrower one is lost. To run it, set in config.yaml, in an experiment:

    dataset: mnist1k
    model: {name: "examples.denoiser:Denoiser", features: 32}
    training: {epochs: 40, batch_size: 64, learning_rate: 0.001, ema_decay: 0.999}
    estimators: [bound]
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from engram.models.diffusion import DiffusionModel

# Waves of 4 grey levels: where gamma is low, the noise is smaller than a level, and z alone hardly shows it.
FINE = 200.0


class Denoiser(DiffusionModel):
    """Convolutions whose steps widen by `dilations`, so that each pixel hears of a whole digit, for images of any size."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        features: int = 32,
        dilations: tuple[int, ...] = (1, 2, 4, 8),
        gamma_0: float = -13.3,
        gamma_1: float = 5.0,
        steps: int = 100,
    ):
        super().__init__(image_shape, gamma_0, gamma_1, steps)
        channels = image_shape[0]
        self.enter = nn.Conv2d(3 * channels, features, 3, padding=1)
        self.blocks = nn.ModuleList(Block(features, dilation) for dilation in dilations)
        self.leave = nn.Conv2d(features, channels, 3, padding=1)

    def predict_noise(self, z: Tensor, gamma: Tensor) -> Tensor:
        """(n, *image_shape) from z of that shape and gamma (n,)."""
        t = (gamma - self.gamma_0) / (self.gamma_1 - self.gamma_0)
        fine = FINE * z
        hidden = self.enter(torch.cat([z, fine.sin(), fine.cos()], 1))
        for block in self.blocks:
            hidden = hidden + block(hidden, t)
        return self.leave(hidden)


class Block(nn.Module):
    """A convolution whose features are scaled and shifted by what t, from 0 to 1, says."""

    def __init__(self, features: int, dilation: int):
        super().__init__()
        self.convolution = nn.Conv2d(features, features, 3, padding=dilation, dilation=dilation)
        self.of_t = nn.Sequential(nn.Linear(1, features), nn.SiLU(), nn.Linear(features, 2 * features))
        self.out = nn.Conv2d(features, features, 1)

    def forward(self, hidden: Tensor, t: Tensor) -> Tensor:
        scale, shift = self.of_t(t[:, None])[..., None, None].chunk(2, 1)
        return self.out(silu(self.convolution(hidden) * (1 + scale) + shift))
