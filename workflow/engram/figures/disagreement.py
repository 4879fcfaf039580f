"""Figure: the images on which a measure and the score disagree most."""

import json

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from engram.figures.agreement import rising
from engram.figures.style import WIDTH, figure, styled
from engram.files.inputs import images

TITLES = ("higher by the score M", "higher by the measure")
# In widths of a tile: between two tiles, between the two halves, for the measure's title, and under a tile.
GAP, HALVES, NAMES, LINE = 0.12, 0.5, 3.6, 0.36
ABOVE = 1.0


@styled
def disagreement(analysis: xr.Dataset, table: xr.Dataset, dataset: xr.Dataset) -> Figure:
    """A row for each measure: images that stand highest by the score as against the measure, and the other way round.

    `analysis`: the agreement artifact; `table`: measures.h5. Under each image stands its score.
    """
    titles, shown = json.loads(table.attrs["titles"]), rising(analysis).isel(measure=slice(None, None, -1))
    shown = shown.isel(measure=np.isfinite(shown["spearman"].values))  # a constant measure ranks no images
    score = dict(zip(table["sample"].values.tolist(), table["score"].values.tolist(), strict=True))
    names, chosen = shown["measure"].values.tolist(), shown["disagreement"].values
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    corners = _corners(chosen.shape, height, width)
    across, down = NAMES * width + corners[..., 1].max(initial=0) + width, len(names) * (height + LINE * width)
    drawn = figure((ABOVE * width + down) * WIDTH / across + 0.2)
    axes = drawn.subplots()
    if names:
        tiles = _mosaic(chosen, corners, dataset)
        extent = (NAMES * width, NAMES * width + tiles.shape[1], tiles.shape[0], 0)
        axes.imshow(tiles, extent=extent, interpolation="nearest", aspect="auto")
    for row, name in enumerate(names):
        middle = corners[row, 0, 0, 0] + height / 2
        axes.text(0, middle, titles[name].replace(": ", ":\n"), fontsize=7, va="center")
    for side, title in enumerate(TITLES if names else ()):
        axes.text(NAMES * width + corners[0, side, 0, 1], -0.15 * width, title, fontsize=8, weight="bold", va="bottom")
    for place in zip(*np.nonzero(chosen >= 0), strict=True):
        top, left = corners[place]
        below = NAMES * width + left + width / 2, top + height + 0.03 * width
        axes.text(*below, f"{score[int(chosen[place])]:z.1f}", fontsize=5.5, ha="center", va="top")
    axes.set(xlim=(0, across), ylim=(down, -ABOVE * width))
    axes.axis("off")
    return drawn


def _corners(shape: tuple[int, int, int], height: int, width: int) -> np.ndarray:
    """Top and left pixel of every tile, (measures, 2 sides, ranks, 2)."""
    row, side, rank = np.indices(shape)
    beside, below = width + max(1, round(GAP * width)), height + max(1, round(LINE * width))
    return np.stack([row * below, side * (shape[2] * beside + round(HALVES * width)) + rank * beside], axis=-1)


def _mosaic(chosen: np.ndarray, corners: np.ndarray, dataset: xr.Dataset) -> np.ndarray:
    """All tiles on white, as one picture (height, width, 3): matplotlib is slow at many small ones."""
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    last_top, last_left = corners.reshape(-1, 2).max(axis=0)
    canvas = np.ones((last_top + height, last_left + width, 3), dtype=np.float32)
    for place in zip(*np.nonzero(chosen >= 0), strict=True):
        top, left = corners[place]
        image = np.moveaxis(images(dataset, chosen[place][None])[0], 0, -1)
        canvas[top : top + height, left : left + width] = (
            image if image.shape[-1] == 3 else image.mean(-1, keepdims=True)
        )
    return canvas
