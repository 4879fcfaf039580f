"""Figure: distribution of the score at the last epoch, by estimator, with a Johnson-SU fit and its null's quantiles."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures import johnson_su
from engram.figures.labels import SCORE, in_nats
from engram.figures.style import COLOUR, density, equal_edges, estimator_colours, figure, styled
from engram.files.inputs import last, null_quantile

LEVELS = (0.5, 0.95, 0.999)
RULERS = "Below: dot, bar and arrow are the median, 0.95 and 0.999 quantiles"
BINS, TAIL_BINS = 60, 80
MOST_OUTER = 0.005  # share of scores on each side that only the logarithmic panel shows in its place


@styled
def score_histogram(scores: dict[str, xr.Dataset]) -> Figure:
    """`scores` by estimator. Top: most of the scores; below them all, on a logarithmic scale; then quantiles, and the null's."""
    drawn = figure(4.9)
    panels = drawn.subplots(3, len(scores), height_ratios=(5, 3, 1), squeeze=False)
    colours = estimator_colours(scores)
    most = common_edges([last(scored) for scored in scores.values()], BINS, MOST_OUTER)
    full_range = common_edges([last(scored) for scored in scores.values()], TAIL_BINS, outer=0)
    for (upper, tails, lower), (name, scored) in zip(panels.T, scores.items(), strict=True):
        score = last(scored)
        density(upper, score, most, colours[name])
        fitted = johnson_su.fit(score) if johnson_su.can_fit(score) else None
        if fitted:
            x, label = np.linspace(most[0], most[-1], 400), f"Johnson SU fit\n{johnson_su.words(fitted)}"
            upper.plot(x, johnson_su.curve(fitted, x), color=colours[name], label=label)
            upper.legend(loc="upper right", handlelength=1)
        upper.axvline(0, color="black", linewidth=0.6)
        upper.set(title=name)
        upper.set_ylim(top=1.3 * upper.get_ylim()[1])  # room for the legend
        _tails(tails, score, full_range, fitted, colours[name])
        tails.sharex(lower)
        tails.tick_params(labelbottom=False)
        quantile_rulers(lower, {"observed": (scored, colours[name])})
        lower.set_xlim(full_range[0], full_range[-1])
    panels[0, 0].set_ylabel("density (1/nat)")
    panels[1, 0].set_ylabel("density (1/nat),\nall images")
    drawn.supxlabel(f"{in_nats(SCORE, scores)}. {RULERS}", fontsize=8)
    return drawn


def common_edges(scores: list[np.ndarray], bins: int = BINS, outer: float = 0.001) -> np.ndarray:
    """Histogram edges over all scores but a share `outer` on each side (in nats)."""
    limits = [np.quantile(score, [outer, 1 - outer]) for score in scores]
    return equal_edges(min(low for low, _ in limits), max(high for _, high in limits), bins)


def quantile_rulers(axes: Axes, rows: dict[str, tuple[xr.Dataset, str]]) -> None:
    """One line per label from median to 0.999 quantile, ticked at 0.95; under each, in grey, that of its null."""
    rulers = []
    for label, (scored, colour) in rows.items():
        rulers.append((label, np.quantile(last(scored), LEVELS), colour))
        null = [null_quantile(scored, level) for level in LEVELS]
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


def _tails(axes: Axes, score: np.ndarray, edges: np.ndarray, fitted: tuple | None, colour: str) -> None:
    """On a logarithmic scale that ends below the density of a single image."""
    density(axes, score, edges, colour)
    if fitted:
        x = np.linspace(edges[0], edges[-1], 2000)
        axes.plot(x, johnson_su.curve(fitted, x), color=colour)
    one_image = 1 / (len(score) * (edges[1] - edges[0]))
    axes.set(yscale="log", ylim=(one_image / 3, None))
    axes.axvline(0, color="black", linewidth=0.6)
