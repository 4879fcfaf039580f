"""Figure: how far other measures agree with the score, how well they find what it finds, and what they take."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engram.figures.style import figure, styled
from engram.scores import intervals

# By what a measure uses: a colour of Okabe & Ito's and a marker; measures of the score's own models have open ones.
LOOK = {
    "images alone": ("#666666", "s", "full"),
    "one model": ("#0072B2", "o", "full"),
    "samples of one model": ("#009E73", "D", "full"),
    "models in and out": ("#D55E00", "o", "none"),
}
PANELS = {
    "spearman": "rank correlation\nwith the score M",
    "area_high": "area under curve,\nhighest 5 % of scores",
    "area_memorized": "area under curve,\nmemorized (FDR 5 %)",
    "area_copied": "area under curve,\ncopied by samples",
}
ROW = 0.19  # inches


@styled
def agreement(analysis: xr.Dataset, table: xr.Dataset) -> Figure:
    """`analysis`: the agreement artifact; `table`: measures.h5. A row for each measure that has values, the most alike on top.

    The last panel is there only where samples copy images.
    """
    titles, uses = (json.loads(table.attrs[key]) for key in ("titles", "uses"))
    analysis = rising(analysis)
    names = analysis["measure"].values.tolist()
    quantities = quantities_of(analysis)
    drawn = figure(1.1 + ROW * max(4, len(names)))
    panels = drawn.subplots(1, len(quantities), sharey=True)
    for axes, quantity in zip(panels, quantities, strict=True):
        axes.axvline(0.5 if quantity.startswith("area") else 0.0, color="black", linewidth=0.7, linestyle=":")
        for row, name in enumerate(names):
            _interval(axes, row, intervals.read(analysis.sel(measure=name), quantity), LOOK[uses[name]])
        axes.set_xlabel(PANELS[quantity])
        if not np.isfinite(analysis[quantity].values).any():
            axes.set(xlim=(0, 1))
            axes.text(
                0.5,
                len(names) / 2,
                "nothing to tell apart",
                ha="center",
                va="center",
                fontsize=8,
                backgroundcolor="white",
            )
    panels[0].set_yticks(range(len(names)), [titles[name] for name in names], fontsize=7)
    panels[0].set_ylim(-0.7, len(names) - 0.3)
    _ceiling(panels[0], float(analysis.attrs["ceiling"]))
    if "area_copied" in quantities:
        _of_the_score(panels[-1], intervals.read(analysis, "area_copied_by_score"))
    drawn.legend(handles=_legend(uses[name] for name in names), loc="outside upper center", ncols=len(LOOK))
    return drawn


def quantities_of(analysis: xr.Dataset) -> list[str]:
    """What measures are judged by: copies only where samples copy images."""
    return [name for name in PANELS if name != "area_copied" or int(analysis.attrs["copied"])]


def rising(analysis: xr.Dataset) -> xr.Dataset:
    """The measures that have values, in the order of their rank correlation with the score; those without one come first."""
    analysis = analysis.isel(measure=analysis["images"].values > 0)
    return analysis.isel(measure=np.argsort(np.nan_to_num(analysis["spearman"].values, nan=-2), kind="stable"))


def _interval(axes: Axes, row: int, value: intervals.Interval, look: tuple[str, str, str]) -> None:
    colour, marker, fill = look
    axes.plot([value.low, value.high], [row, row], color=colour, linewidth=1.1)
    axes.plot(
        value.estimate, row, marker=marker, fillstyle=fill, color=colour, markersize=4.5, markerfacecoloralt="white"
    )


def _of_the_score(axes: Axes, area: intervals.Interval) -> None:
    """M itself, which other panels take for the truth."""
    axes.axvspan(area.low, area.high, color="#DDDDDD", linewidth=0)
    axes.axvline(area.estimate, color="#444444", linewidth=0.9, linestyle="--")
    axes.text(area.estimate, axes.get_ylim()[0], " M ", fontsize=6.5, va="bottom", ha="right")


def _ceiling(axes: Axes, ceiling: float) -> None:
    """The highest correlation that errors of the score leave to a measure which does not share them."""
    if np.isfinite(ceiling):
        axes.axvspan(ceiling, max(1.0, axes.get_xlim()[1]), color="#DDDDDD", linewidth=0)
        axes.text(ceiling, axes.get_ylim()[0], " ceiling", fontsize=6.5, va="bottom", ha="left", rotation=90)
        axes.set_xlim(right=1.02)


def _legend(used) -> list[Line2D]:
    there = {*used}
    return [
        Line2D([], [], color=colour, marker=marker, fillstyle=fill, linewidth=1.1, markersize=4.5, label=name)
        for name, (colour, marker, fill) in LOOK.items()
        if name in there
    ]
