"""Many models of one kind, advanced together: a pack.

Parameters are stacked along a first axis `model`. On a GPU one pack holds all folds of a repeat, and each step is one set of
batched matrix products, launched as one CUDA graph (engram.training.replay). On a CPU a model alone is faster (its weights stay in
the cache), so there packs have one model each.
Every model draws its order of images and its noise from streams of its own name, so that packing changes values only by rounding.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.adam import adam

from engram.training.replay import ReplayedStep

# Adam as published and as torch has it by default.
ADAM = {
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "maximize": False,
    "fused": True,
}
MOMENTS = ("exp_avg", "exp_avg_sq")


class Pack:
    """Stacked models with what Adam remembers of them.

    Adam is called as a function: making an object of its class would import torch's compiler, over a second in every job.
    """

    def __init__(self, models: Sequence[nn.Module], learning_rate: float, device: torch.device):
        self.template = models[0].to(device)
        parameters, buffers = stack_module_state([model.to(device) for model in models])
        self.parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self.buffers = {name: value.detach() for name, value in buffers.items()}
        self.learning_rate = learning_rate
        # What Adam remembers of each tensor; a step count for each model, since some steps leave a model out.
        self.memory = {kind: {n: torch.zeros_like(v.data) for n, v in self.parameters.items()} for kind in MOMENTS}
        self.memory["step"] = {name: torch.zeros(len(models), device=device) for name in self.parameters}
        # Each model's own part of the stacks, sharing their memory.
        self.slices = [[nn.Parameter(part) for part in _parts(self.parameters, i)] for i in range(len(models))]
        self.remembered = [[_parts(stacks, i) for stacks in self.memory.values()] for i in range(len(models))]
        # How all models together take a step on a GPU.
        self._replayed = ReplayedStep(partial(self._step, range(len(models))), self._stacks().values())

    def __len__(self) -> int:
        return len(self.slices)

    def step(self, members: Sequence[int], x: Tensor, noise: Tensor) -> Tensor:
        """One Adam step of the models `members` on batches x (members, batch, ...); their summed -ELBO (members,), detached.

        The next step may overwrite that.
        """
        self.template.train()
        if x.is_cuda and len(members) == len(self):
            return self._replayed(x, noise)
        return self._step(members, x, noise)

    def _step(self, members: Sequence[int], x: Tensor, noise: Tensor) -> Tensor:
        step = self._step_alone if len(members) == 1 else self._step_together
        loss, gradients = step(members, x, noise)
        self._update(members, gradients)
        return loss.detach()

    @torch.no_grad()
    def _update(self, members: Sequence[int], gradients: Sequence[Sequence[Tensor]]) -> None:
        """One step of Adam for the models `members`, all of their tensors in one call."""
        parameters = [value for index in members for value in self.slices[index]]
        averages, squares, steps = (
            [value for index in members for value in self.remembered[index][kind]] for kind in range(len(self.memory))
        )
        flat = [value for model in gradients for value in model]
        adam(parameters, flat, averages, squares, [], steps, lr=self.learning_rate, **ADAM)

    def _step_alone(self, members: Sequence[int], x: Tensor, noise: Tensor) -> tuple[Tensor, list]:
        """Losses and gradients of one model, by plain matrix products."""
        parameters = self.slices[members[0]]
        buffers = {name: value[members[0]] for name, value in self.buffers.items()}
        state = dict(zip(self.parameters, parameters, strict=True)) | buffers
        loss = -functional_call(self.template, state, (x[0], noise[0])).sum()
        return loss[None], [_in_order(torch.autograd.grad(loss, parameters))]

    def _step_together(self, members: Sequence[int], x: Tensor, noise: Tensor) -> tuple[Tensor, list]:
        """Losses and gradients of several models, by batched matrix products."""
        parameters, buffers = self.parameters, self.buffers
        if len(members) < len(self):
            parameters = {name: value.detach()[members].requires_grad_() for name, value in parameters.items()}
            buffers = {name: value[members] for name, value in buffers.items()}
        loss = -vmap(self._elbo)(parameters, buffers, x, noise).sum(1)
        gradients = torch.autograd.grad(loss.sum(), list(parameters.values()))
        if len(members) < len(self):
            for name, value in buffers.items():
                self.buffers[name][members] = value
        return loss, list(zip(*_in_order(gradients), strict=True))

    def _elbo(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, noise: Tensor) -> Tensor:
        return functional_call(self.template, (parameters, buffers), (x, noise))

    @torch.no_grad()
    def evaluate(self, index: int, x: Tensor, noise: Tensor) -> Tensor:
        """ELBO of each image under one model in eval mode, (n,)."""
        self.template.eval()
        return functional_call(self.template, self.state(index), (x, noise))

    def state(self, index: int) -> dict[str, Tensor]:
        """Parameters and buffers of one model, as views."""
        return {name: value.detach()[index] for name, value in (self.parameters | self.buffers).items()}

    def training_state(self) -> dict[str, np.ndarray]:
        """Everything needed to go on: stacked parameters, buffers, Adam's moments and step counts."""
        return {name: value.cpu().numpy() for name, value in self._stacks().items()}

    def load_training_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what `training_state` gave."""
        for name, value in self._stacks().items():
            value.copy_(torch.from_numpy(state[name]))

    def _stacks(self) -> dict[str, Tensor]:
        """All that a step changes, by name, sharing its memory."""
        memory = {f"{kind}.{name}": value for kind, stacks in self.memory.items() for name, value in stacks.items()}
        return {name: value.detach() for name, value in (self.parameters | self.buffers | memory).items()}


def _parts(stacks: dict[str, Tensor], index: int) -> list[Tensor]:
    """One model's part of each stack, as views."""
    return [value.data[index] for value in stacks.values()]


def _in_order(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Fused Adam reads a gradient's memory in order, whatever its strides: a transposed one would train nonsense."""
    return [value.contiguous() for value in gradients]
