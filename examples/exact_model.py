"""A model that gives log p(x) itself: an autoregressive network of binary pixels.

p(x) is a product over pixels, each given the ones before it; one masked network gives all factors at once (MADE, Germain et al.
2015). There is no latent variable and no estimate: log p has no error bar of its own. To run it, set in config.yaml, in
an experiment:

    dataset: mnist1k
    model: {name: "examples.exact_model:Autoregressive", hidden: 500}
    estimators: [exact]
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu, softplus


class Autoregressive(nn.Module):
    """Hidden unit h sees the first sees[h] pixels; the logit of pixel i hears the units that see no more than i pixels."""

    observation = "binary"

    def __init__(self, image_shape: tuple[int, int, int], hidden: int = 500):
        super().__init__()
        self.image_shape, pixels = tuple(image_shape), math.prod(image_shape)
        self.into, self.out = nn.Linear(pixels, hidden), nn.Linear(hidden, pixels)
        sees = 1 + torch.arange(hidden) * (pixels - 1) // hidden
        self.register_buffer("into_mask", (torch.arange(pixels) < sees[:, None]).float())
        self.register_buffer("out_mask", (sees <= torch.arange(pixels)[:, None]).float())

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        hidden = relu(linear(x, self.into_mask * self.into.weight, self.into.bias))
        logits = linear(hidden, self.out_mask * self.out.weight, self.out.bias)
        return (x * logits - softplus(logits)).sum(-1)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """The objective is log p itself; `noise` is (n, 0)."""
        return self.log_prob(x)

    @torch.no_grad()
    def sample(self, n: int, observation: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Pixel by pixel; in the mean image a pixel has its probability given those drawn before it."""
        into, out = (self.into_mask * self.into.weight).T, self.out_mask * self.out.weight
        hidden, drawn, probabilities = self.into.bias.expand(n, -1), [], []
        for into_pixel, out_pixel, bias in zip(into, out, self.out.bias, strict=True):
            probabilities.append(torch.sigmoid(relu(hidden) @ out_pixel + bias))
            drawn.append(torch.bernoulli(probabilities[-1], generator=generator))
            hidden = hidden + drawn[-1][:, None] * into_pixel
        return torch.stack(drawn if observation else probabilities, 1).reshape(n, *self.image_shape)
