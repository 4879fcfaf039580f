"""Look of all figures: sizes, saving, one colour for one thing (Okabe & Ito's palette, for colour-blind readers)."""

import io
import logging
from collections.abc import Callable, Mapping
from functools import wraps
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import FixedLocator, NullLocator

from engram.figures.lettering import families, lettered
from engram.files import atomic

COLOUR = {
    "published": "#E69F00",
    "corrected": "#0072B2",
    "given": "#0072B2",
    "train": "#009E73",
    "held_out": "#D55E00",
    "high": "#CC79A7",
    "regular": "#56B4E9",
    "null": "#666666",
}
RATE_COLOURS = ("#332288", "#999933")  # the higher learning rate, the lower; Paul Tol's, as Okabe & Ito's are taken
OTHER_ESTIMATORS = ("#000000", "#009E73", "#D55E00", "#56B4E9")
WIDTH = 7.2  # inches, the text width of a page
TILES = 15  # images side by side in a row
CAPTION_LINE = 0.275  # height of a line above a tile, in widths of the tile

STYLE = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A drawing function in the look of all figures."""

    @wraps(draw)
    def drawn_in_style(*read: Any, **options: Any) -> Figure:
        with matplotlib.rc_context(STYLE | {"font.family": [*families()]}):
            return draw(*read, **options)

    return drawn_in_style


def figure(height: float) -> Figure:
    """An empty figure as wide as a page's text, `height` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def only_text(text: str) -> Figure:
    """A figure that has nothing to show, and says why."""
    drawn = figure(0.7)
    axes = drawn.subplots()
    axes.axis("off")
    axes.text(0, 0.5, fill(text, 110), va="center")
    return drawn


def estimator_colours(estimators) -> dict[str, str]:
    """A colour for each estimator: the two that are shipped keep theirs in every figure."""
    others = cycle(OTHER_ESTIMATORS)
    return {name: COLOUR[name] if name in COLOUR else next(others) for name in estimators}


def save(drawn: Figure, pdf: str | Path, png: str | Path) -> None:
    """Write a figure as PDF and PNG, the same bytes for the same figure."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells the log of every glyph
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        for path, metadata in ((pdf, {"CreationDate": None}), (png, {"Software": None})):
            content = io.BytesIO()
            drawn.savefig(content, format=Path(path).suffix[1:], dpi=200, metadata=metadata)
            atomic.write(path, content.getvalue())


def equal_edges(low: float, high: float, bins: int) -> np.ndarray:
    """Edges (bins + 1,) of bins of equal width from low to high; of a span of 1 where these are too near to tell apart."""
    edges = np.linspace(low, high, bins + 1)
    return edges if (np.diff(edges) > 0).all() else np.linspace(low - 0.5, high + 0.5, bins + 1)


def density(axes: Axes, values: np.ndarray, edges: np.ndarray, colour: str, label: str | None = None) -> None:
    """Histogram of the density of values; those beyond the edges are counted in the outer bins."""
    if len(values):
        inside = np.clip(values, edges[0], edges[-1])
        axes.hist(inside, edges, density=True, color=colour, alpha=0.55, linewidth=0, label=label)


def spread_out(axes: Axes, names: str, *values: np.ndarray) -> None:
    """A symmetric logarithmic scale on axes `names` ("x", "xy") where a few values would press the others together.

    Linear up to the power of ten above which lies at most a hundredth of the values.
    """
    values = np.concatenate(values)
    linear_to = 10 ** np.ceil(np.log10(max(np.quantile(np.abs(values), 0.99), 1)))
    if np.abs(values).max() <= 5 * linear_to:
        return
    upwards = linear_to * np.array([0.5, 1, 3, 10, 30, 100])
    ticks = np.concatenate([-upwards[::-1], [0], upwards])
    for name in names:
        axes.set(**{f"{name}scale": SymmetricalLogScale(axes, linthresh=linear_to)})
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:,.0f}")


def show_images(axes: Axes, images: np.ndarray, captions: list[str], columns: int = TILES) -> list[float]:
    """Images (n, C, H, W) in [0, 1], grey or RGB, as rows of `columns` tiles, each one unit wide under its caption.

    There is room for 15 in a row, so that tiles are of one size however few images there are. Returns the upper edge of
    each row.
    """
    height, above = images.shape[-2] / images.shape[-1], caption_height(captions)
    tops = [-row * (height + above) for row in range(-(-len(images) // columns))]
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = (i % columns) * 1.12, tops[i // columns]
        show_image(axes, image, (left, left + 1, top - height, top))
        axes.text(left + 0.5, top + 0.04, caption, ha="center", va="bottom", fontsize=5.2, linespacing=0.95)
    axes.set(xlim=(0, TILES * 1.12 - 0.12), ylim=(tops[-1] - height, above))
    axes.set_aspect("equal")
    axes.axis("off")
    return tops


def caption_height(captions: list[str]) -> float:
    """Room for the longest of some captions, two lines at least, in widths of a tile."""
    return CAPTION_LINE * max([2, *(caption.count("\n") + 1 for caption in captions)])


def show_image(axes: Axes, image: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    """One image (C, H, W) in [0, 1] at extent (left, right, bottom, top)."""
    pixels = np.moveaxis(image, 0, -1) if len(image) == 3 else image.mean(axis=0)
    axes.imshow(pixels, extent=extent, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")


def number(value: float) -> str:
    """A number to three digits, whole from 100 to a million: 0.153, 21.4, 6,512, 2.2e+07."""
    return f"{value:,.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def class_name(dataset_attributes: Mapping, label: int) -> str:
    """The class's name as the data set gives it, cut to fit under a tile; empty where an image has no class.

    A name that no font can draw gives way to the class's number.
    """
    names = np.atleast_1d(dataset_attributes.get("label_names", []))
    if label < 0 or label >= len(names):
        return "" if label < 0 else str(label)
    return lettered(str(names[label])[:9], f"class {label}")
