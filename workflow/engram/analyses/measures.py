"""The table of measures: a row for each scored image, a column for each measure of memorization, beside the score M.

Its stage gathers what analyses have computed, and computes nothing itself.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from engram.files import artifacts, atomic, provenance
from engram.files.artifacts import variable
from engram.files.inputs import last
from engram.scores.stage import table

OF_THE_SCORE = ("score", "standard_error", "p_value", "q_value")
OF_IMAGES = ("label", "path", "class_name")

# Of an analysis, its measures: of each the title, what it uses, and whether it falls (engram.catalogue.Measure).
Declared = Mapping[str, Mapping[str, Mapping[str, Any]]]


def run(
    h5: str | Path,
    csv: str | Path,
    scores: str | Path,
    analyses: Mapping[str, str | Path],
    *,
    declared: Declared,
    left_out: Mapping[str, str],
    experiment: str,
    seed: int,
) -> None:
    """Write measures.h5 and measures.csv of one experiment.

    `scores` are those that measures are judged by; `analyses` the artifacts whose measures are `declared`. `left_out` says of
    titles of measures why the experiment has not computed them.
    """
    started = time.perf_counter()
    judge = artifacts.read(scores, "scores")
    read = {name: artifacts.read(path, name) for name, path in analyses.items()}
    measures = columns(read, declared, judge)
    attributes = provenance.attributes(
        experiment,
        seed,
        {"declared": declared},
        dataset_sha256=judge.attrs["dataset_sha256"],
        estimator=judge.attrs["estimator"],
        split_half_reliability=judge.attrs["split_half_reliability"],
        **{name: json.dumps(of_measures) for name, of_measures in told(read, declared).items()},
        left_out=json.dumps(dict(left_out)),
        wall_seconds=time.perf_counter() - started,
    )
    artifacts.write(h5, "measures", of_the_score(judge) | measures, attributes)
    values = {name: value[1] for name, value in measures.items()}
    rows = pd.concat([table(of_the_score(judge)), pd.DataFrame(values)], axis=1)
    atomic.write(csv, rows.to_csv(index=False).encode())


def of_the_score(judge: xr.Dataset) -> dict[str, tuple]:
    """The scored images, and their scores at the last scored epoch, as variables over `sample`."""
    variables = {name: judge[name].variable for name in ("sample", *OF_IMAGES) if name in judge}
    for name in OF_THE_SCORE:
        values = last(judge, name) if "epoch" in judge[name].dims else judge[name].values
        units, meaning = (judge[name].attrs[key] for key in ("units", "long_name"))
        variables[name] = variable(("sample",), values, units, meaning, may_be_undefined=True)
    return {
        name: (values.dims, values.values, values.attrs) if hasattr(values, "dims") else values
        for name, values in variables.items()
    }


def columns(read: Mapping[str, xr.Dataset], declared: Declared, judge: xr.Dataset) -> dict[str, tuple]:
    """Every measure over the scored images, `sample`; NaN for an image that its analysis does not hold.

    Of a measure by several estimators, that of the one whose scores judge, or else of the first.
    """
    return {
        name: of_scored_images(
            _by_one_estimator(read[analysis][name], judge.attrs["estimator"]), judge["sample"].values
        )
        for analysis, measures in declared.items()
        for name in measures
    }


def _by_one_estimator(values: xr.DataArray, estimator: str) -> xr.DataArray:
    if "estimator" not in values.dims:
        return values
    names = values["estimator"].values.tolist()
    return values.isel(estimator=names.index(estimator) if estimator in names else 0)


def of_scored_images(values: xr.DataArray, scored: np.ndarray) -> tuple:
    """A variable over the images `scored`, (n,) in any order, from values over other ones (sample)."""
    row = pd.Index(values["sample"].values).get_indexer(scored)
    chosen = np.where(row < 0, np.nan, values.values[row])
    return variable(("sample",), chosen, values.attrs["units"], values.attrs["long_name"], may_be_undefined=True)


def told(read: Mapping[str, xr.Dataset], declared: Declared) -> dict[str, dict[str, Any]]:
    """What is known of measures, by their names: titles, uses, falls, analysis, seconds, and lacking, why one has no values.

    Where an analysis does not tell its measures' seconds apart, each has those of all of it; one that is lacking took none.
    """
    facts: dict[str, dict[str, Any]] = {
        key: {} for key in ("titles", "uses", "falls", "analysis", "seconds", "lacking")
    }
    for analysis, measures in declared.items():
        made_by = read[analysis].attrs
        seconds, lacking = (json.loads(made_by.get(key, "{}")) for key in ("seconds", "lacking"))
        for name, measure in measures.items():
            facts["titles"][name], facts["uses"][name] = measure["title"], measure["uses"]
            facts["falls"][name], facts["analysis"][name] = bool(measure["falls"]), analysis
            facts["seconds"][name] = 0.0 if name in lacking else float(seconds.get(name, made_by["wall_seconds"]))
        facts["lacking"] |= {name: reason for name, reason in lacking.items() if name in measures}
    return facts
