"""Figure: distribution of the score at the last epoch, by estimator, with a Johnson-SU fit and its null's quantiles."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from engram.figures.style import COLOUR, density, estimator_colours, figure, styled
from engram.inputs import last, null_quantile

LEVELS = (0.5, 0.95, 0.999)
RULER_LABEL = "memorization score M (nats). Below: dot, bar and arrow are the median, 0.95 and 0.999 quantiles"


@styled
def score_histogram(scores: dict[str, xr.Dataset]) -> Figure:
    """`scores` by estimator. Below each histogram its median, 0.95 and 0.999 quantiles, and those of its null."""
    drawn = figure(3.1)
    panels = drawn.subplots(2, len(scores), sharex=True, height_ratios=(5, 1), squeeze=False)
    colours = estimator_colours(scores)
    edges = common_edges([last(found) for found in scores.values()])
    for (upper, lower), (name, found) in zip(panels.T, scores.items(), strict=True):
        score = last(found)
        density(upper, score, edges, colours[name])
        x = np.linspace(edges[0], edges[-1], 400)
        upper.plot(x, _johnson_su(score, x), color=colours[name], label="Johnson SU fit")
        upper.axvline(0, color="black", linewidth=0.6)
        upper.set(title=name)
        upper.legend(loc="upper right")
        quantile_rulers(lower, {"observed": (found, colours[name])})
    panels[0, 0].set_ylabel("density (1/nat)")
    drawn.supxlabel(RULER_LABEL, fontsize=8)
    return drawn


def common_edges(scores: list[np.ndarray], bins: int = 60) -> np.ndarray:
    """Histogram edges over all scores but the outermost thousandth on each side (in nats)."""
    limits = [np.quantile(score, [0.001, 0.999]) for score in scores]
    return np.linspace(min(low for low, _ in limits), max(high for _, high in limits), bins + 1)


def quantile_rulers(axes: Axes, rows: dict[str, tuple[xr.Dataset, str]]) -> None:
    """One line per label from median to 0.999 quantile, ticked at 0.95; under each, in grey, that of its null."""
    rulers = []
    for label, (found, colour) in rows.items():
        rulers.append((label, np.quantile(last(found), LEVELS), colour))
        null = [null_quantile(found, level) for level in LEVELS]
        if None not in null:
            rulers.append(("null", np.array(null), COLOUR["null"]))
    for y, (_, (median, q95, q999), colour) in enumerate(rulers):
        axes.plot([median, q999], [y, y], color=colour, linewidth=1)
        axes.plot([median], [y], "o", color=colour, markersize=4)
        axes.plot([q95], [y], "|", color=colour, markersize=9, markeredgewidth=1.8)
        axes.plot([q999], [y], ">", color=colour, markersize=4)
    axes.set(yticks=range(len(rulers)), yticklabels=[label for label, *_ in rulers], ylim=(len(rulers) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _johnson_su(score: np.ndarray, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # the optimizer tries parameters at which the density overflows
        return stats.johnsonsu.pdf(x, *stats.johnsonsu.fit(score))
