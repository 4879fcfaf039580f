"""Away from a memorized prompt: its embedding is moved down the gradient of the guidance vector's norm, before sampling begins.

Wen et al. (2024, "Detecting, Explaining, and Mitigating Memorization in Diffusion Models"): at the first step of sampling the norm
is large for a prompt whose image was memorized, and the embedding that makes it small is near. The embedding may be of a text or of
a class.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from engram.geometry.flipd import Predict
from engram.geometry.guidance import guidance_norm
from engram.training.optimizers import ADAM

PredictGiven = Callable[[Tensor, Tensor, Tensor], Tensor]  # epsilon from z, gamma (n,), and embeddings (n, *any)
RATE = 0.05  # of Adam's steps, Wen et al.'s


class Lowered(NamedTuple):
    """Embeddings (n, *any), the norm of the guidance vector that they have (n,), and the steps that each was moved (n,)."""

    embedding: Tensor
    norm: Tensor
    steps: Tensor


def lowered(
    predict: PredictGiven,
    without: Predict,
    z: Tensor,
    gamma: float,
    embedding: Tensor,
    threshold: float,
    most_steps: int = 100,
    rate: float = RATE,
) -> Lowered:
    """Embeddings (n, *any) moved by Adam until the guidance norm at z (n, *image_shape) and gamma is at most the threshold.

    Each goes alone, with the z that its sampling begins from, and stays once it is there; one that is not there after
    `most_steps` has a norm above the threshold. `without` predicts epsilon without a text or class.
    """
    empty = without(z, z.new_full((len(z),), gamma)).detach()
    moving, steps = embedding.detach().clone().requires_grad_(), torch.zeros(len(z), dtype=torch.int64, device=z.device)
    moments, count = [[torch.zeros_like(moving)] for _ in ADAM.memory], torch.zeros((), device=z.device)
    while True:
        with torch.enable_grad():
            norm = guidance_norm(lambda z, gamma: predict(z, gamma, moving), lambda z, gamma: empty, z, gamma)
            above = (norm > threshold) & (steps < most_steps)
            if not above.any():
                return Lowered(moving.detach(), norm.detach(), steps)
            (gradient,) = torch.autograd.grad(norm.sum(), moving)
        before = moving.detach().clone()
        ADAM.step(rate, [moving], [gradient], moments, [count])
        with torch.no_grad():
            moving[~above] = before[~above]
        steps += above


def moved_at_random(embedding: Tensor, distance: Tensor, generator: torch.Generator) -> Tensor:
    """The control of `lowered`: embeddings (n, *any), each moved by its distance (n,) in a direction drawn at random."""
    direction = torch.randn(embedding.shape, generator=generator, device=generator.device).to(embedding).flatten(1)
    step = distance[:, None] * direction / direction.norm(dim=1, keepdim=True)
    return embedding + step.reshape(embedding.shape)
