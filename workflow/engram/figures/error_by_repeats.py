"""Figure: how the standard error of a score falls with the number of repeats, and what more of them would bring."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from engram.figures.style import estimator_colours, figure, styled

AHEAD = 8  # times the repeats that were measured: as far as the fall is carried on


@styled
def error_by_repeats(scores: dict[str, xr.Dataset]) -> Figure:
    """`scores` by estimator. Points were measured; the dashed line carries the last one on as 1 / sqrt(L)."""
    drawn = figure(2.6)
    axes = drawn.subplots()
    colours = estimator_colours(scores)
    measured = {name: scored for name, scored in scores.items() if "standard_error_by_repeats" in scored}
    for name, scored in measured.items():
        repeats, error = scored["repeats"].values, scored["standard_error_by_repeats"].values
        axes.plot(repeats, error, "o-", markersize=4, color=colours[name], label=name)
        ahead = np.geomspace(repeats[-1], AHEAD * repeats[-1])
        axes.plot(ahead, error[-1] * np.sqrt(repeats[-1] / ahead), "--", linewidth=1, color=colours[name])
    if measured:
        axes.set_ylabel("standard error\nof a score (nats)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    else:
        axes.text(
            0.5,
            0.5,
            "no error to measure: it takes two repeats,\neach with models of both kinds for every image",
            ha="center",
            transform=axes.transAxes,
        )
    axes.set_xlabel("repeats L")
    return drawn
