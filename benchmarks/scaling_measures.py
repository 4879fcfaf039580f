"""What analyses cost that hold measures of memorization, or judge them: `scaling.py --only measures` runs them.

`engram.analyses.stage.run` reads made-up artifacts, as a job would: smooth blobs of 28 x 28 in ten classes, log p drawn at random,
and models that are built and NOT trained, because no cost depends on what they have learned. Half-splits make few models.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from engram import catalogue
from engram.analyses import measures, stage
from engram.conventions import GIVEN
from engram.designs.membership import Membership, design
from engram.designs.repeats import FULL, repeat_name
from engram.files import artifacts, provenance
from engram.files.artifacts import variable
from engram.models import build
from engram.report import contents
from engram.scores import stage as scores
from engram.training import trained
from engram.training.plan import Losses, Plan

TRAINING, TEST, SIDE, CLASSES = 60_000, 10_000, 28, 10
COPIES = 4  # of each planted image
MODEL = {"name": "bernoulli_mlp_vae", "latent_dim": 16}
TRAINED = {"epochs": 2, "batch_size": 128, "learning_rate": 0.001}


class Size(NamedTuple):
    """Repeats of two models each, and scored epochs."""

    repeats: int = 2
    epochs: int = 1


ANALYSES = {
    "copy_tests": Size(),
    "data_dimension": Size(),
    "influence": Size(repeats=5),
    "model_attacks": Size(),
    "membership_inference": Size(repeats=5),  # LiRA takes two out shadows or more
    "dynamics": Size(epochs=2),
    "neighbors": Size(),
    "predictors": Size(),
}


def measurements(options: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """What is measured, its target, the function and its arguments, one by one: each of the analyses, then their table."""
    n, test = int(TRAINING * options.share), int(TEST * options.share)
    with TemporaryDirectory() as folder:
        for name in options.analyses:
            _apart(_write, folder, ANALYSES[name], n, test)
            size = f"{2 * ANALYSES[name].repeats} models, scored epochs: {ANALYSES[name].epochs}"
            yield f"{name}: {n} + {test} images, {size}", "", _analyse, folder, name
        yield f"the table of {n} images and these analyses' measures", "", _gather, folder, options.analyses
        for name in ("agreement", "canaries"):
            yield f"{name} of this table", "", _judge, folder, name, ANALYSES[options.analyses[0]]


def _apart(function: Callable, *arguments: object) -> None:
    """In a process of its own, so that nothing is in memory afterwards."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(function, arguments)


def _paths(folder: str, size: Size) -> dict[str, Any]:
    """Of everything that analyses read of an experiment of this size."""
    repeats, epochs = [repeat_name(number) for number in range(size.repeats)], range(1, size.epochs + 1)
    here = Path(folder, f"{size.repeats} repeats, {size.epochs} epochs")
    likelihoods = [str(here / f"log-px-{repeat}-{epoch}.h5") for epoch in epochs for repeat in repeats]
    return {
        "dataset": here / "dataset.h5",
        "membership": here / "membership.h5",
        "full_model": here / f"{FULL}.h5",
        "models": [here / f"{repeat}.h5" for repeat in repeats],
        "likelihoods": likelihoods,
        "last_likelihoods": likelihoods[-size.repeats :],
        "scores": [here / "scores.h5"],
        "measures": Path(folder, "measures.h5"),
    }


def _write(folder: str, size: Size, n: int, test: int) -> None:
    paths, split, label = _paths(folder, size), np.repeat([0, 1], [n, test]), np.arange(n + test) % CLASSES
    if paths["dataset"].exists():
        return
    made_by = provenance.attributes("scaling", 1, {"training": TRAINED}, dataset_sha256="0" * 64, wall_seconds=0.0)
    settings = {"design": "half_split", "repeats": size.repeats}
    membership = design(settings, split, np.full(n + test, -1), 1, "scaling")
    described = {"image_shape": [1, SIDE, SIDE], "label_names": list("0123456789"), "dataset": "blobs"}
    artifacts.write(paths["dataset"], "dataset", _dataset(split, label), made_by | described)
    artifacts.write(paths["membership"], "membership", membership.variables(split, label), made_by)
    for repeat, path in enumerate([*paths["models"], paths["full_model"]]):
        _write_models(path, membership.fold[membership.repeat == repeat].tolist() or [-1], size.epochs, made_by)
    for number, path in enumerate(paths["likelihoods"]):
        epoch, repeat = divmod(number, size.repeats)
        _write_log_px(path, membership, repeat, epoch + 1, made_by)
    about = {"dataset": None, "experiment": "scaling", "estimator": GIVEN, "seed": 1, "threads": 1}
    about |= {"statistic": "mean_log", "scored_epochs": list(range(1, size.epochs + 1)), "permutations": 1000}
    h5 = paths["scores"][0]
    scores.run(h5, h5.with_suffix(".csv"), paths["likelihoods"], paths["membership"], **about)


