"""Many models of one kind, advanced together: a pack.

Parameters are stacked along a first axis `model`. On a GPU one pack holds all folds of a repeat, and each step is one set of
batched matrix products. On a CPU a model alone is faster (its weights stay in the cache), so there packs have one model each.
Every model draws its order of images and its noise from streams of its own name, so that packing changes values only by rounding.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


class Pack:
    """Stacked models with their Adam optimizer."""

    def __init__(self, models: Sequence[nn.Module], learning_rate: float, device: torch.device):
        self.template = models[0].to(device)
        parameters, buffers = stack_module_state([model.to(device) for model in models])
        self.parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self.buffers = {name: value.detach() for name, value in buffers.items()}
        # One optimizer parameter per model and tensor, sharing the stack's memory: a model without a gradient
        # is not stepped, and each keeps its own step count.
        self.slices = [
            [nn.Parameter(value.data[index]) for value in self.parameters.values()] for index in range(len(models))
        ]
        self.optimizer = torch.optim.Adam([p for model in self.slices for p in model], lr=learning_rate, fused=True)

    def __len__(self) -> int:
        return len(self.slices)

    def step(self, members: Sequence[int], x: Tensor, noise: Tensor) -> Tensor:
        """One Adam step of the models `members` on batches x (members, batch, ...); their summed -ELBO (members,), detached."""
        self.template.train()
        step = self._step_alone if len(members) == 1 else self._step_together
        loss, gradients = step(members, x, noise)
        for model in self.slices:
            for parameter in model:
                parameter.grad = None
        for index, gradient in zip(members, gradients, strict=True):
            for parameter, value in zip(self.slices[index], gradient, strict=True):
                # Fused Adam reads a gradient's memory in order, whatever its strides: a transposed one would train nonsense.
                parameter.grad = value.contiguous()
        self.optimizer.step()
        return loss.detach()

    def _step_alone(self, members: Sequence[int], x: Tensor, noise: Tensor) -> tuple[Tensor, list]:
        """Losses and gradients of one model, by plain matrix products."""
        parameters = self.slices[members[0]]
        buffers = {name: value[members[0]] for name, value in self.buffers.items()}
        state = dict(zip(self.parameters, parameters, strict=True)) | buffers
        loss = -functional_call(self.template, state, (x[0], noise[0])).sum()
        return loss[None], [torch.autograd.grad(loss, parameters)]

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
        return loss, list(zip(*gradients, strict=True))

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
        state = {name: value.detach().cpu().numpy() for name, value in (self.parameters | self.buffers).items()}
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            for position, name in enumerate(self.parameters):
                values = [self.optimizer.state[model[position]].get(moment) for model in self.slices]
                if values[0] is not None:
                    state[f"{moment}.{name}"] = torch.stack(values).cpu().numpy()
        return state

    def load_training_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what `training_state` gave."""
        with torch.no_grad():
            for name, value in (self.parameters | self.buffers).items():
                value.copy_(torch.from_numpy(state[name]))
        for position, name in enumerate(self.parameters):
            for index, model in enumerate(self.slices):
                self.optimizer.state[model[position]] = {
                    moment: torch.tensor(state[f"{moment}.{name}"][index], device=model[position].device)
                    for moment in ("step", "exp_avg", "exp_avg_sq")
                }
