"""Training steps replayed from a CUDA graph do what plain steps do, or are not used. The graph is a stand-in on the CPU."""

import logging

import pytest
import torch

import graph_stand_in
from engram.training.replay import PLAIN_STEPS, ReplayedStep


@pytest.fixture(autouse=True)
def graphs(monkeypatch):
    return graph_stand_in.install(monkeypatch)


def counting(graphs, state):
    """A step that adds x to `state` and counts how often Python ran it."""
    ran = []

    def step(x, noise):
        ran.append(len(graphs))
        state.add_(x.sum() * noise)
        return state.clone()

    return step, ran


def test_a_batch_of_another_shape_takes_the_plain_step(graphs):
    state = torch.zeros(2, dtype=torch.float64)
    step, ran = counting(graphs, state)
    replayed, total = ReplayedStep(step, [state]), torch.zeros(2, dtype=torch.float64)
    for number, length in enumerate([4] * (PLAIN_STEPS + 3) + [3, 4, 3, 4]):
        x, noise = torch.full((length,), float(number + 1)), torch.tensor([1.0, 2.0], dtype=torch.float64)
        total += length * (number + 1) * noise
        assert torch.equal(replayed(x, noise), total)
    # Plain, plain and recorded in the first step to be compared, and plain for the two batches of three.
    assert len(ran) == PLAIN_STEPS + 2 + 2 and len(graphs) == 1


def test_a_step_that_a_graph_cannot_repeat_stays_plain_and_that_is_said(graphs, caplog):
    state, calls = torch.zeros(1, dtype=torch.float64), []

    def step(x, noise):
        calls.append(None)  # Python counts, and a graph would repeat the count of its recording for ever
        state.add_(x.sum() * len(calls))
        return state.clone()

    replayed = ReplayedStep(step, [state])
    with caplog.at_level(logging.WARNING):
        for _ in range(PLAIN_STEPS + 4):
            replayed(torch.ones(1), torch.ones(1))
    assert "without CUDA graphs" in caplog.text and "differs by" in caplog.text
    assert len(calls) == PLAIN_STEPS + 4 + 1  # once more to be recorded


def test_a_graph_that_cannot_be_recorded_is_said_and_costs_no_step(monkeypatch, caplog):
    def fail():
        raise RuntimeError("operation not permitted when stream is capturing\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", fail)
    state = torch.zeros(1)
    replayed = ReplayedStep(lambda x, noise: state.add_(x).clone(), [state])
    with caplog.at_level(logging.WARNING):
        values = [replayed(torch.ones(1), torch.ones(1)).item() for _ in range(PLAIN_STEPS + 3)]
    assert values == list(range(1, PLAIN_STEPS + 4))
    assert caplog.text.count("operation not permitted when stream is capturing") == 1 and "Compile" not in caplog.text