def _dataset(split: np.ndarray, label: np.ndarray) -> dict[str, tuple]:
    """Blobs, of which the first few are said to be planted copies."""
    planted = np.arange(len(label)) < len(label) // 50
    return {
        "images": variable(("sample", "pixel"), _blobs(label), "1", "grey levels"),
        "label": variable(("sample",), label.astype(np.int16), "1", "class"),
        "split": variable(("sample",), split.astype(np.int8), "1", "split"),
        "canary": variable(("sample",), np.where(planted, "copy", "").astype(object), "1", "what was planted"),
        "dose": variable(("sample",), np.where(planted, COPIES, 0), "1", "times"),
        "group": variable(("sample",), np.where(planted, np.arange(len(label)) // COPIES, -1), "1", "versions"),
    }


def _blobs(label: np.ndarray) -> np.ndarray:
    """Images (n, pixels) uint8: each a sum of smooth bumps on a grid, whose heights vary about those of its class."""
    rng, place = np.random.default_rng(0), (np.arange(SIDE) + 0.5) / SIDE
    bump = np.exp(-((place - np.linspace(0.15, 0.85, 7)[:, None]) ** 2) / 0.01)
    bumps = np.kron(bump, bump).astype(np.float32)
    of_class, images = rng.gamma(0.5, 0.6, (CLASSES, len(bumps))), np.empty((len(label), SIDE**2), np.uint8)
    for rows in np.array_split(np.arange(len(label)), 1 + len(label) // 4096):
        height = of_class[label[rows]] * rng.gamma(2, 0.5, (len(rows), len(bumps)))
        images[rows] = np.minimum(255, 255 * (height.astype(np.float32) @ bumps))
    return images


def _write_models(path: Path, folds: list[int], epochs: int, made_by: dict[str, Any]) -> None:
    """The same fresh models at every scored epoch."""
    states = [trained.state_of(build(image_shape=(1, SIDE, SIDE), **MODEL)) for _ in folds]
    weights = {name: np.stack([[state[name].detach().numpy() for state in states]] * epochs) for name in states[0]}
    nobody, losses = [np.array([], int)] * len(folds), np.zeros((TRAINED["epochs"], len(folds)))
    settings = TRAINED | {"scored_epochs": list(range(1, epochs + 1)), "seed": 1, "folds": folds}
    plan = Plan("scaling", path.stem, MODEL, (1, SIDE, SIDE), **settings, trained_on=nobody, held_out=nobody)
    trained.write_models(path, plan, "binary", weights, Losses(losses, losses), made_by)


def _write_log_px(path: str, membership: Membership, repeat: int, epoch: int, made_by: dict[str, Any]) -> None:
    mine, level = membership.repeat == repeat, np.random.default_rng(0).normal(-94, 15, membership.in_training.shape[1])
    is_in = membership.in_training[mine]
    log_px = level + 3 * is_in + np.random.default_rng([repeat, epoch]).normal(0, 2, is_in.shape)
    variables = {"log_px": variable(("model", "draw", "sample"), log_px[:, None].astype(np.float32), "nats", "log p")}
    for axis in ("repeat", "fold"):
        variables[axis] = variable(("model",), getattr(membership, axis)[mine], "1", axis)
    values = provenance.attributes("scaling", 1, {"epoch": epoch}, estimator=GIVEN)
    artifacts.write(path, "likelihood", variables, made_by | values)


def _analyse(folder: str, name: str) -> float:
    return _judge(folder, name, ANALYSES[name])


def _judge(folder: str, name: str, size: Size) -> float:
    """Seconds of processor time of an analysis, from files to its artifact."""
    paths, reads = _paths(folder, size), catalogue.ANALYSES[name].reads
    estimators = [GIVEN] if "scores" in reads else None
    started = time.process_time()
    stage.run(name, {what: paths[what] for what in reads}, estimators, Path(folder, f"{name}.h5"), "scaling", 1)
    return time.process_time() - started


def _gather(folder: str, names: Sequence[str]) -> float:
    """The same of the table of measures."""
    analyses = {name: Path(folder, f"{name}.h5") for name in names}
    declared, paths = contents.measures_declared({"analyses": analyses}), _paths(folder, ANALYSES[names[0]])
    about = {"declared": declared, "left_out": {}, "experiment": "scaling", "seed": 1}
    started, table = time.process_time(), paths["measures"]
    measures.run(table, table.with_suffix(".csv"), paths["scores"][0], analyses, **about)
    return time.process_time() - started
