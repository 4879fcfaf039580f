"""Figure: the images on which a measure and the score disagree most."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures.agreement import rising
from engram.figures.style import WIDTH, figure, show_image, styled
from engram.files.inputs import images

TITLES = ("higher by the score M", "higher by the measure")
GAP = 0.12  # between tiles, in widths of one
NAMES = 3.6  # room for the measure's title, in widths of a tile
LINE = 0.36  # height of the line under a tile, likewise


@styled
def disagreement(analysis: xr.Dataset, table: xr.Dataset, dataset: xr.Dataset) -> Figure:
    """A row for each measure: images that stand highest by the score as against the measure, and the other way round.

    `analysis`: the agreement artifact; `table`: measures.h5. Under each image stands its score.
    """
    titles, shown = json.loads(table.attrs["titles"]), rising(analysis).isel(measure=slice(None, None, -1))
    shown = shown.isel(measure=np.isfinite(shown["spearman"].values))  # a constant measure ranks no images
    score = dict(zip(table["sample"].values.tolist(), table["score"].values.tolist(), strict=True))
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    tall, count = height / width, analysis.sizes["rank"]
    across = NAMES + 2 * count * (1 + GAP) + 0.6
    drawn = figure((1.2 + shown.sizes["measure"] * (tall + LINE)) * WIDTH / across)
    axes = drawn.subplots()
    for side, title in enumerate(TITLES):
        axes.text(_left(side, 0, count), 0.12, title, fontsize=8, weight="bold", va="bottom")
    for row, name in enumerate(shown["measure"].values.tolist()):
        top = -row * (tall + LINE)
        axes.text(0, top - tall / 2, titles[name].replace(": ", ":\n"), fontsize=7, va="center", wrap=True)
        for side, rank in np.ndindex(len(TITLES), count):
            image = int(shown["disagreement"].sel(measure=name).values[side, rank])
            if image >= 0:
                _tile(axes, images(dataset, np.array([image]))[0], _left(side, rank, count), top, tall, score[image])
    axes.set(xlim=(0, across), ylim=(-shown.sizes["measure"] * (tall + LINE), 1))
    axes.set_aspect("equal")
    axes.axis("off")
    return drawn


def _left(side: int, rank: int, count: int) -> float:
    return NAMES + side * (count * (1 + GAP) + 0.5) + rank * (1 + GAP)


def _tile(axes: Axes, image: np.ndarray, left: float, top: float, tall: float, score: float) -> None:
    show_image(axes, image, (left, left + 1, top - tall, top))
    axes.text(left + 0.5, top - tall - 0.03, f"{score:z.1f}", fontsize=5.5, ha="center", va="top")
