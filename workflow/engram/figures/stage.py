"""The stage of every figure: read what it draws, and draw it."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure

from engram.files import artifacts, inputs


def draw(name: str, reads: Sequence[str], paths: Mapping[str, Any], estimators: Sequence[str] = ()) -> Figure:
    """The figure `name` of one experiment, given what it `reads`, in this order, from files.

    `paths` by what is read: dataset, models (a list), full_model, scores (one for each of `estimators`), or an analysis.
    """
    return drawing(name)(*(_read(what, paths[what], estimators) for what in reads))


def draw_of_rates(name: str, experiments: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure `name` of experiments that differ in their `learning_rate`, each with the paths of what is read."""
    by_rate = {experiment["learning_rate"]: experiment for experiment in experiments}
    return drawing(name)(_module(name).read(by_rate))


def _read(what: str, path: Any, estimators: Sequence[str]) -> Any:
    match what:
        case "scores":
            return inputs.scores(dict(zip(estimators, path, strict=True)))
        case "models":
            return [inputs.losses(each) for each in path]
        case "full_model":
            return inputs.losses(path)
    return artifacts.read(path, what)  # the data set, or an analysis: the kind is the name


def drawing(name: str) -> Callable[..., Figure]:
    """The function that draws a figure."""
    return getattr(_module(name), name)


def _module(name: str) -> ModuleType:
    # By name, so that one figure does not count as the code of another: rules hand the name to the content hash.
    return import_module(f"engram.figures.{name}")
