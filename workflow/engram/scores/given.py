"""The stages of log p that is given: a user's files to dataset.h5, membership.h5 and likelihood/given/all/epoch-{epoch}.h5.

The matrices pass the checks of `engram.score`. They are stored as those of experiments that train are, log p in float32.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from engram import datasets
from engram.conventions import GIVEN, NO_IMAGES
from engram.datasets.array_values import class_labels
from engram.datasets.image_set import from_source
from engram.datasets.paths import readable
from engram.datasets.reading import Reading
from engram.designs.membership import Membership
from engram.errors import UserError
from engram.files import artifacts, matrices, provenance
from engram.files.artifacts import TRAIN, variable
from engram.scores import checks
from engram.scores.checks import Matrices

Files = Mapping[str, str]  # FILE or FILE:NAME of log_px, in_training, repeat, images, labels, as far as they are given


def images(output: str | Path, files: Files, *, experiment: str) -> None:
    """Write given images, uint8 (n, height, width) or (n, height, width, 1 or 3), and their labels as a data set."""
    started = time.monotonic()
    with _naming(experiment, files):
        pixels = np.asarray(matrices.read(files["images"]))
        if (
            pixels.dtype != np.uint8
            or pixels.ndim not in (3, 4)
            or pixels.shape[3:] not in ((), (1,), (3,))
            or 0 in pixels.shape
        ):
            raise UserError(
                f"images: is {pixels.dtype} {pixels.shape}, must be uint8 grey levels, (n, height, width) or (n, height, "
                "width, 3)"
            )
        n = len(pixels)
        codes, names = _labels(files, n)
    channels_first = pixels.reshape(*pixels.shape[:3], -1).transpose(0, 3, 1, 2)
    reading = Reading(split="nothing: every image is scored")
    split, source = np.full(n, TRAIN), readable(files["images"])
    image_set = from_source(channels_first, channels_first.shape[1:], codes, split, names, source, reading=reading)
    datasets.write(output, experiment, dict(files), image_set, wall_seconds=time.monotonic() - started)


def membership(output: str | Path, files: Files, *, experiment: str, dataset: str | Path | None, seed: int) -> None:
    """Write which model was trained on which image. `dataset` holds the images, if there are any.

    Without `repeat` every model's training set counts as drawn independently, which the attribute independent_models says.
    """
    started = time.monotonic()
    given = read(files, experiment)
    n = given.in_training.shape[1]
    repeat = np.zeros(len(given.in_training), dtype=int) if given.repeat is None else given.repeat
    label, sha256, names = _of_images(files, given, experiment, dataset)
    sides = Membership(given.in_training, given.in_training, repeat, _number_within(repeat))
    attributes = provenance.attributes(
        experiment,
        seed,
        {"membership": dict(files)},
        dataset_sha256=sha256,
        log_px_is_given=1,
        independent_models=int(given.repeat is None),
        wall_seconds=time.monotonic() - started,
    )
    artifacts.write(output, "membership", sides.variables(np.full(n, TRAIN), label) | names, attributes)


def likelihood(
    output: str | Path, files: Files, *, experiment: str, membership: str | Path, epoch: int, seed: int
) -> None:
    """Write the log p of all models at one epoch, in float32."""
    started = time.monotonic()
    stored = artifacts.read(membership, "membership")
    log_px = read(files, experiment).log_px.astype(np.float32)
    draws = log_px if log_px.ndim == 3 else log_px[:, None]
    variables = {"log_px": variable(("model", "draw", "sample"), draws, "nats", "log p(x), as given")}
    for name in ("repeat", "fold", "split", "label"):
        variables[name] = (stored[name].dims, stored[name].values, stored[name].attrs)
    attributes = provenance.attributes(
        experiment,
        seed,
        {"log_px": files["log_px"], "epoch": epoch},
        estimator=GIVEN,
        dataset_sha256=stored.attrs["dataset_sha256"],
        wall_seconds=time.monotonic() - started,
    )
    artifacts.write(output, "likelihood", variables, attributes)


def read(files: Files, experiment: str) -> Matrices:
    """The matrices of an experiment's files, checked. Raises UserError, naming the file, the model and the image."""
    with _naming(experiment, files):
        repeat = matrices.read_vector(files["repeat"]) if "repeat" in files else None
        return checks.matrices(matrices.read(files["log_px"]), matrices.read(files["in_training"]), repeat)


@contextmanager
def _naming(experiment: str, files: Files) -> Iterator[None]:
    """Put the experiment, and the file where the message begins with what it holds, before a UserError raised inside."""
    try:
        yield
    except UserError as error:
        holds = str(error).partition(":")[0]
        file = f"{files[holds]}: " if holds in files else ""
        raise UserError(f"experiments.{experiment}: {file}{error}") from error


def _labels(files: Files, n: int) -> tuple[np.ndarray, list[str]]:
    """Class of each image, (n,), -1 = none, and the classes' names: words, or the numbers that the file holds."""
    if "labels" not in files:
        return np.full(n, -1), []
    try:
        values = class_labels(np.asarray(matrices.read_vector(files["labels"])), n)
    except ValueError as error:
        raise UserError(f"labels: {error}") from error
    if isinstance(values, list):
        names, codes = np.unique(values, return_inverse=True)
        return codes, names.tolist()
    return values, [str(number) for number in range(values.max() + 1)]


def _of_images(
    files: Files, given: Matrices, experiment: str, dataset: str | Path | None
) -> tuple[np.ndarray, str, dict[str, tuple]]:
    """Class of each image, checksum of the data set, and, as far as no data set holds them, the images' names and classes."""
    n, names = len(given.images), {}
    if dataset is not None:
        label, sha256 = _of_dataset(dataset, n, experiment)
    else:
        with _naming(experiment, files):
            label, class_names = _labels(files, n)
        sha256 = NO_IMAGES
        names["class_name"] = variable(
            ("sample",), np.array([*class_names, ""], dtype=object)[label], "1", "name of the class; empty = none"
        )
    if dataset is None or not np.array_equal(given.images, np.arange(n)):
        labels = [readable(str(image)) for image in given.images]
        names["path"] = variable(("sample",), np.array(labels, dtype=object), "1", "the image's label in log_px")
    return label, sha256, names


def _of_dataset(dataset: str | Path, n: int, experiment: str) -> tuple[np.ndarray, str]:
    """Class of the first n images of a data set, which are all of them or its training images, and its checksum."""
    data = artifacts.read(dataset, "dataset", ["label", "split"])
    train, total = int((data["split"].values == TRAIN).sum()), data.sizes["sample"]
    if n not in (train, total):
        numbers = f"{total}" if train == total else f"{train} for training, and {total} in all"
        raise UserError(
            f"experiments.{experiment}: log_px has {n} columns, but the images are {numbers}: {data.source}"
        )
    return data["label"].values[:n], str(data.attrs["dataset_sha256"])


def _number_within(repeat: np.ndarray) -> np.ndarray:
    """Number of each model among those of its repeat, (models,), from 0."""
    return np.array([(repeat[:model] == repeat[model]).sum() for model in range(len(repeat))])
