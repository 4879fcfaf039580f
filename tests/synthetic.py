"""Artifacts of a made-up experiment, of every kind that analyses, figures and the report read; its truth is known.

Images are blurred discs in ten places (their class). Scores are skewed, independent of log p, and highest for `TOP`.
"""

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import xarray as xr

from engram import catalogue
from engram.analyses import measures, stage
from engram.analyses.inputs import Inputs
from engram.files import artifacts, inputs
from engram.files.artifacts import variable
from engram.files.experiment import Experiment
from engram.files.provenance import attributes
from engram.likelihood.quality import Quality
from engram.report import contents
from engram.training import trained

EPOCHS = [20, 40]
TRAINED = 40
TOP = 7  # index of the image with the highest score
SCORES = ["score", "score_log_mean_exp", "score_size_matched", "score_mean_log"]
QUANTILES = [0.5, 0.9, 0.95, 0.99, 0.999]
# Those that every experiment has, whatever its estimators; halves and cohorts have designs of their own.
ANALYSES = [
    name
    for name, analysis in catalogue.ANALYSES.items()
    if analysis.estimators is catalogue.every and not {"halves", "cohorts"} & {*analysis.requires}
]
OF_CLAIMS = ("density_split", "neighbors", "mode_collapse")  # those that the paper's claims are judged by
FIGURES = [name for name, figure in catalogue.FIGURES.items() if set(figure.reads) <= {*catalogue.READABLE, *ANALYSES}]


def experiment(
    folder: Path,
    n=400,
    test=120,
    shape=(1, 8, 8),
    estimators=("published", "corrected"),
    seed=0,
    wide=False,
    classes=True,
    alike="",
    bound=False,
) -> dict:
    """Write the artifacts under `folder` and return their paths.

    `wide` gives scores and log p the ranges of CelebA's; without `classes` images have none; `alike` are all images, or all
    "scores" (and log p). With `bound` log p is a lower bound, of two draws.
    """
    rng, rng_of_log_px = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    label = np.concatenate([np.arange(n) % 10, np.arange(test) % 10])
    shown_class = label if classes else np.full_like(label, -1)
    paths = {"dataset": folder / "dataset.h5", "models": [folder / f"repeat-0{i}.h5" for i in range(2)]}
    paths |= {"name": "synthetic", "full_model": folder / "full.h5", "membership": folder / "membership.h5"}
    paths["scores"] = {name: folder / f"{name}.h5" for name in estimators}
    made_by = attributes("synthetic", seed, {}, dataset_sha256="0" * 64, wall_seconds=12.3, device="cpu")
    _dataset(paths["dataset"], label, shown_class, n, shape, rng, made_by, alike == "images")
    _membership(paths["membership"], shown_class, n, made_by)
    paths["last_likelihoods"], paths["likelihoods"] = {}, []
    level = rng_of_log_px.normal(-90, 15, len(label))
    for name in estimators:
        for epoch in EPOCHS[::-1]:
            files = [folder / f"{name}-repeat-0{repeat}-epoch-{epoch}.h5" for repeat in range(2)]
            paths["likelihoods"] += files
            paths["last_likelihoods"].setdefault(name, files)
            for repeat, path in enumerate(files):
                log_px = _log_px(level, _in_training(len(label), n), rng_of_log_px, alike == "scores")
                _likelihood(path, name, repeat, epoch, log_px, made_by)
    for path, count in (*((path, 5) for path in paths["models"]), (paths["full_model"], 1)):
        _models(path, count, rng, made_by | {"image_shape": list(shape), "observation": "binary"})
    for number, (name, path) in enumerate(paths["scores"].items()):
        offset = 3.0 if number == 0 else 0.0
        by = made_by | {"estimator": name}
        _scores(path, label[:n], shown_class[:n], rng, offset, by, wide, alike == "scores", bound)
    return paths


def _dataset(path, label, shown_class, n, shape, rng, made_by, alike) -> None:
    channels, height, width = shape
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    angle = label * 2 * np.pi / 10 + rng.normal(0, 0.15, len(label))
    centre = 0.45 + 0.3 * np.stack([np.cos(angle), np.sin(angle)])
    distance = (x - centre[0][:, None, None]) ** 2 + (y - centre[1][:, None, None]) ** 2
    size, brightness = (rng.uniform(*limits, len(label))[:, None, None] for limits in ((0.02, 0.05), (0.7, 1)))
    grey = brightness * np.exp(-distance / size)
    tint = 0.4 + 0.6 * rng.random((len(label), channels, 1, 1)) if channels > 1 else 1
    images = (255 * grey[:, None] * tint).clip(0, 255).astype(np.uint8)
    if alike:
        images[:] = images[0]
    variables = {
        "images": variable(("sample", "pixel"), images.reshape(len(label), -1), "1", "grey levels"),
        "label": variable(("sample",), shown_class.astype(np.int16), "1", "class of the image"),
        "split": variable(("sample",), (np.arange(len(label)) >= n).astype(np.int8), "1", "1 test image"),
        "source_index": variable(("sample",), np.arange(len(label), dtype=np.int32), "1", "index in the source"),
        **_canaries(len(label), n),
    }
    described = {"image_shape": list(shape), "label_names": list("0123456789"), "dataset": "discs", "source": "made up"}
    artifacts.write(path, "dataset", variables, made_by | described)


