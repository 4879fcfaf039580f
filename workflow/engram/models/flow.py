"""A normalizing flow of logit observations: coupling layers, so that log p and samples both cost one pass.

The layers are zuko's (the extra `flows`: pip install "engram[flows]", or `uv sync --extra flows` in a checkout).
"""

import math

import torch
from torch import Tensor, nn

from engram.errors import UserError
from engram.models.observations import to_pixels


class CouplingFlow(nn.Module):
    """Real-valued x from normal noise by `transforms` affine coupling layers (Dinh et al. 2017), each an MLP of widths `hidden`.

    Each layer moves and scales every second number by a function of the others, in turn; the first thing is to center and scale
    every pixel on its own. The objective of training is log p itself.
    """

    observation = "logit"

    def __init__(self, image_shape: tuple[int, int, int], transforms: int = 4, hidden: tuple[int, ...] = (256, 256)):
        super().__init__()
        self.image_shape = tuple(image_shape)
        pixels = math.prod(image_shape)
        if pixels < 2:
            raise UserError(f"images of {pixels} pixel are too small: a coupling layer needs two numbers or more")
        self.center, self.log_scale = nn.Parameter(torch.zeros(pixels)), nn.Parameter(torch.zeros(pixels))
        self.flow = _flows().NICE(pixels, transforms=transforms, hidden_features=tuple(hidden))

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (n,)."""
        scaled = (x.flatten(1) - self.center) * torch.exp(-self.log_scale)
        return self.flow().log_prob(scaled) - self.log_scale.sum()

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return self.log_prob(x)

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Draws of x, or with observation=False these in [0, 1]: (n, *image_shape)."""
        noise = torch.randn(
            n, len(self.center), generator=generator, dtype=self.center.dtype, device=self.center.device
        )
        x = self.center + self.log_scale.exp() * self.flow().transform.inv(noise)
        x = x.reshape(n, *self.image_shape)
        return x if observation else to_pixels(x, self.observation)


def _flows():
    try:
        from zuko import flows  # here, because only this model needs it
    except ImportError as error:
        raise UserError(
            "the model `flow` needs zuko, which is not installed: run `uv sync --extra flows`, or pip install 'engram[flows]'"
        ) from error
    return flows
