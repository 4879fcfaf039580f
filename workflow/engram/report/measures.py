"""What the report says of the measures beside the score: how far they agree, and which there are not, with reasons."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from engram.figures.agreement import quantities_of, rising
from engram.scores import intervals

HEADINGS = {
    "spearman": "rank correlation",
    "area_high": "area, highest 5 %",
    "area_memorized": "area, FDR 5 %",
    "area_copied": "area, copied",
}


def rows(analysis: xr.Dataset, table: xr.Dataset) -> Iterator[dict[str, Any]]:
    """A row for each measure that has values, the most alike first; of the agreement artifact and measures.h5.

    Of each: title, what it uses, rank correlation and areas under the curve with intervals, and the time it took.
    """
    titles, uses, made_by, seconds = (json.loads(table.attrs[key]) for key in ("titles", "uses", "analysis", "seconds"))
    analysis = rising(analysis).isel(measure=slice(None, None, -1))
    for name in analysis["measure"].values.tolist():
        of_measure = analysis.sel(measure=name)
        numbers = [intervals.read(of_measure, quantity).text() for quantity in quantities_of(analysis)]
        missing = table.sizes["sample"] - int(of_measure["images"])
        yield {
            "column": name,
            "title": titles[name],
            "uses": uses[name],
            "analysis": made_by[name],
            "numbers": numbers,
            "seconds": f"{seconds[name]:.1f} seconds",
            "missing": f"{missing:,} without" if missing else "",
        }


def headings(analysis: xr.Dataset) -> list[str]:
    """Of the numbers of a row."""
    return [HEADINGS[quantity] for quantity in quantities_of(analysis)]


def absent(table: xr.Dataset) -> list[tuple[str, str]]:
    """Title of each measure that the experiment goes without, and why: of measures.h5. Those of one reason stand together."""
    titles = json.loads(table.attrs["titles"])
    reasons = {titles[name]: why for name, why in json.loads(table.attrs["lacking"]).items()}
    return _by_reason(reasons | json.loads(table.attrs["left_out"]))


def _by_reason(reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """[(titles, reason)], from {title: reason}.

    >>> _by_reason({"A": "no samples", "B": "no encoder", "C": "no samples"})
    [('A; C', 'no samples'), ('B', 'no encoder')]
    """
    return [
        (", ".join(title for title in reasons if reasons[title] == why), why) for why in dict.fromkeys(reasons.values())
    ]


def sentences(analysis: xr.Dataset, table: xr.Dataset) -> str:
    """What the table stands on: whose scores judge, how many images are memorized, and the ceiling."""
    images, ceiling = table.sizes["sample"], float(analysis.attrs["ceiling"])
    highest = (
        f"The errors of these scores leave a rank correlation of at most {ceiling:.2f} to a measure that does not share them."
        if np.isfinite(ceiling)
        else "How far errors of these scores lower a rank correlation is not known."
    )
    return (
        f"Measures are judged by the scores of {analysis.attrs['estimator']}, by which {int(analysis.attrs['memorized']):,} of "
        f"{images:,} images are memorized at FDR 5 %. {highest}{_of_copies(analysis, images)}"
    )


def _of_copies(analysis: xr.Dataset, images: int) -> str:
    """How many images samples copy, if any, and how well the score itself finds these."""
    copied = int(analysis.attrs["copied"])
    area = intervals.read(analysis, "area_copied_by_score").text()
    says = f" Samples of the full model copy {copied:,} of the {images:,}, and the score finds these with an area of {area}."
    return says if copied else ""
