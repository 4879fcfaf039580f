"""Figure: what ways of prevention make of the same noise, and copies among samples against distances from real images."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses.copying import COPY
from engram.figures.style import CAPTION_LINE, COLOUR, TILES, figure, only_text, show_image, styled

# Of each way: colour, and of its control, which has the same one, dashes.
LOOK = {
    "rejection": (COLOUR["corrected"], "-"),
    "rejection at random": (COLOUR["corrected"], (0, (1, 1.5))),
    "guidance": (COLOUR["held_out"], "-"),
    "guidance at random": (COLOUR["held_out"], (0, (1, 1.5))),
    "embedding": (COLOUR["train"], "-"),
    "embedding at random": (COLOUR["train"], (0, (1, 1.5))),
}
# Single settings, as markers.
MARKERS = {
    "none": ("black", "o", "no prevention"),
    "without class": (COLOUR["train"], "s", "without class"),
    "rejection by held-out images": (COLOUR["corrected"], "D", "rejection by held-out images"),
    "real images": (COLOUR["null"], "*", "real images in their place"),
}
NEXT = 1.12  # from a tile to the next, in widths of a tile
# Variables of each panel, x and y.
PANELS = ("distance", "copies"), ("distance", "near_copies"), ("coverage", "copies")
LABELS = {
    "copies": "copies per 1,000 samples",
    "near_copies": "copies and near copies",
    "distance": "samples to the nearest real image",
    "coverage": "real images to the nearest of 100 samples",
}


@styled
def prevention(analysis: xr.Dataset, dataset: xr.Dataset) -> Figure:
    """`analysis`: the prevention artifact. Pictures above, and below copies against distances; or why there is nothing."""
    lacking = json.loads(analysis.attrs.get("lacking", "{}"))
    if lacking:
        return only_text(f"No prevention: {next(iter(lacking.values()))}.")
    channels, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    row = height / width + CAPTION_LINE
    of_pictures = 0.35 + 0.43 * row * analysis.sizes["row"]
    drawn = figure(of_pictures + 3.2)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(of_pictures, 3.2))
    _pictures(top.subplots(), analysis, (channels, height, width), row)
    panels = bottom.subplots(1, len(PANELS))
    for axes, (x, y) in zip(panels, PANELS, strict=True):
        _trade_off(axes, analysis, x, y)
        axes.set(xlabel=f"distance of {LABELS[x]}".replace(" to ", "\nto "), ylabel=LABELS[y], ylim=(-20, 1020))
    bottom.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


def _pictures(axes: Axes, analysis: xr.Dataset, shape: tuple[int, int, int], row: float) -> None:
    axes.set_title("Samples from the same noise", loc="left")
    labels = TILES - analysis.sizes["shown"] * NEXT
    for number, title in enumerate(analysis["shown_row"].values):
        top = -number * row
        axes.text(labels - 0.3, top - shape[1] / shape[2] / 2, title, ha="right", va="center", fontsize=7)
        for place, pixels in enumerate(analysis["picture"].values[number]):
            left, ratio = labels + place * NEXT, float(analysis["shown_ratio"].values[number, place])
            image = pixels.reshape(shape).astype(np.float32) / 255
            show_image(axes, image, (left, left + 1, top - shape[1] / shape[2], top))
            if np.isfinite(ratio):
                weight = "bold" if ratio < COPY else "normal"
                below = top - shape[1] / shape[2] - 0.02
                axes.text(left + 0.5, below, f"{ratio:.2f}", ha="center", va="top", fontsize=5.2, weight=weight)
    axes.set(xlim=(0, TILES), ylim=(-analysis.sizes["row"] * row, 0))
    axes.set_aspect("equal")
    axes.axis("off")


def _trade_off(axes: Axes, analysis: xr.Dataset, x: str, y: str) -> None:
    """One number against another, with the intervals of both: a line for each way over its strengths."""
    ways = analysis["way"].values
    for way, (colour, dashes) in LOOK.items():
        if way in ways:
            of_way = analysis.isel(setting=np.isin(ways, ["none", way]))  # each begins where nothing is prevented
            _points(axes, of_way, x, y, color=colour, linestyle=dashes, marker=".", linewidth=1.2, label=way)
    for way, (colour, marker, label) in MARKERS.items():
        if way in ways:
            of_way = analysis.isel(setting=ways == way)
            style = {"linestyle": "none", "marker": marker, "markersize": 4.5}
            _points(axes, of_way, x, y, color=colour, label=label + _kept(of_way), **style)


def _kept(of_way: xr.Dataset) -> str:
    """What was kept, if not all."""
    kept, drawn = (int(of_way[name].item()) for name in ("kept", "drawn"))
    return "" if kept == drawn else f" ({kept:,} of {drawn:,} kept)"


def _points(axes: Axes, of_way: xr.Dataset, x: str, y: str, **style) -> None:
    axes.plot(of_way[x], of_way[y], **style)
    bars = {"color": style["color"], "linewidth": 0.5, "alpha": 0.6}
    axes.hlines(of_way[y], of_way[f"{x}_low"], of_way[f"{x}_high"], **bars)
    axes.vlines(of_way[x], of_way[f"{y}_low"], of_way[f"{y}_high"], **bars)
