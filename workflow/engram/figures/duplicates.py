"""Figure: copies among the images, or, where there are none, the pairs that are most alike."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures.grids import file_name, files_of
from engram.figures.style import CAPTION_LINE, COLOUR, class_name, figure, show_image, styled
from engram.files.artifacts import TEST
from engram.files.inputs import images

BESIDE, NEXT = 1.04, 2.3  # from a tile to its partner, and from a pair to the next, in widths of a tile
PAIRS = 7  # in a row, for which there is always room, so that tiles are of one size
TITLES = ("Two training images", "A training and a test image")


@styled
def duplicates(analysis: xr.Dataset, dataset: xr.Dataset) -> Figure:
    """`analysis`: the duplicates artifact. A row of pairs within the training set, and one between it and the test set.

    Above each image stand its index and class, and its file where it has one; below a pair the grey levels between the two.
    """
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    rows = [np.flatnonzero(analysis["pair_across"].values == number) for number in range(len(TITLES))]
    rows = [(title, row) for title, row in zip(TITLES, rows, strict=True) if len(row)]
    paths = files_of(dataset)
    above, below = 3 if paths else 2, 2  # lines
    drawn = figure(0.3 + (0.25 + 0.45 * (height / width + (above + below) * CAPTION_LINE)) * max(1, len(rows)))
    for axes, (title, row) in zip(drawn.subplots(max(1, len(rows)), 1, squeeze=False)[:, 0], rows, strict=False):
        axes.set_title(title, loc="left")
        _pairs(axes, analysis.isel(pair=row), dataset, paths, height / width)
        axes.set(xlim=(0, PAIRS * NEXT), ylim=(-height / width - below * CAPTION_LINE, above * CAPTION_LINE))
        axes.set_aspect("equal")
    for axes in drawn.axes:
        axes.axis("off")
    return drawn


def _pairs(axes: Axes, pairs: xr.Dataset, dataset: xr.Dataset, paths: list[str], height: float) -> None:
    for number, (one, other) in enumerate(zip(pairs["pair_one"].values, pairs["pair_other"].values, strict=True)):
        for image, left in ((one, number * NEXT), (other, number * NEXT + BESIDE)):
            show_image(axes, images(dataset, np.array([image]))[0], (left, left + 1, -height, 0))
            part = "test" if dataset["split"].values[image] == TEST else "train"
            lines = [f"{part} {image}", class_name(dataset.attrs, dataset["label"].values[image])]
            caption = "\n".join(filter(None, [file_name(paths[image], image) if paths else "", *lines]))
            colour = COLOUR["held_out" if part == "test" else part]
            style = {"ha": "center", "va": "bottom", "fontsize": 5.2, "linespacing": 0.95}
            axes.text(left + 0.5, 0.04, caption, color=colour, **style)
        distance, copies = (float(pairs[name].values[number]) for name in ("pair_distance", "pair_copies"))
        centre = number * NEXT + (1 + BESIDE) / 2
        words = _apart(distance, int(copies))
        weight = "bold" if copies else "normal"
        axes.text(centre, -height - 0.06, words, ha="center", va="top", fontsize=6, weight=weight, linespacing=0.95)


def _apart(distance: float, copies: int) -> str:
    """What stands below a pair: grey levels, and how many images the group of copies has, if they are copies."""
    if not copies:
        return f"{distance:.2f}"
    kind = "equal" if distance == 0 else f"copies, {distance:.2f}"
    return f"{kind}\n{copies} in all" if copies > 2 else kind
