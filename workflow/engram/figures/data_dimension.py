"""Figure: the local dimension of the data, its relation to the score, and the images where it is lowest and highest."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from engram.catalogue import DATA_DIMENSIONS
from engram.figures.grids import highest, lowest
from engram.figures.labels import SCORE, in_nats
from engram.figures.style import (
    CAPTION_LINE,
    TILES,
    class_name,
    estimator_colours,
    figure,
    show_images,
    spread_out,
    styled,
)
from engram.files.inputs import images, last
from engram.scores import intervals

SHOWN = "lid_data"
COLOURS = dict(zip(DATA_DIMENSIONS, ("#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7"), strict=True))
BINS = 40
MIDDLE = [0.05, 0.5, 0.95]  # quantiles between which bars run, and their middle


@styled
def data_dimension(analysis: xr.Dataset, scores: dict[str, xr.Dataset], dataset: xr.Dataset) -> Figure:
    """`analysis`: the data_dimension artifact. Estimates above, beside the truth where it is known; then scores; then images."""
    lacking = json.loads(analysis.attrs["lacking"])
    there = [name for name in DATA_DIMENSIONS if name not in lacking]
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    strip = 0.4 + 0.9 * (height / width + 2 * CAPTION_LINE)
    drawn = figure(5 + strip if there else 1)
    if not there:
        drawn.text(0.01, 0.5, f"No dimension of the data: {lacking[SHOWN]}.")
        return drawn
    top, middle, bottom = drawn.subfigures(3, 1, height_ratios=(2.6, 2.4, strip))
    _estimates(top, analysis, there, lacking)
    _against_scores(middle, analysis, scores)
    _pictures(bottom.subplots(), analysis, scores, dataset)
    return drawn


def _estimates(part: SubFigure, analysis: xr.Dataset, there: list[str], lacking: dict[str, str]) -> None:
    left, right = part.subplots(1, 2, width_ratios=(3, 2))
    draw = _truth if "known_dimension" in analysis else _distributions
    draw(left, analysis, there)
    left.legend(fontsize=6.5)
    neighbours = analysis["neighbours"].values
    right.plot(neighbours, analysis["pooled_dimension"].values, "o-", color=COLOURS[SHOWN], markersize=3)
    right.set(xscale="log", xlabel="neighbours", ylabel="dimension of all images", title="By the scale it is seen at")
    right.set_xticks(neighbours, [str(each) for each in neighbours])
    right.minorticks_off()
    right.set_ylim(bottom=0)
    for row, (name, why_not) in enumerate(lacking.items()):
        right.text(0, 0.05 + 0.09 * row, f"{DATA_DIMENSIONS[name]}: {why_not}", fontsize=5.5, transform=right.transAxes)


def _distributions(axes: Axes, analysis: xr.Dataset, there: list[str]) -> None:
    """Of each estimate over all images; those beyond the 99th percentile of all are counted in the last bin."""
    values = {name: analysis[name].values for name in there}
    finite = [each[np.isfinite(each)] for each in values.values()]
    largest = max((np.quantile(each, 0.99) for each in finite if len(each)), default=1)
    edges = np.linspace(0, np.ceil(largest), BINS + 1)
    for name, each in values.items():
        look = {"color": COLOURS[name], "label": f"{DATA_DIMENSIONS[name]}, median {np.median(each):.1f}"}
        axes.hist(each.clip(max=edges[-1]), edges, histtype="step", linewidth=1.2, **look)
    axes.set(xlabel="local dimension of the data", ylabel="images", title="Estimates", xlim=(0, edges[-1]))


def _truth(axes: Axes, analysis: xr.Dataset, there: list[str]) -> None:
    """Median and middle nine tenths of the estimates at the images of each known dimension, and that dimension."""
    dimensions, truth = analysis["known_dimension"].values, analysis["dimension"].values
    place = np.arange(len(dimensions))
    axes.hlines(dimensions, place - 0.45, place + 0.45, color="0.6", linewidth=0.9, linestyle=":")
    for number, name in enumerate(there):
        values = analysis[name].values
        low, median, high = np.array(
            [np.quantile(values[truth == each], MIDDLE, method="nearest") for each in dimensions]
        ).T
        beside = place + 0.13 * (number - (len(there) - 1) / 2)
        error = np.sqrt(np.nanmean((values - truth) ** 2))
        axes.vlines(beside, low, high, color=COLOURS[name], linewidth=1)
        axes.plot(beside, median, "o", color=COLOURS[name], markersize=3.5, label=_told(name, error))
    axes.set_xticks(
        place, [f"{each:g}\n({count})" for each, count in zip(dimensions, analysis["images"].values, strict=True)]
    )
    axes.set(xlabel="known dimension (images)", ylabel="local dimension of the data", title="Estimate and truth")
    axes.set_ylim(bottom=0)


def _told(name: str, error: float) -> str:
    return f"{DATA_DIMENSIONS[name]}, r.m.s. error {error:.2g}"


def _against_scores(part: SubFigure, analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> None:
    colours = estimator_colours(scores)
    panels = part.subplots(1, len(scores), squeeze=False, sharey=True)[0]
    for axes, (name, score) in zip(panels, scores.items(), strict=True):
        look = {"markersize": 2.5, "alpha": 0.6, "color": colours[name], "rasterized": True}
        axes.plot(last(score), analysis[SHOWN], ".", **look)
        spread_out(axes, "x", last(score))
        correlation = intervals.read(analysis.sel(estimator=name, measure=SHOWN), "spearman")
        axes.set(xlabel=in_nats(SCORE, {name: score}), title=f"{name}: rank correlation\n{correlation.text()}")
    panels[0].set_ylabel(f"dimension of the data,\n{DATA_DIMENSIONS[SHOWN]}")


def _pictures(axes: Axes, analysis: xr.Dataset, scores: dict[str, xr.Dataset], dataset: xr.Dataset) -> None:
    """Two rows: the images of lowest and of highest dimension, with class and dimension above each."""
    values, label = analysis[SHOWN].values, next(iter(scores.values()))["label"].values
    rows = {"lowest": lowest(values)[:TILES], "highest": highest(values)[:TILES]}
    chosen = np.concatenate([*rows.values()])
    captions = [f"{class_name(dataset.attrs, label[i])}\n{values[i]:.1f}".strip() for i in chosen]
    shown = images(dataset, analysis["sample"].values[chosen])
    tops = show_images(axes, shown, captions, columns=min(TILES, len(values)))
    for top, title in zip(tops, rows, strict=True):
        axes.text(-0.25, top - 0.5, title, ha="right", va="center", fontsize=7.5, rotation=90)
