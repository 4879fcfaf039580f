"""The artifacts of one experiment, read: what claims and the report speak of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from engram.files import artifacts, inputs

LOSSES = ["loss_train", "loss_held_out"]


@dataclass(frozen=True)
class Evidence:
    """Data set, losses of every repeat and of the full model, scores by estimator, and analyses of one experiment."""

    name: str
    dataset: xr.Dataset
    folds: list[xr.Dataset]
    full: xr.Dataset
    scores: dict[str, xr.Dataset]
    neighbors: xr.Dataset
    mode_collapse: xr.Dataset
    density_split: xr.Dataset

    @classmethod
    def read(cls, paths: Mapping[str, Any]) -> "Evidence":
        """From name and paths: dataset, models (repeats, then the full one), scores by estimator, analyses by name."""
        *folds, full = [artifacts.read(path, "models", LOSSES) for path in paths["models"]]
        analyses = {name: artifacts.read(path, name) for name, path in paths["analyses"].items()}
        return cls(
            name=paths["name"],
            dataset=artifacts.read(paths["dataset"], "dataset"),
            folds=folds,
            full=full,
            scores=inputs.scores(paths["scores"]),
            **{name: analyses[name] for name in ("neighbors", "mode_collapse", "density_split")},
        )
