"""The scores stage: an estimator's likelihoods at every scored epoch to memorization scores with their uncertainty.

One epoch's log p is in memory for each thread, as float32: 65 MB for 100 models and 162,770 images.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import false_discovery_control

from engram.conventions import FDR, GIVEN
from engram.designs.membership import scored
from engram.designs.repeats import repeat_name
from engram.errors import UserError, about
from engram.files import artifacts, atomic, provenance
from engram.files.artifacts import variable
from engram.files.inputs import likelihoods_by_epoch
from engram.likelihood.quality import Quality
from engram.runtime.jobs import log
from engram.runtime.machine import peak_memory
from engram.scores import independent_models
from engram.scores.permutation import PermutationTest, permutation_test
from engram.scores.reference import null_quantiles, unseen_quantiles
from engram.scores.statistics import STATISTICS, log_mean_exp, memorization_scores
from engram.scores.uncertainty import (
    smallest_detectable_score,
    split_half_reliability,
    standard_error,
    standard_error_by_repeats,
    standard_error_of_draws,
    why_undefined,
)

LONG_NAME = {
    "score": "memorization score by the estimator's statistic",
    "score_log_mean_exp": "log mean p of models trained on the image minus log mean p of the others, as published",
    "score_size_matched": "the same with equally many models on both sides, one per repeat",
    "score_mean_log": "mean log p of models trained on the image minus mean log p of the others",
    "log_p_in": "U, log mean p of models trained on the image",
    "log_p_out": "V, log mean p of models not trained on the image",
    "standard_error": "standard error of score, jackknife over repeats; NaN with one repeat",
    "standard_error_of_draws": "what finite draws add to the error of score: sd over draws / sqrt(draws); NaN with one draw",
    "p_value": "permutation p-value of score_mean_log, last scored epoch",
    "q_value": "Benjamini-Hochberg q-value of p_value",
}
SOME = 2000  # images for what is a mean over images


@dataclass(frozen=True)
class Comparison:
    """The scored images, the sides (models, n) that every model counts for, and each model's repeat and fold.

    `unseen` are images, not scored, that no model was trained on: the test images. `is_independent`: there are no repeats,
    as every model's training set was drawn independently of the others; `repeat` is then 0 throughout.
    """

    images: np.ndarray
    unseen: np.ndarray
    label: np.ndarray
    is_in: np.ndarray
    repeat: np.ndarray
    fold: np.ndarray
    is_independent: bool = False

    @property
    def repeat_if_any(self) -> np.ndarray | None:
        """Each model's repeat, or None where there are none."""
        return None if self.is_independent else self.repeat

    @property
    def statistics(self) -> list[str]:
        """Those that are defined: size_matched only where every repeat has models on both sides of every image."""
        rows = [self.repeat == number for number in np.unique(self.repeat)]
        matched = all(scored(self.is_in[row]).all() for row in rows)
        return [name for name in STATISTICS if matched or name != "size_matched"]

    def why_not_tested(self) -> str | None:
        """Why no relabelling of the models can be a test, in a sentence; None if it is one."""
        reason = independent_models.why_not_exchangeable(self.is_in) if self.is_independent else None
        return reason and (
            "standard errors, p-values and the null are not known, because the models' training sets were not drawn alike: "
            f"{reason}; give membership.repeat, the split that each model belongs to."
        )

    @classmethod
    def of(cls, membership: xr.Dataset) -> "Comparison":
        is_in, repeat, fold = (membership[name].values for name in ("counted_as_in", "repeat", "fold"))
        is_scored = scored(is_in)
        images, unseen = np.flatnonzero(is_scored), np.flatnonzero(~is_scored & ~membership.in_training.values.any(0))
        label, is_independent = membership.label.values[images], bool(membership.attrs.get("independent_models", 0))
        return cls(images, unseen, label, is_in[:, images], repeat, fold, is_independent)


def run(
    h5: str | Path,
    csv: str | Path,
    likelihoods: Sequence[str],
    membership: str | Path,
    dataset: str | Path | None,
    *,
    experiment: str,
    estimator: str,
    seed: int,
    threads: int,
    **settings: Any,
) -> None:
    """Write an estimator's scores as `h5`, and those of the last scored epoch as `csv`.

    likelihoods: the files of every repeat at every scored epoch, in any order. `dataset` names the images; None
    where membership.h5 does, of log p that is given. `settings` are the statistic, scored_epochs and permutations of `compute`.
    """
    started = time.monotonic()
    stored = artifacts.read(membership, "membership")
    with about(f"experiments.{experiment}, estimator {estimator}"):
        variables, about_scores, doubts = compute(likelihoods, stored, seed=seed, threads=threads, **settings)
    variables |= _names_of_images(dataset, stored, variables["sample"][1])
    worth = None
    if estimator != GIVEN:
        worth = quality_of(likelihoods, variables["sample"][1], max(settings["scored_epochs"]))
        doubts += worth.warnings()
    for sentence in doubts:
        log.warning("%s, %s: %s", experiment, estimator, sentence)
    attributes = provenance.attributes(
        experiment,
        seed,
        settings,
        estimator=estimator,
        dataset_sha256=stored.attrs["dataset_sha256"],
        wall_seconds=time.monotonic() - started,
        peak_memory_bytes=peak_memory(),
        log_px_is_bound=artifacts.attributes(likelihoods[0], "likelihood").get("log_px_is_bound", 0),
        **about_scores,
        **(worth.attributes() if worth else {}),
    )
    artifacts.write(h5, "scores", variables, attributes)
    atomic.write(csv, table(variables).to_csv(index=False).encode())


