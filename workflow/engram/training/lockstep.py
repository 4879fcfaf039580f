"""Many models of one kind, advanced together: a pack.

Parameters are stacked along a first axis `model`. On a GPU one pack holds all folds of a repeat, and each step is one set of
batched matrix products, launched as one CUDA graph (engram.training.replay). On a CPU a model alone is faster (its weights stay in
the cache), so there packs have one model each.
What a model sees of a batch, its inputs, is x and noise, and the label of each image where models have classes.
Every model draws its order of images and its noise from streams of its own name, so that packing changes values only by rounding.
"""

import copy
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from engram.errors import first_line
from engram.training import optimizers
from engram.training.optimizers import ADAM, Optimizer
from engram.training.replay import ReplayedStep

# A parameter that this batch did not reach, where the way through a model depends on its data, has a gradient of zero.
UNREACHED = {"allow_unused": True, "materialize_grads": True}


class Pack:
    """Stacked models with what their optimizer remembers of them.

    Parameters that need no gradient (frozen ones) are kept with the buffers. Tied ones are one, under the first of their names.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        learning_rate: float,
        device: torch.device,
        optimizer: Optimizer = ADAM,
    ):
        self.optimizer, self.learning_rate, self.kl_weight = optimizer, learning_rate, None
        self.template = models[0].to(device)
        models = [model.to(device) for model in models]
        parameters = _stacked(model.named_parameters() for model in models)
        is_trained = {name: value.requires_grad for name, value in models[0].named_parameters()}
        self.parameters = {name: value.requires_grad_() for name, value in parameters.items() if is_trained[name]}
        self.buffers = {name: value for name, value in parameters.items() if not is_trained[name]}
        self.buffers |= _stacked(model.named_buffers() for model in models)
        # What the optimizer remembers of each tensor; a step count for each model, since some steps leave a model out.
        kinds = [*optimizer.memory, *(["average"] if optimizer.ema_decay else [])]
        self.memory = {kind: {n: torch.zeros_like(v.data) for n, v in self.parameters.items()} for kind in kinds}
        self.memory["step"] = {name: torch.zeros(len(models), device=device) for name in self.parameters}
        # Each model's own part of the stacks, sharing their memory.
        self.slices = [[nn.Parameter(part) for part in _parts(self.parameters, i)] for i in range(len(models))]
        self.remembered = [
            {kind: _parts(stacks, i) for kind, stacks in self.memory.items()} for i in range(len(models))
        ]
        # How all models together take a step on a GPU.
        self._replayed = ReplayedStep(partial(self._step, range(len(models))), self._stacks().values())

    def __len__(self) -> int:
        return len(self.slices)

    def set_rates(self, learning_rate: float, kl_weight: float | None) -> None:
        """Change the learning rate and the weight of the KL divergence of the next steps; None leaves it to the model.

        On a GPU they lie where recorded steps read them.
        """
        self.learning_rate = self._in_place(self.learning_rate, learning_rate)
        self.kl_weight = None if kl_weight is None else self._in_place(self.kl_weight, kl_weight)

    def _in_place(self, place: Tensor | float | None, value: float) -> Tensor | float:
        device = next(iter(self.parameters.values())).device
        if device.type == "cpu" or (isinstance(place, float) and place == value):
            return value
        return place.fill_(value) if isinstance(place, Tensor) else torch.tensor(value, device=device)

    def step(self, members: Sequence[int], *inputs: Tensor) -> Tensor:
        """One step of the models `members` on inputs (members, batch, ...); their summed -ELBO (members,), detached.

        The next step may overwrite that.
        """
        self.template.train()
        if inputs[0].is_cuda and len(members) == len(self):
            return self._replayed(*inputs)
        return self._step(members, *inputs)

    def _step(self, members: Sequence[int], *inputs: Tensor) -> Tensor:
        step = self._step_alone if len(members) == 1 else self._step_together
        loss, gradients = step(members, *inputs)
        if self.optimizer.is_of_mean:
            batch = inputs[0].shape[1]
            gradients = [[value / batch for value in of_model] for of_model in gradients]
        self._update(members, gradients)
        return loss.detach()

    @torch.no_grad()
    def _update(self, members: Sequence[int], gradients: Sequence[Sequence[Tensor]]) -> None:
        """One step of the optimizer for the models `members`, all of their tensors in one call."""
        most, decay = self.optimizer.gradient_clipping, self.optimizer.ema_decay
        if most is not None:
            gradients = [optimizers.clipped(of_model, most) for of_model in gradients]
        *memory, steps = (
            [value for index in members for value in self.remembered[index][kind]]
            for kind in (*self.optimizer.memory, "step")
        )
        parameters = [value for index in members for value in self.slices[index]]
        flat = [value for of_model in gradients for value in of_model]
        self.optimizer.step(self.learning_rate, parameters, flat, memory, steps)
        for index in members if decay else ():
            own = self.remembered[index]
            optimizers.average(own["average"], self.slices[index], own["step"][0], decay)

    def _step_alone(self, members: Sequence[int], *inputs: Tensor) -> tuple[Tensor, list]:
        """Losses and gradients of one model, by plain matrix products."""
        parameters = self.slices[members[0]]
        buffers = {name: value[members[0]] for name, value in self.buffers.items()}
        state = dict(zip(self.parameters, parameters, strict=True)) | buffers
        loss = -self._objective(state, *(values[0] for values in inputs)).sum()
        return loss[None], [_in_order(torch.autograd.grad(loss, parameters, **UNREACHED))]

    def _step_together(self, members: Sequence[int], *inputs: Tensor) -> tuple[Tensor, list]:
        """Losses and gradients of several models, by batched matrix products."""
        parameters, buffers = self.parameters, self.buffers
        if len(members) < len(self):
            parameters = {name: value.detach()[members].requires_grad_() for name, value in parameters.items()}
            buffers = {name: value[members] for name, value in buffers.items()}
        loss = -vmap(self._objective, randomness="different")(parameters | buffers, *inputs).sum(1)
        gradients = torch.autograd.grad(loss.sum(), list(parameters.values()), **UNREACHED)
        if len(members) < len(self):
            for name, value in buffers.items():
                self.buffers[name][members] = value
        return loss, list(zip(*_in_order(gradients), strict=True))

    def _objective(self, state: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        """The objective of each image under the model with these parameters and buffers, (batch,)."""
        weight = {} if self.kl_weight is None else {"kl_weight": self.kl_weight}
        return functional_call(self.template, state, inputs, weight)

    @torch.no_grad()
    def evaluate(self, index: int, *inputs: Tensor) -> Tensor:
        """ELBO of each image under one model in eval mode, (n,)."""
        self.template.eval()
        return functional_call(self.template, self.state(index), inputs)

    def state(self, index: int) -> dict[str, Tensor]:
        """Parameters and buffers of one model, as views; the averages of its weights, where these are kept."""
        parameters = self.memory["average"] if self.optimizer.ema_decay else self.parameters
        return {name: value.detach()[index] for name, value in (parameters | self.buffers).items()}

    def training_state(self) -> dict[str, np.ndarray]:
        """Everything needed to go on: stacked parameters, buffers, Adam's moments and step counts."""
        return {name: value.cpu().numpy() for name, value in self._stacks().items()}

    def load_training_state(self, state: dict[str, np.ndarray]) -> None:
        """Put back what `training_state` gave."""
        for name, value in self._stacks().items():
            value.copy_(torch.from_numpy(state[name]))

    def _stacks(self) -> dict[str, Tensor]:
        """All that a step changes, by kind and name, sharing its memory."""
        kinds = {"parameter": self.parameters, "buffer": self.buffers, **self.memory}
        return {f"{kind}.{name}": value.detach() for kind, stacks in kinds.items() for name, value in stacks.items()}


def why_not_together(models: Sequence[nn.Module], inputs: Sequence[Tensor]) -> str | None:
    """What keeps models from being advanced as one by vmap, tried on copies of two of them; None if nothing does.

    Control flow that depends on values does, for instance. `inputs` are those of one small batch.
    """
    some = copy.deepcopy([*models[:2]])
    pack = Pack(some, 0.0, inputs[0].device)
    pack.template.train()
    both = (torch.stack([part] * len(some)) for part in inputs)
    try:
        pack._step_together(range(len(some)), *both)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        return first_line(error)
    return None


def _stacked(of_models: Iterable[Iterable[tuple[str, Tensor]]]) -> dict[str, Tensor]:
    """Tensors of the same name in several models, along a new first axis."""
    each = [dict(named) for named in of_models]
    return {name: torch.stack([tensors[name].detach() for tensors in each]) for name in each[0]}


def _parts(stacks: dict[str, Tensor], index: int) -> list[Tensor]:
    """One model's part of each stack, as views."""
    return [value.data[index] for value in stacks.values()]


def _in_order(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Fused Adam reads a gradient's memory in order, whatever its strides: a transposed one would train nonsense."""
    return [value.contiguous() for value in gradients]
