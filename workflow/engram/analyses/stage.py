"""The stage of every analysis: read, ask, note what made the answer, write."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from engram.analyses.inputs import Inputs
from engram.files import artifacts, inputs, provenance

# What else than another analysis can be read of an experiment (engram.catalogue.READABLE, whose change must rerun nothing).
OF_EXPERIMENT = (
    "dataset",
    "membership",
    "models",
    "full_model",
    "likelihoods",
    "last_likelihoods",
    "scores",
    "measures",
)


def run(
    name: str,
    paths: Mapping[str, Any],
    estimators: Sequence[str] | None,
    output: str | Path,
    experiment: str,
    seed: int,
    threads: int = 1,
    features: str | None = None,
) -> None:
    """Ask `engram.analyses.NAME.analyse` and write its answer to `output`, an artifact of kind `name`.

    `paths` are those of what the analysis reads: dataset, membership, full_model, models, one for each repeat, scores, one for
    each of `estimators` (None where it reads no scores), likelihoods and last_likelihoods, of all of these, measures, and other
    analyses by their names.
    `features` are those of the experiment, if the analysis uses any but pixels.
    """
    started = time.perf_counter()
    # By name, so that one analysis does not count as the code of another: rules hand the names to the content hash.
    analysis = import_module(f"engram.analyses.{name}")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    given = read(paths, estimators, experiment, seed, features)
    answer = analysis.analyse(given)
    made_by = provenance.attributes(
        experiment,
        seed,
        dict(answer.settings),
        dataset_sha256=given.dataset_sha256,
        wall_seconds=time.perf_counter() - started,
    )
    of_measures = {"lacking": json.dumps(dict(answer.lacking)), "seconds": json.dumps(dict(answer.seconds))}
    artifacts.write(output, name, answer.variables, made_by | of_measures | dict(answer.summary))


def read(
    paths: Mapping[str, Any],
    estimators: Sequence[str] | None,
    experiment: str,
    seed: int,
    features: str | None = None,
) -> Inputs:
    """What an analysis is given, from the paths of what it reads."""
    return Inputs(
        experiment,
        seed,
        scores=inputs.scores(dict(zip(estimators, paths["scores"], strict=True))) if "scores" in paths else {},
        dataset=artifacts.read(paths["dataset"], "dataset") if "dataset" in paths else None,
        full_model=_loader(paths["full_model"]) if "full_model" in paths else None,
        membership=artifacts.read(paths["membership"], "membership") if "membership" in paths else None,
        last_likelihoods=_by_estimator(paths["last_likelihoods"]) if "last_likelihoods" in paths else None,
        models=[_loader(path, "load_models") for path in paths["models"]] if "models" in paths else None,
        likelihoods=_by_epoch(paths["likelihoods"]) if "likelihoods" in paths else None,
        measures=artifacts.read(paths["measures"], "measures") if "measures" in paths else None,
        training=_training(paths["full_model"]) if "full_model" in paths else None,
        features=features,
        analyses={name: artifacts.read(path, name) for name, path in paths.items() if name not in OF_EXPERIMENT},
    )


def _by_estimator(likelihoods: Sequence[str | Path]) -> dict[str, list[str | Path]]:
    """Likelihood files by the estimator that they say they are of."""
    files: dict[str, list[str | Path]] = {}
    for path in likelihoods:
        files.setdefault(str(artifacts.attributes(path, "likelihood")["estimator"]), []).append(path)
    return files


def _by_epoch(likelihoods: Sequence[str | Path]) -> dict[str, dict[int, list[str | Path]]]:
    """Likelihood files by estimator, then by epoch."""
    return {name: inputs.likelihoods_by_epoch(files) for name, files in _by_estimator(likelihoods).items()}


def _training(path: str | Path) -> dict[str, Any] | None:
    """The settings of the training that a file of models says it is of; None of models that were fitted."""
    return json.loads(artifacts.attributes(path, "models")["values"]).get("training")


def _loader(path: str | Path, load: str = "load_model") -> Callable[[int], Any]:
    """Models by epoch, loaded when asked for: what loads no model imports no torch, and does not depend on its code."""
    return lambda epoch: getattr(import_module("engram.training.trained"), load)(path, epoch)
