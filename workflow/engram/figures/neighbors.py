"""Figure: does the nearest-neighbour ratio rho see memorization? Correct, and as published."""

from itertools import pairwise

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses.bins import round_edges
from engram.figures import johnson_su
from engram.figures.labels import SCORE, in_nats
from engram.figures.style import COLOUR, density, estimator_colours, figure, styled
from engram.files.inputs import last
from engram.scores import intervals
from engram.scores.quantities import highly_memorized

MOST_BINS = 30  # of M; on the paper's MNIST they are 2 nats wide, as there
FEWEST = 3  # images in a bin whose mean is drawn
MEANS, RATIOS = (0.75, 1.5), (0.6, 1.6)  # the paper's axes, the least that is shown


@styled
def neighbors(analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> Figure:
    """`analysis`: the neighbors artifact. One row per estimator; the last row repeats both slips of the reference code."""
    rows = [(name, name, False) for name in scores]
    imitated = "published" if "published" in scores else next(iter(scores))
    rows.append(("rho as published", imitated, True))
    drawn = figure(2.3 * len(rows))
    panels = drawn.subplots(len(rows), 2, squeeze=False, width_ratios=(3, 2))
    colours = estimator_colours(scores)
    for (left, right), (title, name, as_published) in zip(panels, rows, strict=True):
        suffix = "_as_published" if as_published else ""
        rho, score = analysis[f"rho{suffix}"].values, last(scores[name])
        _bin_means(left, score, rho, colours[name])
        left.set_xlabel(in_nats(SCORE, {name: scores[name]}))
        correlation = intervals.read(analysis.sel(estimator=name), f"spearman{suffix}")
        left.set_title(f"{title}: rank correlation {correlation.text()}", loc="left")
        _histograms(right, rho, highly_memorized(score, as_published), "M > 0.95 nats" if as_published else "M > q95")
    return drawn


def _bin_means(axes: Axes, score: np.ndarray, rho: np.ndarray, colour: str) -> None:
    edges = round_edges(score, MOST_BINS, outer=0.001)
    members = [np.isfinite(rho) & (score > low) & (score <= high) for low, high in pairwise(edges)]
    means = np.array([intervals.mean(rho[m]) if m.sum() >= FEWEST else (np.nan,) * 3 for m in members])
    middle = (edges[1:] + edges[:-1]) / 2
    errors = np.abs(means[:, 1:].T - means[:, 0])
    axes.errorbar(middle, means[:, 0], errors, fmt="o", markersize=3, color=colour, ecolor="0.6", elinewidth=0.9)
    axes.axhline(1, color="black", linewidth=0.7, linestyle=":")
    axes.set_ylabel("mean of rho")
    low, high = np.nanmin(means[:, 0], initial=MEANS[0]), np.nanmax(means[:, 0], initial=MEANS[1])
    axes.set_ylim(low - 0.05, high + 0.05)  # an interval of few images may leave the axes


def _histograms(axes: Axes, rho: np.ndarray, high: np.ndarray, rule: str) -> None:
    finite = np.isfinite(rho)
    bins = int(np.clip(2 * np.sqrt(min(high.sum(), (~high).sum())), 8, 100))
    low, top = np.quantile(rho[finite], [0.005, 0.995]) if finite.any() else RATIOS
    edges = np.linspace(min(low, RATIOS[0]), max(top, RATIOS[1]), bins + 1)
    for kind, members, title in (("regular", ~high & finite, "regular"), ("high", high & finite, rule)):
        density(axes, rho[members], edges, COLOUR[kind], f"{title}: {members.sum():,}")
        if johnson_su.can_fit(rho[members]):
            x = np.linspace(edges[0], edges[-1], 400)
            axes.plot(x, johnson_su.curve(johnson_su.fit(rho[members]), x), color=COLOUR[kind], linewidth=1)
    axes.axvline(1, color="black", linewidth=0.7, linestyle=":")
    axes.set(xlabel="distance ratio rho", ylabel="density")
    axes.set_ylim(top=1.4 * axes.get_ylim()[1])  # room for the legend
    axes.legend()
