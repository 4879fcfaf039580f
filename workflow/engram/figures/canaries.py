"""Figure: how well measures find planted images, and how they rise with the number of copies."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses.canaries import SCORE
from engram.datasets.canaries import COPY, KINDS, NEAR_COPY, ORDINARY
from engram.figures.style import CAPTION_LINE, TILES, figure, show_images, styled
from engram.files.inputs import images
from engram.scores import intervals

COLOURS = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7"  # the score's, and the leading measures'
LEADING = len(COLOURS) - 1
ROW, LEAST_ROWS = 0.17, 18  # inches, and rows that leave room for the curves
EXAMPLES = TILES // (len(KINDS) + 1)  # of each kind, and of ordinary images


@styled
def canaries(analysis: xr.Dataset, table: xr.Dataset, dataset: xr.Dataset) -> Figure:
    """`analysis`: the canaries artifact; `table`: measures.h5. Pictures above, areas on the left, dose response on the right.

    Measures without values are left out.
    """
    titles = {SCORE: "score M", **json.loads(table.attrs["titles"])}
    analysis = falling(analysis)
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    strip = 0.1 + 0.45 * (height / width + 2 * CAPTION_LINE)
    body = 0.8 + ROW * max(LEAST_ROWS, analysis.sizes["measure"])
    drawn = figure(strip + body)
    above, below = drawn.subfigures(2, 1, height_ratios=(strip, body))
    _pictures(above.subplots(), dataset)
    areas, doses = below.subplots(1, 2, width_ratios=(2.4, 2))
    _areas(areas, analysis, titles)
    _doses(doses, analysis, titles)
    return drawn


def falling(analysis: xr.Dataset) -> xr.Dataset:
    """The measures that have an area, the score first, the others by their mean area over the kinds of canary."""
    area = analysis["area"].values
    there = ~np.isnan(area).all(axis=1)
    mean = np.nanmean(area[there], axis=1)
    mean[analysis["measure"].values[there] == SCORE] = np.inf
    return analysis.isel(measure=np.flatnonzero(there)[np.argsort(-mean, kind="stable")])


def _pictures(axes: Axes, dataset: xr.Dataset) -> None:
    shown = [row for kind in (ORDINARY, *KINDS) for row in _examples(dataset, kind)]
    show_images(axes, images(dataset, np.array(shown)), [_caption(dataset, row) for row in shown])


def _examples(dataset: xr.Dataset, kind: str) -> list[int]:
    """Indices of different training images of a kind: copies of the highest dose, and of a near copy both versions."""
    there = (dataset["canary"].values == kind) & (dataset["split"].values == 0)
    group, dose = dataset["group"].values, dataset["dose"].values
    if kind == NEAR_COPY:
        rows = np.flatnonzero(there)
        return rows[np.argsort(group[rows], kind="stable")][: EXAMPLES - EXAMPLES % 2].tolist()
    if kind == COPY:
        rows = np.flatnonzero(there & (dose == dose[there].max(initial=0)))
        first = np.unique(group[rows], return_index=True)[1] if (group[rows] >= 0).all() else np.arange(len(rows))
        return rows[first][:EXAMPLES].tolist()
    return np.flatnonzero(there)[:EXAMPLES].tolist()


def _caption(dataset: xr.Dataset, row: int) -> str:
    kind, dose = str(dataset["canary"].values[row]), int(dataset["dose"].values[row])
    return f"{kind}\n{dose} times" if kind == COPY else f"{kind or 'ordinary'}\n"


def _areas(axes: Axes, analysis: xr.Dataset, titles: dict[str, str]) -> None:
    area, names = analysis["area"].values, analysis["measure"].values.tolist()
    if not area.size:
        axes.set_title("No canary is scored.", loc="left")
        axes.axis("off")
        return
    axes.imshow(area, cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(area.shape):
        value = intervals.read(analysis.isel(measure=row, kind=column), "area")
        weight = "bold" if value.low > 0.5 or value.high < 0.5 else "normal"
        colour = "white" if abs(value.estimate - 0.5) > 0.35 else "black"
        text = "-" if np.isnan(value.estimate) else f"{value.estimate:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, weight=weight, color=colour)
    axes.set_yticks(range(len(names)), [titles[name] for name in names], fontsize=7)
    kinds = zip(analysis["kind"].values, analysis["planted"].values, strict=True)
    axes.set_xticks(range(area.shape[1]), [f"{kind}\n({count})" for kind, count in kinds], fontsize=7)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("area under the curve, canaries (so many images)\nagainst ordinary training images")


def _doses(axes: Axes, analysis: xr.Dataset, titles: dict[str, str]) -> None:
    """Median rank by dose: lines for copies, and where near copies were planted open markers beside them."""
    dose = analysis["dose"].values
    names = analysis["measure"].values.tolist()[: LEADING + 1]
    for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        for kind, beside in ((COPY, 1.0), (NEAR_COPY, 1.22)):
            of_kind = analysis.sel(measure=name, copies=kind)
            rank, ends = of_kind["rank"].values, np.array([of_kind["rank_low"].values, of_kind["rank_high"].values])
            place = dose * beside * 2 ** (0.03 * (number - LEADING / 2))  # so that intervals do not hide one another
            look = {"marker": "o", "markersize": 4, "label": titles[name]} if kind == COPY else {"marker": "D"}
            look |= {"linestyle": "-" if kind == COPY else "none", "color": colour}
            axes.plot(place, rank, **look | ({"fillstyle": "none", "markersize": 4} if kind == NEAR_COPY else {}))
            axes.vlines(place, *ends, color=colour, linewidth=0.7)
    axes.axhline(0.5, color="black", linewidth=0.7, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_xticks(dose, [f"{each}" for each in dose])
    axes.set(ylim=(-0.02, 1.02), xlabel="times in the training set")
    axes.set_ylabel("median share of\nordinary images below")
    axes.set_box_aspect(1)
    axes.set_anchor("N")
    axes.plot([], [], marker="D", fillstyle="none", linestyle="none", color="#666666", markersize=4, label=NEAR_COPY)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
