"""A training step as a CUDA graph: launching its hundred-odd kernels from Python takes longer than running them.

A graph repeats exactly what was recorded, in the same memory: a batch's inputs are copied to where it reads them, weights and
Adam's moments change in place. So nothing that a step does may depend on a value or be kept by Python.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from engram.errors import first_line
from engram.runtime.jobs import log

PLAIN_STEPS = 3  # before recording, so that libraries have been loaded and have chosen their kernels
TOLERANCE = 1e-3  # between a replayed update and a plain one, relative to its length; rounding takes 1e-6


class ReplayedStep:
    """`step(x, noise, ...)` -> loss, which changes the tensors `state` in place: plain at first, then replayed.

    Only batches of the shape that it was recorded with are replayed. A recording that cannot be made, or whose first
    replay does not do what the plain step does, is dropped with a warning, and all steps stay plain.
    """

    def __init__(self, step: Callable[..., Tensor], state: Iterable[Tensor]):
        self.step, self.state = step, list(state)
        self.plain_steps, self.usable = 0, True
        self.graph = self.inputs = self.loss = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self.graph is not None and inputs[0].shape == self.inputs[0].shape:
            return self._replay(inputs)
        if self.graph is None and self.usable and self.plain_steps == PLAIN_STEPS:
            return self._record_and_compare(inputs)
        self.plain_steps += self.graph is None
        return self.step(*inputs)

    def _replay(self, inputs: Sequence[Tensor]) -> Tensor:
        for place, values in zip(self.inputs, inputs, strict=True):
            place.copy_(values)
        self.graph.replay()
        return self.loss

    def _record_and_compare(self, inputs: Sequence[Tensor]) -> Tensor:
        """One step, by both ways; what the plain one did is what counts."""
        device = inputs[0].device
        before, generator = self._copy(), _generator_state(device)
        loss, plain, generator_after = self.step(*inputs), self._copy(), _generator_state(device)
        self._put(before)
        _set_generator_state(device, generator)
        try:
            self._record(inputs)
            self._replay(inputs)
            apart = max(_relative_distance(*states) for states in zip(before, plain, self.state, strict=True))
            problem = None if apart < TOLERANCE else f"an update differs by {apart:.1e} of its length"
        except RuntimeError as error:
            problem = first_line(error)
        self._put(plain)
        _set_generator_state(device, generator_after)
        if problem:
            self.graph, self.usable = None, False
            log.warning("training goes on without CUDA graphs, several times slower for small models: %s", problem)
        return loss

    def _record(self, inputs: Sequence[Tensor]) -> None:
        self.inputs, graph = [values.clone() for values in inputs], torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss = self.step(*self.inputs)
        self.graph = graph

    def _copy(self) -> list[Tensor]:
        return [value.clone() for value in self.state]

    def _put(self, values: Iterable[Tensor]) -> None:
        for mine, value in zip(self.state, values, strict=True):
            mine.copy_(value)


def _generator_state(device: torch.device) -> Tensor:
    """State of the generator that dropout and sampling layers draw from, so that both ways of a step draw the same."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_generator_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def _relative_distance(before: Tensor, plain: Tensor, replayed: Tensor) -> float:
    """Length of the difference of two updates, relative to the plain one's; infinite if only the replayed one moved."""
    apart, length = (plain - replayed).double().norm(), (plain - before).double().norm()
    return float(torch.where(apart == 0, 0, apart / length))
