"""Figure: estimators side by side, from the same models: distributions with their nulls, image by image, a table."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures.labels import SCORE, in_nats
from engram.figures.score_histogram import RULERS, common_edges, quantile_rulers
from engram.figures.style import density, estimator_colours, figure, spread_out, styled
from engram.files.inputs import last
from engram.scores import intervals
from engram.scores.summary import summarize


@styled
def comparison(scores: dict[str, xr.Dataset]) -> Figure:
    """`scores` by estimator; the scatter compares the first two."""
    drawn = figure(4.6)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(3.3, 0.55 + 0.2 * len(scores)))
    panels = top.subplot_mosaic(
        [["histogram", "scatter"], ["rulers", "scatter"]], height_ratios=(3, 1), width_ratios=(3, 2)
    )
    colours = estimator_colours(scores)
    histogram, rulers, scatter = (panels[name] for name in ("histogram", "rulers", "scatter"))
    edges = common_edges([last(scored) for scored in scores.values()])
    for name, scored in scores.items():
        density(histogram, last(scored), edges, colours[name], name)
    histogram.set_ylabel("density (1/nat)")
    histogram.tick_params(labelbottom=False)
    histogram.legend()
    quantile_rulers(rulers, {name: (scored, colours[name]) for name, scored in scores.items()})
    rulers.set_xlabel(f"{in_nats(SCORE, scores)}.\n{RULERS}")
    histogram.sharex(rulers)
    _scatter(scatter, scores)
    _table(bottom.subplots(), scores)
    return drawn


def _scatter(axes: Axes, scores: dict[str, xr.Dataset]) -> None:
    if len(scores) < 2:
        axes.axis("off")
        return
    x_label, y_label = (in_nats(f"M, {name}", {name: scored}) for name, scored in [*scores.items()][:2])
    x, y = (last(scored) for scored in [*scores.values()][:2])
    axes.plot(x, y, ".", markersize=2.5, alpha=0.5, color="0.25", rasterized=True)
    limits = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
    limits += 0.03 * (np.ptp(limits) or 1) * np.array([-1, 1])
    axes.plot(limits, limits, color="black", linewidth=0.7, linestyle=":")
    axes.set(xlabel=x_label, ylabel=y_label, xlim=limits, ylim=limits, box_aspect=1)
    spread_out(axes, "xy", x, y)
    axes.set_title(f"rank correlation {intervals.spearman(x, y).text()}")


def _table(axes: Axes, scores: dict[str, xr.Dataset]) -> None:
    rows = {name: summarize(scored) for name, scored in scores.items()}
    headings = list(next(iter(rows.values())))
    table = axes.table(
        [list(row.values()) for row in rows.values()],
        rowLabels=list(rows),
        colLabels=headings,
        cellLoc="center",
        loc="center",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(7.5)
    table.auto_set_column_width(range(-1, len(headings)))
    for cell in table.get_celld().values():
        cell.set_linewidth(0.3)
    axes.axis("off")
