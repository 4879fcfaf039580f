"""Ways to train the models of a repeat: alone, by turns, in one pack; in threads or in processes.

    uv run python benchmarks/lockstep.py [--folds 10] [--steps 64]

Images are random, of the size of the paper's. `alone` is one model; `by turns` is a pack of one model each, which take turns
every 32 steps (what engram does on a CPU); `in one pack` advances all by batched products (what it does on a GPU). Images per
second, summed over models. On a GPU also both without CUDA graphs, on a CPU one process with all threads against as many
processes with one thread each. Last, how many operations a step takes, each a kernel for a GPU without graphs to launch.
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from common import MLP, StepsOnly, alternate, print_table, quiet, spread, trained_by_engram
from torch.utils._python_dispatch import TorchDispatchMode

import engram.training.replay
import engram.training.training
from engram.likelihood.estimation import estimate
from engram.models import build
from engram.runtime.device import claimed_device, use_fastest_float32
from engram.training.lockstep import Pack
from engram.training.replay import PLAIN_STEPS

CONV = {"name": "gaussian_conv_vae", "latent_dim": 64}
BATCH = 64
TIMEOUT = 600  # seconds after which a process counts as dead


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with claimed_device(torch.get_num_threads()) as device:
        _measure(options, device)


def _measure(options: argparse.Namespace, device: torch.device) -> None:
    print(f"{_name(device)}; median [lowest, highest] of {options.rounds} rounds\n", flush=True)
    models = {
        "MLP VAE": (MLP, (1, 32, 32), options.steps),
        "conv VAE": (CONV, (3, 32, 32), max(1, options.steps // 16)),
    }
    print_table([_packing(name, *model, device, options) for name, model in models.items()])
    if device.type == "cpu" and options.cores > 1:
        print()
        print_table([_threads_or_processes(name, task, options) for name, task in _tasks(models).items()])
    print()
    print_table([_operations(name, model, shape, options.folds) for name, (model, shape, _) in models.items()])


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=10)
    steps = 4096 if torch.cuda.is_available() else 64
    parser.add_argument(
        "--steps", type=int, default=steps, help="steps of each MLP in a round; a sixteenth of it for a conv VAE"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement of threads and processes")
    return parser.parse_args(arguments)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def _random_images(n: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, int(np.prod(shape))), dtype=np.uint8)


def _packing(name: str, model: dict, shape: tuple, steps: int, device: torch.device, options) -> dict[str, object]:
    images = _random_images(steps * BATCH, shape)

    def train(folds: int, per_pack: int, plain_steps: float = PLAIN_STEPS) -> int:
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(engram.training.training, "models_per_pack", lambda *_: per_pack),
            mock.patch.object(engram.training.replay, "PLAIN_STEPS", plain_steps),
        ):
            trained_by_engram(StepsOnly, model, shape, images, Path(folder), folds=folds, device=device)
        return folds * len(images)

    ways = {"alone": (1, 1), "by turns": (options.folds, 1), "in one pack": (options.folds, options.folds)}
    if device.type == "cuda":
        ways |= {f"{way}, no graph": (*ways[way], math.inf) for way in ("alone", "in one pack")}
    rates = alternate({way: partial(train, *packing) for way, packing in ways.items()}, options.rounds)
    row = {"training, images/s": name} | {way: spread(rates[way], 0) for way in ways}
    return row | {f"{way} / alone": spread(rates[way] / rates["alone"]) for way in ways if way != "alone"}


def _tasks(models: dict[str, tuple]) -> dict[str, Callable[[], Callable[[], int]]]:
    """What a process can be asked to do over and over: functions that make the function that does a unit of it."""
    tasks = {f"training, {name}": partial(_training_task, *model) for name, model in models.items()}
    return tasks | {"log p, `corrected`, MLP VAE": _likelihood_task}


def _training_task(model: dict, shape: tuple[int, int, int], steps: int) -> Callable[[], int]:
    images = _random_images(steps * BATCH, shape)

    def step() -> int:
        with tempfile.TemporaryDirectory() as folder:
            trained_by_engram(StepsOnly, model, shape, images, Path(folder))
        return len(images)

    return step


def _likelihood_task() -> Callable[[], int]:
    torch.manual_seed(0)
    model, x = build(image_shape=(1, 32, 32), **MLP), torch.rand(32, 1, 32, 32).round()

    def step() -> int:
        estimate(model, x)
        return len(x)

    return step


def _threads_or_processes(name: str, task: Callable, options) -> dict[str, object]:
    rates = {"threads": [], "processes": []}
    for _ in range(max(1, options.rounds // 2)):
        rates["threads"].append(_together(task, 1, options.cores, options.seconds))
        rates["processes"].append(_together(task, options.cores, 1, options.seconds))
    threads, processes = map(np.array, rates.values())
    return {
        "images/s": name,
        f"1 process x {options.cores} threads": spread(threads, 0),
        f"{options.cores} processes x 1 thread": spread(processes, 0),
        "ratio": spread(processes / threads),
    }


class Operations(TorchDispatchMode):
    """Counts torch's operations, those aside that only look at memory in another way."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def _operations(name: str, model: dict, shape: tuple, folds: int) -> dict[str, object]:
    row = {"operations a step": name}
    for models in (1, 2, folds):
        pack = Pack([build(image_shape=shape, **model) for _ in range(models)], 1e-3, torch.device("meta"))
        x = torch.empty(models, BATCH, *shape, device="meta")
        with Operations() as counted:
            pack.step(range(models), x, torch.empty(models, BATCH, model["latent_dim"], device="meta"))
        row[f"{models} in a pack"] = counted.count
    return row


def _together(task: Callable, processes: int, threads: int, seconds: float) -> float:
    """Units per second of so many processes at once, each with so many threads."""
    context = multiprocessing.get_context("spawn")
    start, rates = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_work, args=(task, threads, seconds, start, rates)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    total = sum(rates.get(timeout=TIMEOUT) for _ in workers)
    for worker in workers:
        worker.join()
    return total


def _work(task: Callable, threads: int, seconds: float, start, rates) -> None:
    torch.set_num_threads(threads)
    use_fastest_float32()
    step = task()
    with quiet():
        step()  # imports and first allocations are not the work's time
        start.wait(TIMEOUT)
        started, units = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            units += step()
    rates.put(units / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
