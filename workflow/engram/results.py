"""What the workflow made of one experiment, opened from its folder under results/; each file is read on first use."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import xarray as xr

from engram.conventions import NO_IMAGES
from engram.designs.repeats import repeat_name
from engram.errors import UserError
from engram.files import artifacts

if TYPE_CHECKING:
    import torch


def load(folder: str | Path) -> "Experiment":
    """The experiment whose results lie in `folder`, such as "results/quickstart".

    Nothing but membership.h5's presence is looked at; see `Experiment` for what can be read from it. Raises UserError if the
    folder is none of an experiment, naming those beside it.

        >>> import engram
        >>> engram.load("results/quickstart").scores["corrected"]["score"].dims
        ('epoch', 'sample')
    """
    folder = Path(folder)
    if not (folder / "membership.h5").is_file():
        beside = sorted(path.parent.name for path in folder.parent.glob("*/membership.h5"))
        there = f"experiments in {folder.parent}: {', '.join(beside)}" if beside else "run the workflow to make one"
        raise UserError(f"{folder}: is no folder of an experiment's results (it has no membership.h5); {there}")
    return Experiment(folder)


class Experiment:
    """One experiment's results. What is read once is kept, but for likelihoods and models, which are large.

    dataset      xarray: images (sample, pixel) uint8, label, split; image_shape in its attributes
    membership   xarray: in_training, counted_as_in (model, sample), repeat, fold (model)
    scores       by estimator, such as scores["corrected"]; xarray: score, standard_error (epoch, sample), nats, p_value,
                 q_value (sample), null_quantiles, ...
    analyses     by name, such as analyses["neighbors"]; xarray
    measures     xarray: every measure of memorization, (sample) each, beside score, standard_error, p_value and q_value

    An experiment whose log p was given has no models, one estimator, called "given", and a data set only with images.

    Whatever is not there, or damaged, raises UserError with what is there, or how to make it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.scores: Mapping[str, xr.Dataset] = Artifacts(folder / "scores", "estimator", kind="scores")
        self.analyses: Mapping[str, xr.Dataset] = Artifacts(folder / "analyses", "analysis")

    def __repr__(self) -> str:
        return f"<engram experiment {self.folder}: scores of {self.scores}; analyses {self.analyses}>"

    @cached_property
    def membership(self) -> xr.Dataset:
        return artifacts.read(self.folder / "membership.h5", "membership")

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The data set with the checksum that membership.h5 records: the experiment's own, or among those beside it."""
        wanted = self.membership.attrs["dataset_sha256"]
        folder = self.folder.parent / "datasets"
        if wanted == NO_IMAGES:
            raise UserError(f"{self.folder}: has no images, because its log p was given without any")
        for path in [*self.folder.glob("dataset.h5"), *sorted(folder.glob("*.h5"))]:
            if _checksum(path) == wanted:
                return artifacts.read(path, "dataset")
        raise UserError(f"{folder}: holds no data set with the checksum that {self.folder / 'membership.h5'} names")

    @cached_property
    def measures(self) -> xr.Dataset:
        return artifacts.read(self.folder / "measures.h5", "measures")

    def likelihood(self, estimator: str, repeat: int | str, epoch: int) -> xr.Dataset:
        """log_px, elbo, standard_error (nats), effective_samples, ... (model, draw, sample) of one repeat's models.

        `repeat` is a number from 0, or "full" for the model trained on everything; "all" for log p that was given.
        """
        folder = _choose(self.folder / "likelihood", estimator, "estimator", ending="")
        folder = _choose(folder, _repeat(repeat), "repeat", ending="")
        return artifacts.read(_choose(folder, f"epoch-{epoch}", "epoch"), "likelihood")

    def models(self, repeat: int | str, epoch: int) -> "list[torch.nn.Module]":
        """The trained models of a repeat, one a fold, as they were after `epoch` epochs, in eval mode on the CPU."""
        if "log_px_is_given" in self.membership.attrs:
            raise UserError(f"{self.folder}: has no models, because its log p was given")
        from engram.training.trained import load_models  # here, because scores and analyses need no torch

        path = _choose(self.folder / "models", _repeat(repeat), "repeat")
        epochs = artifacts.read(path, "models", ["epoch"])["epoch"].values.tolist()
        if epoch not in epochs:
            raise UserError(f"{path}: keeps no models of epoch {epoch!r}; there: {', '.join(map(str, epochs))}")
        return load_models(path, epoch)


class Artifacts(Mapping[str, xr.Dataset]):
    """The files of one folder by name, each read when first asked for. `kind` is theirs, by default the name itself."""

    def __init__(self, folder: Path, what: str, kind: str | None = None):
        self._folder, self._what, self._kind = folder, what, kind
        self._read: dict[str, xr.Dataset] = {}

    def __getitem__(self, name: str) -> xr.Dataset:
        if name not in self._read:
            self._read[name] = artifacts.read(_choose(self._folder, name, self._what), self._kind or name)
        return self._read[name]

    def __contains__(self, name: Any) -> bool:
        return name in _names(self._folder)

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self._folder))

    def __len__(self) -> int:
        return len(_names(self._folder))

    def __repr__(self) -> str:
        return ", ".join(self) or "none"


def _names(folder: Path, ending: str = ".h5") -> list[str]:
    """The files of a folder without their `ending`, or its subfolders where that is empty; numbers in order."""
    paths = [path for path in folder.glob(f"*{ending}" if ending else "*/") if not path.name.startswith(".")]
    return sorted((path.name.removesuffix(ending) for path in paths), key=lambda name: (len(name), name))


def _choose(folder: Path, name: str, what: str, ending: str = ".h5") -> Path:
    """The file, or subfolder, called `name`. Raises UserError, naming those that are there."""
    names = _names(folder, ending)
    if name not in names:
        raise UserError(f"{folder}: has no {what} {name!r}; there: {', '.join(names) or 'none'}")
    return folder / f"{name}{ending}"


def _checksum(path: Path) -> str | None:
    """The checksum that a data set file claims; None if it cannot be read, which says nothing of the one looked for."""
    try:
        with h5py.File(path) as file:
            return file.attrs.get("dataset_sha256")
    except OSError:
        return None


def _repeat(repeat: int | str) -> str:
    return repeat if isinstance(repeat, str) else repeat_name(repeat)
