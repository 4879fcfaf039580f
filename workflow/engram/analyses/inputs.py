"""What an analysis is given, and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr


@dataclass(frozen=True)
class Inputs:
    """The scores of an experiment by estimator, and what else its entry in engram.catalogue reads of it.

    `scores` are empty, `dataset` and `membership` None, and the others missing, where they are not read.
    `full_model(epoch)` loads the model trained on everything as it was after `epoch` epochs, and `models[repeat](epoch)` those
    of a repeat, one a fold. `likelihoods` are the files of every repeat by estimator and scored epoch, `last_likelihoods` those
    of the last scored epoch by estimator. `training` are the settings by which the full model was trained, None if it was fitted.
    `features` are as config.yaml names them (engram.analyses.features), None for pixels. `measures` is the table of
    engram.analyses.measures, and `analyses` are the artifacts of other analyses by name.
    """

    experiment: str
    seed: int
    scores: Mapping[str, xr.Dataset]
    dataset: xr.Dataset | None = None
    full_model: Callable[[int], Any] | None = None
    membership: xr.Dataset | None = None
    last_likelihoods: Mapping[str, Sequence[str | Path]] | None = None
    models: Sequence[Callable[[int], list[Any]]] | None = None
    likelihoods: Mapping[str, Mapping[int, Sequence[str | Path]]] | None = None
    measures: xr.Dataset | None = None
    training: Mapping[str, Any] | None = None
    features: str | None = None
    analyses: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def first(self) -> xr.Dataset:
        """Scores by the first estimator, for what does not depend on the estimator: images, labels, epochs."""
        return next(iter(self.scores.values()))

    @property
    def dataset_sha256(self) -> str:
        """Checksum of the images that all of it is about."""
        about_images = self.first if self.scores else self.dataset if self.measures is None else self.measures
        return about_images.attrs["dataset_sha256"]

    @property
    def epoch(self) -> int:
        """The last scored epoch."""
        return int(self.first["epoch"][-1])


class Answer(NamedTuple):
    """Variables of the artifact, the settings that made it, and numbers that sum it up, which become attributes.

    `lacking` says of measures that this experiment cannot have why, by name: their variables are NaN. `seconds` is what single
    measures took, where one analysis makes several of unlike cost. Both are stored as attributes, in JSON.
    """

    variables: Mapping[str, tuple]
    settings: Mapping[str, Any]
    summary: Mapping[str, Any] = {}
    lacking: Mapping[str, str] = {}
    seconds: Mapping[str, float] = {}