def _canaries(images, n) -> dict:
    """What up to half of the n images to train on are said to be: copies, near copies, outliers and noise, in turn."""
    planted = [("copy", dose) for dose in (8, 4, 2, 1) for _ in range(2)]
    planted += [(kind, dose) for _ in range(5) for kind, dose in (("near copy", 2), ("outlier", 1), ("noise", 1))]
    rows = [(kind, dose, number) for number, (kind, dose) in enumerate(planted) for _ in range(dose)][: n // 2]
    ordinary = [("", 0, -1)] * (images - len(rows))
    kind, dose, group = zip(*rows, *ordinary, strict=True)
    group = np.where(np.array(dose) > 1, group, -1)
    return {
        "canary": variable(("sample",), np.array(kind, dtype=object), "1", "what was planted"),
        "dose": variable(("sample",), np.array(dose, np.int32), "1", "times"),
        "group": variable(("sample",), group, "1", "group"),
    }


def _membership(path, label, n, made_by) -> None:
    matrix = variable(("model", "sample"), np.tile(_in_training(len(label), n), (2, 1)), "1", "seen by the model")
    variables = {
        "in_training": matrix,
        "counted_as_in": matrix,
        "repeat": variable(("model",), np.repeat([0, 1], 5), "1", "repeat"),
        "fold": variable(("model",), np.tile(np.arange(5), 2), "1", "fold"),
        "split": variable(("sample",), (np.arange(len(label)) >= n).astype(np.int8), "1", "split"),
        "label": variable(("sample",), label, "1", "class"),
    }
    artifacts.write(path, "membership", variables, made_by)


def _in_training(images, n) -> np.ndarray:
    """Of the five models of either repeat, all images and n to train on."""
    return (np.arange(images) % 5 != np.arange(5)[:, None]) & (np.arange(images) < n)


def _log_px(level, in_training, rng, alike) -> np.ndarray:
    """Log p about each image's level, 2 nats higher if trained on it, with noise of 1 nat between models; or all alike."""
    return np.full(in_training.shape, -90.0) if alike else level + rng.normal(0, 1, in_training.shape) + 2 * in_training


def _likelihood(path, estimator, repeat, epoch, log_px, made_by) -> None:
    variables = {
        "log_px": variable(("model", "draw", "sample"), log_px[:, None].astype(np.float32), "nats", "log p"),
        "repeat": variable(("model",), np.full(5, repeat), "1", "repeat"),
        "fold": variable(("model",), np.arange(5), "1", "fold"),
    }
    values = {"estimator": estimator, "values": json.dumps({"epoch": epoch})}
    artifacts.write(path, "likelihood", variables, made_by | values)


def _models(path, count, rng, made_by) -> None:
    epoch = np.arange(1, TRAINED + 1)
    train = (90 + 110 * np.exp(-epoch / 6))[:, None] + rng.normal(0, 0.6, (1, count))
    held_out = train + (0.02 * epoch**1.5)[:, None] + rng.normal(0, 0.4, (TRAINED, count))
    variables = {
        "epoch": variable(("epoch",), EPOCHS, "1", "scored epochs"),
        "epoch_trained": variable(("epoch_trained",), epoch, "1", "every epoch"),
        "fold": variable(("model",), np.arange(count) if count > 1 else [-1], "1", "fold"),
        "loss_train": variable(("epoch_trained", "model"), train, "nats", "loss on training images"),
        "loss_held_out": variable(("epoch_trained", "model"), held_out, "nats", "loss on held-out images"),
    }
    artifacts.write(path, "models", variables, made_by)


def _scores(path, label, shown_class, rng, offset, made_by, wide, alike, bound) -> None:
    n = len(label)
    final = offset + rng.standard_normal(n) + rng.gamma(0.6, 3, n) * (1 + 0.3 * label)
    final[min(TOP, n - 1)] = final.max() + 10
    score = np.stack([0.5 * final + rng.normal(0, 0.3, n), final])
    log_p_in = rng.normal(-90, 20, n) + np.zeros((2, 1))
    if wide:
        score = 60 + 25 * score
        score[:, TOP] = 6500
        score[:, TOP + 1] = -450
        log_p_in = 40 * log_p_in - 9600
    if alike:
        score[:], log_p_in[:] = offset, -90
    p_value = np.clip(rng.random(n) * np.exp(-final / 2), 1e-4, 1)
    per_epoch, per_image = ("epoch", "sample"), ("sample",)
    variables = {
        "epoch": variable(("epoch",), EPOCHS, "1", "scored epochs"),
        **{name: variable(per_epoch, score, "nats", "score") for name in SCORES},
        "log_p_in": variable(per_epoch, log_p_in, "nats", "U"),
        "log_p_out": variable(per_epoch, log_p_in - score, "nats", "V"),
        "standard_error": variable(per_epoch, np.full((2, n), 1.2), "nats", "jackknife over repeats"),
        "label": variable(per_image, shown_class.astype(np.int16), "1", "class"),
        "path": variable(per_image, [f"class_{k}/{i:04d}.png" for i, k in enumerate(label)], "1", "file"),
        "class_name": variable(per_image, ["" if k < 0 else str(k) for k in shown_class], "1", "class name"),
        "p_value": variable(per_image, p_value, "1", "permutation p-value"),
        "q_value": variable(per_image, np.clip(p_value * 30, 0, 1), "1", "Benjamini-Hochberg q-value"),
        "repeats": variable(("repeats",), [1, 2], "1", "number of repeats"),
        "standard_error_by_repeats": variable(("repeats",), [4.0, 2.8], "nats", "error by repeats"),
        "quantile": variable(("quantile",), QUANTILES, "1", "levels"),
        "null_quantiles": variable(("quantile",), offset + np.array([0, 2.5, 3.5, 6, 9.0]), "nats", "null"),
        "unseen_quantiles": variable(
            ("quantile",), offset + np.array([0.25, 2, 3.25, 5, np.nan]), "nats", "unseen", True
        ),
    }
    budget = {"split_half_reliability": 0.5, "smallest_detectable_score": 6.0, "p_value_floor": 1e-4}
    # The first estimator's proposals are poor, the others' are good.
    worth = Quality(0.0, 0.4, 0.96, 1.3) if offset else Quality(0.0, 0.0, float("nan"), 7.5)
    if bound:
        variables["standard_error_of_draws"] = variable(
            per_epoch, np.full((2, n), 0.4), "nats", "sd over draws / sqrt(2)"
        )
    artifacts.write(path, "scores", variables, made_by | budget | worth.attributes() | {"log_px_is_bound": int(bound)})


def analysed(folder: Path, analyses=ANALYSES, **settings) -> dict:
    """As `experiment`, with some analyses, by default all, of a full model whose samples are noisy training images."""
    paths = experiment(folder, **settings)
    dataset = artifacts.read(paths["dataset"], "dataset")
    sampler = Sampler(inputs.images(dataset, np.flatnonzero(dataset["split"].values == 0)))
    paths["analyses"] = {name: folder / f"{name}.h5" for name in analyses}
    files = (
        paths
        | paths["analyses"]
        | {
            "scores": [*paths["scores"].values()],
            "last_likelihoods": [path for files in paths["last_likelihoods"].values() for path in files],
        }
    )
    of_repeat = patch.object(trained, "load_models", lambda path, epoch: [sampler] * 5)
    with of_repeat, patch.object(trained, "load_model", lambda path, epoch: sampler):
        for name, path in paths["analyses"].items():
            if "measures" in catalogue.ANALYSES[name].reads and "measures" not in files:
                files["measures"] = paths["measures"] = gathered(folder, paths)
            asked = {what: files[what] for what in catalogue.ANALYSES[name].reads}
            stage.run(name, asked, [*paths["scores"]], path, "synthetic", 1)
    return paths


def gathered(folder: Path, paths: dict) -> Path:
    """The table of measures of the analyses that have been made, judged by the last estimator."""
    described = {"analyses": {name: path for name, path in paths["analyses"].items() if path.exists()}}
    declared = contents.measures_declared(described)
    analyses = {name: described["analyses"][name] for name in declared}
    judge, table = [*paths["scores"].values()][-1], folder / "measures.h5"
    left_out = {"a measure": "the experiment's `analyses` leaves out an analysis"}
    about = {"declared": declared, "left_out": left_out, "experiment": "synthetic", "seed": 1}
    measures.run(table, folder / "measures.csv", judge, analyses, **about)
    return table


def read(folder: Path, **settings) -> Experiment:
    """All artifacts of `analysed`."""
    return Experiment.read(analysed(folder, **settings))


def given(paths: dict, full_model=None) -> Inputs:
    """What an analysis of these artifacts is given, with a full model in place of the file's."""
    dataset = artifacts.read(paths["dataset"], "dataset")
    return Inputs("synthetic", 1, inputs.scores(paths["scores"]), dataset, lambda epoch: full_model)


def answered(answer) -> xr.Dataset:
    """The variables of an analysis and what sums them up, as its artifact would hold them."""
    return xr.Dataset(dict(answer.variables), attrs=dict(answer.summary))


class Sampler:
    """A model whose mean images are training images under noise."""

    def __init__(self, images: np.ndarray, noise: float = 0.1):
        self.images, self.noise = torch.from_numpy(images), noise

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        drawn = self.images[torch.randint(len(self.images), (n,), generator=generator)]
        return (1 - self.noise) * drawn + self.noise * torch.rand(drawn.shape, generator=generator)
