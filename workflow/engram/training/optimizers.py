"""Steps of Adam, AdamW and SGD for many models at once, and what else config.yaml may ask of a step.

The optimizers are called as functions: making an object of torch's classes would import its compiler, over a second in every job.
What they remember is one tensor for each parameter and model, named in `MEMORY`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

# Adam as published and as torch has it by default.
OF_ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "maximize": False, "fused": True}
OF_SGD = {"dampening": 0.0, "nesterov": False, "maximize": False, "fused": True}
MOMENTS = ("exp_avg", "exp_avg_sq")
MEMORY = {"adam": MOMENTS, "adamw": MOMENTS, "sgd": ("momentum_buffer",)}


@dataclass(frozen=True)
class Optimizer:
    """What becomes of the gradients of -ELBO: the settings of `training` in config.yaml, under their names there.

    weight_decay is added to Adam's and SGD's gradients and taken off AdamW's weights. gradient_clipping bounds the norm of all
    of a model's gradient. ema_decay is that of an exponential moving average of the weights, None for none.
    """

    name: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0
    gradient_clipping: float | None = None
    ema_decay: float | None = None

    @property
    def memory(self) -> tuple[str, ...]:
        """Names of what is remembered of every parameter."""
        return MEMORY[self.name]

    @property
    def is_of_mean(self) -> bool:
        """Whether gradients are of the batch's mean and not its sum. Where their scale does not matter they are of the sum."""
        return self.name == "sgd" or self.weight_decay > 0 or self.gradient_clipping is not None

    @torch.no_grad()
    def step(
        self,
        learning_rate: float | Tensor,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        memory: Sequence[Sequence[Tensor]],
        steps: Sequence[Tensor],
    ) -> None:
        """Change parameters, memory (for each of `self.memory` one tensor a parameter) and step counts in place."""
        common = {"lr": learning_rate, "weight_decay": self.weight_decay}
        if self.name == "sgd":
            sgd(parameters, gradients, *memory, momentum=self.momentum, **common, **OF_SGD)
            torch._foreach_add_(steps, 1)
        else:
            decoupled = self.name == "adamw"
            adam(parameters, gradients, *memory, [], steps, decoupled_weight_decay=decoupled, **common, **OF_ADAM)


ADAM = Optimizer()


def clipped(gradients: Sequence[Tensor], most: float) -> list[Tensor]:
    """Gradients of one model, scaled down together so that the norm of all of them does not exceed `most`."""
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    scale = (most / (norm + 1e-6)).clamp(max=1)
    return [gradient * scale for gradient in gradients]


@torch.no_grad()
def average(averages: Sequence[Tensor], parameters: Sequence[Tensor], steps: Tensor, decay: float) -> None:
    """Move the averages of one model's weights, in place; after its first step they are the weights themselves."""
    for mean, value in zip(averages, parameters, strict=True):
        mean.lerp_(value, torch.where(steps <= 1, 1, 1 - decay).to(value.dtype))
