"""Figure: log p of highly memorized and regular images, share of highly memorized by log p, and examples of both."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses import density_split as split
from engram.figures.labels import in_nats
from engram.figures.style import COLOUR, figure, show_image, styled
from engram.files.inputs import images, last
from engram.scores.quantities import HIGH_QUANTILE

EXAMPLES = 8


@styled
def density_split(analysis: xr.Dataset, scores: dict[str, xr.Dataset], dataset: xr.Dataset) -> Figure:
    """`analysis`: the density_split artifact. The grey span holds the middle nine tenths of all images."""
    drawn = figure(5)
    panels = drawn.subplots(3, len(scores), squeeze=False, height_ratios=(3, 2.2, 1.5), sharey="row")
    for (top, middle, bottom), (name, score) in zip(panels.T, scores.items(), strict=True):
        here = analysis.sel(estimator=name)
        edge, log_p_in, high = here["log_p_in_edge"].values, last(score, "log_p_in"), here["high"].values.astype(bool)
        top.axvspan(*np.quantile(log_p_in, split.ORDINARY), color="0.92", linewidth=0, zorder=0)
        _counts(top, here, edge)
        _shares(middle, here, edge)
        _examples(bottom, log_p_in, high, edge, lambda i, of=score: images(dataset, of["sample"].values[[i]])[0])
        top.set_title(name)
        top.sharex(middle)
        top.tick_params(labelbottom=False)
        middle.set(xlim=(edge[0], edge[-1]), xlabel=in_nats("log p when trained on, U", {name: score}))
        middle.locator_params(axis="x", nbins=5)
    panels[0, 0].set_ylabel("images")
    panels[1, 0].set_ylabel("share that is\nhighly memorized")
    drawn.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    for y, kind in ((0.5, "regular"), (1.56, "high")):
        panels[2, 0].text(-0.1, y, kind, ha="right", va="center", color=COLOUR[kind], fontsize=7.5)
    return drawn


def _counts(axes: Axes, here: xr.Dataset, edge: np.ndarray) -> None:
    """Stacked as in the paper: regular images, highly memorized ones above them, with their number."""
    middle, width = (edge[1:] + edge[:-1]) / 2, np.diff(edge)
    count, count_high = here["count"].values, here["count_high"].values
    axes.bar(middle, count - count_high, width, color=COLOUR["regular"], alpha=0.55, label="regular")
    bars = axes.bar(
        middle, count_high, width, count - count_high, color=COLOUR["high"], label="high (highest 5 % of M)"
    )
    axes.bar_label(bars, [f"{number:,}" for number in count_high], padding=2, fontsize=5.5, rotation=90)
    axes.set_ylim(0, 1.15 * max(count.max(), axes.get_ylim()[1] / 1.05))
    axes.yaxis.set_major_formatter("{x:,.0f}")


def _shares(axes: Axes, here: xr.Dataset, edge: np.ndarray) -> None:
    middle, share = (edge[1:] + edge[:-1]) / 2, here["share_high"].values
    errors = np.abs(np.stack([here["share_high_low"].values, here["share_high_high"].values]) - share)
    axes.bar(middle, share, np.diff(edge), color=COLOUR["high"], alpha=0.6)
    axes.errorbar(middle, share, errors, fmt="none", ecolor="0.3", elinewidth=0.8)
    axes.axhline(1 - HIGH_QUANTILE, color="black", linewidth=0.7, linestyle=":")
    axes.set_ylim(0, 1)


def _examples(axes: Axes, log_p_in: np.ndarray, high: np.ndarray, edge: np.ndarray, image_of) -> None:
    """In each eighth of the range of U, the image of either kind nearest to its middle."""
    width = (edge[-1] - edge[0]) / EXAMPLES
    for position in range(EXAMPLES):
        away = np.abs(log_p_in - (edge[0] + (position + 0.5) * width))
        for row, members in enumerate((~high, high)):
            candidates = np.where(members, away, np.inf)
            if candidates.min() < width / 2:
                left, bottom = position + 0.04, 1.06 * row
                show_image(axes, image_of(int(candidates.argmin())), (left, left + 0.92, bottom, bottom + 1))
    axes.set(xlim=(0, EXAMPLES), ylim=(0, 2.1))
    axes.axis("off")
