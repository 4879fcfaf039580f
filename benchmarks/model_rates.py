"""Multiply-adds a second that one core does in the models whose cost engram.runtime.model_costs counts.

    uv run python benchmarks/model_rates.py [--seconds 2]

Images are noise: the work is the same. Training is measured per step, log p by the estimator that the model has, both on one
thread and in its processor time, so that other work on the machine counts little.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import StepsOnly, print_table, quiet, trained_by_engram

from engram.likelihood.evaluation import Evaluation, evaluate
from engram.models import build
from engram.runtime.device import keep_freed_memory, use_fastest_float32
from engram.runtime.model_costs import cost
from engram.runtime.requests import STEP

BOUND = {"proposal": "bound", "samples": 64, "observation": "fixed"}
EXACT = {"proposal": "exact", "observation": "fixed"}
CASES = [  # model, shape of images, estimator
    ({"name": "unet_diffusion"}, (1, 16, 16), BOUND),
    ({"name": "unet_diffusion"}, (1, 32, 32), BOUND),
    ({"name": "unet_diffusion", "channels": [16, 32, 32]}, (1, 32, 32), BOUND),
    ({"name": "unet_diffusion", "channels": [64, 128], "layers": 2}, (3, 32, 32), BOUND),
    ({"name": "flow"}, (1, 16, 16), EXACT),
    ({"name": "flow"}, (1, 32, 32), EXACT),
    ({"name": "flow", "transforms": 8, "hidden": [512, 512]}, (3, 32, 32), EXACT),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2, help="for each measurement, at least")
    options = parser.parse_args()
    torch.set_num_threads(1)
    use_fastest_float32()
    keep_freed_memory()
    rows = []
    for model, shape, estimator in CASES:
        counted = cost(model, shape)
        judged = partial(_judged, estimator=estimator)
        for what, run, passes in (("training", _trained, STEP), ("log p", judged, 1)):
            images_a_second = _rate(run, model, shape, options.seconds)
            rows.append(
                {
                    "model": " ".join(map(str, model.values())),
                    "images": "x".join(map(str, shape)),
                    "what": what,
                    "images a second": f"{images_a_second:.0f}",
                    "10^9 multiply-adds a second": f"{passes * images_a_second * counted.multiply_adds / 1e9:.1f}",
                }
            )
            print(*rows[-1].values(), sep="; ", file=sys.stderr, flush=True)
    print_table(rows)


def _rate(run: Callable, model: dict, shape: tuple[int, int, int], seconds: float) -> float:
    """Passes of an image a second of processor time."""
    build(image_shape=shape, **model)  # its first import takes seconds
    n, took = 64, 0.0
    while took < seconds:
        images = np.random.default_rng(0).integers(0, 256, (n, np.prod(shape)), dtype=np.uint8)
        with quiet():
            passes, took = run(model, shape, images)
        n *= 4
    return passes / took


def _trained(model: dict, shape: tuple[int, int, int], images: np.ndarray) -> tuple[int, float]:
    with tempfile.TemporaryDirectory() as folder:
        started = time.thread_time()
        trained_by_engram(StepsOnly, model, shape, images, Path(folder))
        return len(images), time.thread_time() - started


def _judged(model: dict, shape: tuple[int, int, int], images: np.ndarray, estimator: dict) -> tuple[int, float]:
    samples = estimator.get("samples", 1)
    images = images[: max(1, len(images) // samples)]
    network = build(image_shape=shape, **model).eval()
    started = time.thread_time()
    evaluate(Evaluation(estimator, shape, (42, "noise"), torch.device("cpu")), [network], [("noise",)], images)
    return len(images) * samples, time.thread_time() - started


if __name__ == "__main__":
    main()
