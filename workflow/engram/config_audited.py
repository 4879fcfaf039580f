"""Experiments that audit a checkpoint which someone else trained: what they are read as, and the mistakes in them."""

from collections.abc import Iterator, Mapping
from typing import Any

from engram.conventions import DRAWS_OF_A_BOUND
from engram.datasets.paths import expanded
from engram.errors import suggest

Experiment = Mapping[str, Any]

SETS = ("images", "training", "held_out")  # each a folder, or the name of a data set


def is_audited(experiment: Experiment) -> bool:
    """Whether an experiment of config.yaml names a checkpoint: it trains and scores nothing, and has a page of its own."""
    return "checkpoint" in experiment


def datasets_of(experiment: Experiment, known: list[str]) -> dict[str, str]:
    """Which of its sets of images are data sets, by name; the others are folders.

    >>> datasets_of({"images": "my/photos", "held_out": "mnist5k"}, known=["mnist5k"])
    {'held_out': 'mnist5k'}
    """
    return {name: experiment[name] for name in SETS if experiment.get(name) in known}


def in_audited(experiment: Experiment, known: list[str]) -> Iterator[str]:
    """One line per mistake between keys, each beginning with its key below `experiments.NAME.`; known: names of data sets."""
    for name in SETS:
        source = experiment.get(name)
        is_there = source is None or source in known or expanded(source).is_dir()
        if not is_there and "did you mean" in suggest(source, known):
            yield f"{name} is {source!r}, which is neither a data set nor a folder; {suggest(source, known)}"
    if experiment.get("evaluations", DRAWS_OF_A_BOUND) % DRAWS_OF_A_BOUND:
        yield f"evaluations is {experiment['evaluations']}; it must be a multiple of {DRAWS_OF_A_BOUND}"
    if experiment.get("probes") == 1:
        yield "probes is 1; it must be 2 at least, or 0 for an exact trace"
    if "prevent" in experiment and "prompts" not in experiment:
        yield "prevent is given without prompts, whose embeddings it moves; add prompts, or leave it out"
    if "prevent" in experiment and experiment.get("samples") == 0:
        yield "prevent is given, but samples is 0; ask for samples, or leave it out"