def compute(
    likelihoods: Sequence[str],
    membership: xr.Dataset,
    statistic: str,
    scored_epochs: Sequence[int],
    permutations: int,
    seed: int,
    threads: int = 1,
) -> tuple[dict[str, tuple], dict[str, object], list[str]]:
    """Variables and attributes of scores/{estimator}.h5, and what to warn of: what is not known, p-values too large to find any.

    likelihoods: the files of every repeat at every scored epoch, in any order. The test, the null and what is said of
    the budget are of the last scored epoch. `threads` epochs are computed at once.
    """
    comparison = Comparison.of(membership)
    epochs, files = sorted(scored_epochs), likelihoods_by_epoch(likelihoods)

    def log_px_of(epoch: int, images: np.ndarray | None = None) -> np.ndarray:
        return read_log_px(files.get(epoch, []), comparison, images)

    with ThreadPoolExecutor(threads) as pool:
        by_epoch = list(pool.map(lambda epoch: _scores(log_px_of(epoch), comparison, statistic), epochs))
    log_px = log_px_of(epochs[-1])
    variables = {
        "epoch": variable(("epoch",), epochs, "1", artifacts.AXES["epoch"]),
        "sample": variable(("sample",), comparison.images, "1", artifacts.AXES["sample"]),
        "label": variable(("sample",), comparison.label, "1", "class of the image, -1 = none"),
    }
    undefined = {"standard_error", "standard_error_of_draws"}
    undefined |= {f"score_{name}" for name in STATISTICS if name not in comparison.statistics}
    for name in by_epoch[0]:
        values = np.array([scores[name] for scores in by_epoch])
        if name == "standard_error_of_draws" and np.isnan(values).all():
            continue  # a single draw throughout
        variables[name] = variable(("epoch", "sample"), values, "nats", LONG_NAME[name], name in undefined)
    reason = comparison.why_not_tested()
    if reason:
        test = None
        p_value = q_value = np.full(len(comparison.images), np.nan)
    else:
        test = permutation_test(log_px, comparison.is_in, comparison.repeat, permutations, seed)
        p_value, q_value = test.p_value, false_discovery_control(test.p_value)
        null = log_px, comparison.is_in, comparison.repeat, statistic, seed
        variables |= null_quantiles(*null, comparison.statistics)
    variables["p_value"] = variable(("sample",), p_value, "1", LONG_NAME["p_value"], test is None)
    variables["q_value"] = variable(("sample",), q_value, "1", LONG_NAME["q_value"], test is None)
    if len(comparison.unseen):
        variables |= unseen_quantiles(log_px_of(epochs[-1], comparison.unseen), comparison.repeat, statistic, seed)
    variables |= _by_repeats(log_px, comparison, statistic, seed)
    error = variables["standard_error"][1][-1]
    doubts = [reason] if test is None else [why_undefined(error, comparison.repeat_if_any, statistic), test.warning()]
    budget = _attributes(log_px, comparison, statistic, test, p_value, q_value, seed)
    return variables, budget | ({"not_tested": reason} if reason else {}), [*filter(None, doubts)]


def read_log_px(paths: Iterable[str], comparison: Comparison, images: np.ndarray | None = None) -> np.ndarray:
    """log p of `images`, by default the scored ones, under all models, from the likelihood files of one epoch: (models,
    draws, n) float32, nats.

    Raises UserError if the files lack a model of the membership.
    """
    images = comparison.images if images is None else images
    log_px, missing = None, np.ones(len(comparison.repeat), dtype=bool)
    for path in paths:
        stored = artifacts.read(path, "likelihood", ["log_px", "repeat", "fold"])
        values = stored.log_px.values[..., images]
        if log_px is None:
            log_px = np.empty((len(missing), *values.shape[1:]), dtype=np.float32)
        for model, repeat, fold in zip(values, stored.repeat.values, stored.fold.values, strict=True):
            row = (comparison.repeat == repeat) & (comparison.fold == fold)
            log_px[row] = model
            missing &= ~row
    if missing.any():
        model = np.flatnonzero(missing)[0]
        name = f"{repeat_name(comparison.repeat[model])}, fold {comparison.fold[model]}"
        raise UserError(f"likelihoods: none of {name} among {list(paths)}; every model of the membership is needed")
    return log_px


