"""A CUDA graph for tests without a GPU: it records a computation's operations with the memory they use, and repeats just those.

As with CUDA, recording leaves memory as it was, and a replay runs no Python of what was recorded.
"""

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Graph:
    """Stands in for torch.cuda.CUDAGraph."""

    def __init__(self):
        self.calls = []

    @torch.no_grad()
    def replay(self) -> None:
        for function, arguments, options, results in self.calls:
            again = function(*arguments, **options)
            for old, new in zip(_tensors(results), _tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextmanager
def graph(recording: Graph):
    """Stands in for torch.cuda.graph."""
    mode = _Recording(recording)
    with mode:
        yield
    with torch.no_grad():
        for tensor, before in reversed(mode.overwritten):
            tensor.copy_(before)


def install(monkeypatch) -> list[Graph]:
    """Let torch.cuda make graphs on the CPU; the list holds every graph made."""
    made = []

    def make() -> Graph:
        made.append(Graph())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", make)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    return made


class _Recording(TorchDispatchMode):
    def __init__(self, recording: Graph):
        super().__init__()
        self.calls, self.overwritten = recording.calls, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        options = kwargs or {}
        before = [(tensor, tensor.detach().clone()) for tensor in _tensors((args, options))]
        results = function(*args, **options)
        # By value, because batch norm's schema does not say that it changes its running statistics.
        self.overwritten += [(tensor, value) for tensor, value in before if not torch.equal(tensor, value)]
        self.calls.append((function, args, options, results))
        return results


def _tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
