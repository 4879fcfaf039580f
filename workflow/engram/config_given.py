"""Experiments without a training: those whose log p is given in files, and those whose models are fitted in closed form.

What they are read as, and the mistakes in given log p.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from engram import catalogue
from engram.config_audited import is_audited
from engram.conventions import GIVEN
from engram.errors import suggest
from engram.models.known import KNOWN

Experiment = Mapping[str, Any]

DEFAULTS = {"statistic": "mean_log", "permutations": 10_000}
ONLY_OF_TRAINED = ("model", "training", "scored_epochs", "estimators", "overrides")
NO_EPOCH = 0  # of a single file, whose epoch nobody stated
LEAST_PAIRS_OF_HALVES = 5  # repeats of a half_split experiment, below which a correlation over halves says nothing
OF_A_FIT = [1]  # the scored epochs of models that are fitted once


def is_given(experiment: Experiment) -> bool:
    """Whether an experiment of config.yaml gives log p, and trains nothing."""
    return "log_px" in experiment


def is_fitted(experiment: Experiment) -> bool:
    """Whether an experiment's models are fitted in closed form: it states no training."""
    return not ("training" in experiment or is_given(experiment) or is_audited(experiment))


def estimators_of(experiment: Experiment) -> list[str]:
    """Names of the estimators that score an experiment, of any kind; none where a checkpoint is audited."""
    if is_audited(experiment):
        return []
    return [GIVEN] if is_given(experiment) else experiment["estimators"]


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """What the scores of given log p are computed by, as an estimator of config.yaml states it."""
    return {key: experiment.get(key, default) for key, default in DEFAULTS.items()}


def scored_epochs(experiment: Experiment) -> list[int]:
    """Epochs that are scored, of any kind of experiment, rising.

    >>> scored_epochs({"log_px": {10: "late.npy", 5: "early.npy"}})
    [5, 10]
    """
    if is_given(experiment):
        return sorted(_files_by_epoch(experiment))
    return OF_A_FIT if is_fitted(experiment) else experiment["scored_epochs"]


def files_of(experiment: Experiment, epoch: int) -> dict[str, str]:
    """The matrices of given log p at an epoch, as written in config.yaml: log_px, in_training, and repeat if it is given."""
    return {"log_px": _files_by_epoch(experiment)[epoch], **experiment["membership"]}


def pictures_of(experiment: Experiment) -> dict[str, str]:
    """The files of images and labels, as far as they are given."""
    return {key: experiment[key] for key in ("images", "labels") if key in experiment}


def has(experiment: Experiment, defined: Mapping[str, Any]) -> set[str]:
    """What an experiment of any kind has of what engram.catalogue reads and requires; `defined` are the config's own data sets.

    How many repeats there are of log p that is given stands in its files, which are not opened here.
    """
    definition = defined.get(experiment.get("dataset"), {})
    of_images = {what for key, what in catalogue.OF_DEFINITIONS.items() if key in definition}
    if not is_given(experiment):
        membership = experiment["membership"]
        design, repeats = membership["design"], membership["repeats"]
        lacking = {
            "epochs": is_fitted(experiment),
            "several_epochs": len(experiment.get("scored_epochs", ())) < 2,
            "shadows": repeats < 2,
            "halves": design != "half_split" or repeats < LEAST_PAIRS_OF_HALVES,
            "cohorts": design != "staggered",
            "denoiser": _predicts_no_noise(experiment["model"]["name"]),
        }
        return {*catalogue.EVERYTHING, *of_images} - {what for what, is_lacking in lacking.items() if is_lacking}
    optional = {
        "dataset": "images" in experiment or "dataset" in experiment,
        "epochs": not isinstance(experiment["log_px"], str),
        "several_epochs": len(scored_epochs(experiment)) > 1,
        "repeats": "repeat" in experiment["membership"],
    }
    there = {"membership", "likelihoods", "last_likelihoods", "scores", "shadows", *of_images}
    return there | {what for what, is_there in optional.items() if is_there}


def _predicts_no_noise(model: str) -> bool:
    """Whether a model is one of engram's, and no diffusion model: of engram's, only these have a bound. A user's own may be one."""
    return model in KNOWN and "bound" not in KNOWN[model].proposals


def mixed(name: str, experiment: Any) -> Iterator[str]:
    """A line if an experiment has keys of both kinds."""
    there = [key for key in ONLY_OF_TRAINED if isinstance(experiment, dict) and key in experiment]
    if there and is_given(experiment):
        yield (
            f"experiments.{name} has log_px and {', '.join(there)}; log p is either given, or estimated under models that are "
            f"trained here: leave out log_px, or leave out {', '.join(there)}"
        )


def in_given(experiment: Experiment, known: list[str]) -> Iterator[str]:
    """One line per mistake between keys, each beginning with its key below `experiments.NAME.`; known: names of data sets."""
    for epoch in _files_by_epoch(experiment):
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
            yield f"log_px has the epoch {epoch!r}, must be a whole number of at least 0; write 10: FILE, without quotes"
    dataset = experiment.get("dataset")
    if dataset is not None and dataset not in known:
        yield f"dataset is {dataset!r}, which is unknown; {suggest(dataset, known)}"
    for key in pictures_of(experiment) if dataset is not None else ():
        yield f"{key} stands beside dataset, which has {key} of its own; leave out one of them"
    if experiment.get("statistic") == "size_matched" and "repeat" not in experiment["membership"]:
        yield "statistic is size_matched, which compares models of one repeat; give membership.repeat, or write mean_log"


def _files_by_epoch(experiment: Experiment) -> dict[int, str]:
    files = experiment["log_px"]
    return {NO_EPOCH: files} if isinstance(files, str) else files
