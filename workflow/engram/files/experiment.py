"""The artifacts of one experiment, read: what claims and the report speak of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from engram.files import artifacts, inputs


@dataclass(frozen=True)
class Experiment:
    """Scores by estimator; and, as far as there are any, the data set, analyses by name, the table of measures and the losses of
    trainings.

    `folds` are the losses of each repeat's models, `full` those of the model trained on everything.
    """

    name: str
    dataset: xr.Dataset | None
    scores: Mapping[str, xr.Dataset]
    analyses: Mapping[str, xr.Dataset] = field(default_factory=dict)
    folds: Sequence[xr.Dataset] = ()
    full: xr.Dataset | None = None
    measures: xr.Dataset | None = None

    @property
    def trained(self) -> xr.Dataset | None:
        """The losses of one training, the full model's if there is one: its attributes say what is true of all."""
        return next((losses for losses in (self.full, *self.folds) if losses is not None), None)

    @classmethod
    def read(cls, paths: Mapping[str, Any]) -> "Experiment":
        """From its name and the paths of its scores (by estimator).

        dataset, analyses (by name), models (of every repeat), full_model and measures may be absent, but a file that is named
        must exist.
        """
        full, dataset, measures = (paths.get(kind) for kind in ("full_model", "dataset", "measures"))
        return cls(
            name=paths["name"],
            dataset=artifacts.read(dataset, "dataset") if dataset else None,
            scores=inputs.scores(paths["scores"]),
            analyses={name: artifacts.read(path, name) for name, path in paths.get("analyses", {}).items()},
            folds=[inputs.losses(path) for path in paths.get("models", [])],
            full=inputs.losses(full) if full else None,
            measures=artifacts.read(measures, "measures") if measures else None,
        )
