"""How long would the paper's experiments take on this machine? Extrapolated from one epoch and some likelihoods of a repeat.

    uv run python benchmarks/whole_experiment.py [--experiments mnist_lr1e-3 cifar10 celeba] [--images N] [--judged N]

The models of one repeat are trained in lockstep for two epochs of --images, of which the second counts, and both estimators
judge --judged images under them: random ones, of the right size, which cost as much as others. On a CPU one thread is
measured, and as many jobs as there are cores run at once. --overhead is added for each job; on a GPU two take turns.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from ceilings import per_second
from cluster_simulation import CONFIG, IMAGES, PAPER
from common import print_table, quiet, trained_by_engram
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from engram.config import estimator
from engram.likelihood.estimation import estimate
from engram.likelihood.evaluation import Evaluation, evaluate
from engram.models import build
from engram.runtime.device import claimed_device
from engram.training.batches import IMAGES_FOR_LOSS
from engram.training.training import Training

SHAPES = {"mnist": (1, 32, 32), "cifar10": (3, 32, 32), "celeba": (3, 32, 32)}
SIDE = 4096  # of the square matrices whose product is the ceiling


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    config = yaml.safe_load(CONFIG.read_text())
    with claimed_device(threads=1) as device:
        jobs = 1 if device.type == "cuda" else os.cpu_count()
        ceiling = _ceiling(device, options.side)
        print(f"{_name(device)}; float32 products of {options.side} x {options.side}: {ceiling / 1e12:.2f} TFLOP/s\n")
        rows = [row for name in options.experiments for row in _rows(name, config, device, options, ceiling, jobs)]
    print_table(rows)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", nargs="+", choices=PAPER, default=["mnist_lr1e-3", "cifar10", "celeba"])
    images, judged = (54_000, 8192) if torch.cuda.is_available() else (1280, 128)
    parser.add_argument("--images", type=int, default=images, help="in each model's training")
    parser.add_argument("--judged", type=int, default=judged, help="images whose log p each model estimates")
    parser.add_argument("--overhead", type=float, default=8.0, help="seconds of a job in which it computes nothing")
    parser.add_argument("--side", type=int, default=SIDE, help="of the matrices whose product is the ceiling")
    return parser.parse_args(arguments)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {os.cpu_count()} jobs of one thread each"


def _ceiling(device: torch.device, side: int) -> float:
    """FLOP/s of a large float32 product."""
    a = torch.randn(side, side, device=device)
    out = torch.empty_like(a)
    return 2 * side**3 * per_second(lambda: torch.mm(a, a, out=out), 2.0)


class Timed(Training):
    """Remembers when the steps and the losses of each epoch were done, and gives its models out."""

    def _finish_epoch(self, folder, stop) -> None:
        self.moments = [*getattr(self, "moments", []), time.perf_counter()]
        super()._finish_epoch(folder, stop)
        self.moments.append(time.perf_counter())

    def model(self, index: int) -> torch.nn.Module:
        pack, place = self.place[index]
        network = build(image_shape=self.plan.image_shape, **self.plan.model).to(self.images.device)
        network.load_state_dict(pack.state(place))
        return network.eval()


def _rows(name: str, config: dict, device, options, ceiling: float, jobs: int) -> Iterator[dict[str, object]]:
    """Stages of one experiment, then its sum."""
    experiment = config["experiments"][name]
    training, everything = IMAGES[experiment["dataset"]]
    shape, epochs = SHAPES[experiment["dataset"]], experiment["training"]["epochs"]
    folds, repeats = experiment["membership"]["folds"], experiment["membership"]["repeats"]
    models = folds * repeats + 1
    run, seconds = _train(experiment["model"], shape, folds, options.images, device)
    elbo, step = _flop_of_training(experiment["model"], shape)
    evaluated = min(IMAGES_FOR_LOSS, training) + min(IMAGES_FOR_LOSS, training // folds)
    work = {
        "training steps": (*seconds["steps"], step, epochs * training * (models - repeats)),
        "training losses": (*seconds["losses"], elbo, evaluated * models * epochs),
    }
    networks = [run.model(index) for index in range(folds)]
    for key in experiment["estimators"]:
        settings = estimator(config, name, key)
        judged = _evaluate(networks, shape, settings, options.judged, device)
        units = everything * models * len(experiment["scored_epochs"])
        work[f"log p, `{key}`"] = (*judged, _flop_of_estimate(experiment["model"], shape, settings), units)
    hours = 0.0
    for stage, (count, taken, flop, units) in work.items():
        rate = count / taken
        hours += units / rate / 3600 / jobs
        yield _row(name, stage, f"{rate:.0f}", flop, rate * flop / ceiling, units / rate / 3600 / jobs)
    number = (repeats + 1) * (1 + len(experiment["scored_epochs"]) * len(experiment["estimators"]))
    between = number * options.overhead / 3600 / jobs / (2 if device.type == "cuda" else 1)
    yield _row(name, f"between computations, {number} jobs", "", None, None, between)
    yield _row(name, "all", "", None, None, hours + between)


def _row(name: str, stage: str, rate: str, flop: float | None, share: float | None, hours: float) -> dict[str, object]:
    return {
        "experiment": name,
        "stage": stage,
        "images/s": rate,
        "MFLOP an image": "" if flop is None else f"{flop / 1e6:.1f}",
        "of the ceiling": "" if share is None else f"{100 * share:.0f} %",
        "hours": f"{hours:.2f}",
    }


def _train(model: dict, shape: tuple, folds: int, images: int, device) -> tuple[Timed, dict[str, tuple]]:
    """The models after two epochs, and (images seen by all models, seconds) of the second's steps and losses."""
    data = _random_images(images, shape)
    with tempfile.TemporaryDirectory() as folder, quiet():
        run = trained_by_engram(
            Timed,
            model,
            shape,
            data,
            Path(folder),
            epochs=2,
            held_out=data[: images // folds],
            folds=folds,
            device=device,
        )
    _, start, steps, losses = run.moments
    evaluated = min(images, IMAGES_FOR_LOSS) + min(images // folds, IMAGES_FOR_LOSS)
    return run, {"steps": (folds * images, steps - start), "losses": (folds * evaluated, losses - steps)}


def _evaluate(models: list, shape: tuple, settings: dict, images: int, device) -> tuple[int, float]:
    """Images times models, and seconds; the first few images are judged beforehand, for libraries to be loaded."""
    data = _random_images(images, shape)
    names = [("benchmark", "repeat-00", index, 1) for index in range(len(models))]
    evaluation = Evaluation(settings, shape, (42, "benchmark"), device)
    for part in (data[:8], data):
        started = time.perf_counter()
        with quiet():
            evaluate(evaluation, models, names, part)
    return len(data) * len(models), time.perf_counter() - started


def _random_images(n: int, shape: tuple) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, int(np.prod(shape))), dtype=np.uint8)


class Flop(TorchDispatchMode):
    """Counts the operations of matrix products and convolutions by torch's own formulas (its FlopCounterMode hooks into
    modules, and fails in torch.autograd.grad).
    """

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        if function._overloadpacket in flop_registry:
            self.total += flop_registry[function._overloadpacket](*args, **(kwargs or {}), out_val=results)
        return results


def _flop_of_training(model: dict, shape: tuple, images: int = 8) -> tuple[float, float]:
    """Of one image's ELBO, and of it with its gradient."""
    network = build(image_shape=shape, **model)
    with Flop() as counter:
        elbo = network(torch.zeros(images, *shape), torch.zeros(images, network.latent_dim)).sum()
        forward = counter.total
        elbo.backward()
    return forward / images, counter.total / images


def _flop_of_estimate(model: dict, shape: tuple, settings: dict, images: int = 2) -> float:
    network = build(image_shape=shape, **model).eval()
    known = {key: settings[key] for key in ("proposal", "samples", "newton_steps", "proposal_scale") if key in settings}
    with Flop() as counter:
        estimate(network, torch.zeros(images, *shape), **known)
    return counter.total / images


if __name__ == "__main__":
    main()
