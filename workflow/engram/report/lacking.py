"""Why an experiment goes without an analysis or a figure, in words; `described` is as in engram.report.contents."""

from collections.abc import Iterable, Mapping
from typing import Any

from engram.catalogue import ANALYSES, READABLE, REQUIRED

Description = Mapping[str, Any]


def needs_of(reads: Iterable[str], requires: Iterable[str], described: Description) -> list[str]:
    """What the experiment lacks of what an analysis or a figure reads and requires; nothing where it can have it."""
    absent = [READABLE[what] for what in reads if what in READABLE and not described.get(what)]
    of_analyses = [
        f"the analysis {what}, which the experiment's `analyses` in config.yaml leaves out"
        if is_left_out(what, described)
        else needs_of_analysis(what, described)
        for what in reads
        if what in ANALYSES and what not in described.get("analyses", {})
    ]
    unmet = [REQUIRED[what] for what in requires if what not in described.get("has", requires)]
    return [*dict.fromkeys([*absent, *of_analyses, *unmet])]


def needs_of_analysis(name: str, described: Description) -> str:
    """What the experiment would need for an analysis that it lacks and did not leave out."""
    analysis = ANALYSES[name]
    lacking = needs_of(analysis.reads, analysis.requires, described)
    return " and ".join(lacking) or analysis.needs or f"the analysis {name}"


def is_left_out(name: str, described: Description) -> bool:
    """Whether the experiment could have an analysis, and does not because its `analyses` in config.yaml do not name it."""
    if name in described["settings"].get("analyses", ANALYSES):
        return False
    analysis = ANALYSES[name]
    reads = {*analysis.reads} - {"measures"}  # which come with the analyses that have any
    return bool(analysis.estimators(described["estimators"])) and not needs_of(reads, analysis.requires, described)