def quality_of(likelihoods: Iterable[str], images: np.ndarray, epoch: int) -> Quality:
    """What the estimates of log p of `images` under all models are worth, at one epoch, from the files of every repeat."""
    names = ["fell_back", "effective_samples", "pareto_k"]
    stored = [artifacts.read(path, "likelihood", names) for path in likelihoods_by_epoch(likelihoods)[epoch]]
    return Quality.of(*(np.concatenate([part[name].values[..., images].ravel() for part in stored]) for name in names))


def _names_of_images(dataset: str | Path | None, membership: xr.Dataset, images: np.ndarray) -> dict[str, tuple]:
    """Path and class name of the scored images, from the data set's file; from membership.h5 those that it holds."""
    names = {} if dataset is None else dict(artifacts.read(dataset, "dataset", ["path", "class_name"]).data_vars)
    names |= {name: membership[name] for name in ("path", "class_name") if name in membership}
    return {
        name: variable(("sample",), values.values[images], "1", values.attrs["long_name"])
        for name, values in names.items()
    }


def table(variables: dict[str, tuple]) -> pd.DataFrame:
    """One row per image: index, path, split, label, class name, scores, standard errors, p and q at the last scored epoch."""
    columns = {"index": variables["sample"][1], "split": "train", "label": variables["label"][1]}
    columns |= {name: variables[name][1] for name in ("path", "class_name") if name in variables}
    return pd.DataFrame(
        columns | {name: np.atleast_2d(variables[name][1])[-1] for name in LONG_NAME if name in variables}
    )


def _scores(log_px: np.ndarray, comparison: Comparison, statistic: str) -> dict[str, np.ndarray]:
    is_in, repeat = comparison.is_in, comparison.repeat
    by_statistic = {name: np.full(is_in.shape[1], np.nan) for name in STATISTICS}
    for name in {*comparison.statistics, statistic}:
        by_statistic[name] = memorization_scores(log_px, is_in, name, repeat)
    log_p_in = log_mean_exp(log_px, is_in)
    return {
        "score": by_statistic[statistic],
        **{f"score_{name}": score for name, score in by_statistic.items()},
        "log_p_in": log_p_in,
        "log_p_out": log_p_in - by_statistic["log_mean_exp"],
        "standard_error": _standard_error(log_px, comparison, statistic),
        "standard_error_of_draws": standard_error_of_draws(log_px, is_in, repeat, statistic),
    }


def _standard_error(log_px: np.ndarray, comparison: Comparison, statistic: str) -> np.ndarray:
    if comparison.why_not_tested():
        return np.full(len(comparison.images), np.nan)
    return standard_error(log_px, comparison.is_in, comparison.repeat_if_any, statistic)


def _by_repeats(log_px: np.ndarray, comparison: Comparison, statistic: str, seed: int) -> dict[str, tuple]:
    """How the standard error of the score falls with the number of repeats.

    Nothing with a single repeat, nor where some repeat has models of one kind only of some image.
    """
    if comparison.statistics != list(STATISTICS):
        return {}
    some = np.unique(np.linspace(0, len(comparison.images) - 1, SOME).astype(int))
    errors = standard_error_by_repeats(
        log_px[..., some], comparison.is_in[:, some], comparison.repeat, statistic, seed=seed
    )
    if not len(errors):
        return {}
    name = "standard error of score from this many repeats, root mean square over images"
    return {
        "repeats": variable(("repeats",), np.arange(1, len(errors) + 1), "1", "number of repeats"),
        "standard_error_by_repeats": variable(("repeats",), errors, "nats", name),
    }


def _attributes(
    log_px: np.ndarray,
    comparison: Comparison,
    statistic: str,
    test: PermutationTest | None,
    p_value: np.ndarray,
    q_value: np.ndarray,
    seed: int,
) -> dict[str, object]:
    halves = log_px, comparison.is_in, comparison.repeat_if_any, statistic, seed
    attributes = {"statistic": statistic, "split_half_reliability": split_half_reliability(*halves)}
    if test is None:
        return attributes | {name: float("nan") for name in ("smallest_detectable_score", "p_value_floor")}
    accepted = p_value[q_value <= FDR]
    p_limit = accepted.max(initial=FDR / len(q_value))
    return attributes | {
        "number_memorized_fdr05": len(accepted),
        "smallest_detectable_score": smallest_detectable_score(
            log_px, comparison.is_in, comparison.repeat, p_limit, test.floor
        ),
        "p_value_floor": test.floor,
        "relabellings": test.relabellings,
        "relabellings_are_all": int(test.exact),
    }
