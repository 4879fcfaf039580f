"""Figure: the samples most like copies beside their training images, and what copy tests say of all samples and of test images."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses.copying import COPY
from engram.figures.style import (
    CAPTION_LINE,
    COLOUR,
    class_name,
    density,
    figure,
    number,
    only_text,
    show_image,
    styled,
)
from engram.files.inputs import images
from engram.scores import intervals

# From a tile to its partner, and from a pair to the next, in widths of a tile; pairs in a row.
BESIDE, NEXT, PAIRS = 1.04, 2.3, 7
ABOVE, BELOW = 2, 1  # lines of a tile's captions
EDGES = np.linspace(0, 1, 61)
COLUMNS = {"": 0.0, "samples": 0.44, "test images\nin their place": 0.72}  # left edges
ROWS = {"share_of_copies": "copies", "authenticity": "authentic", "generalization_gap": "generalization gap"}
LEAST_P = 1e-4  # below it a p-value is shown as such


@styled
def copy_tests(analysis: xr.Dataset, dataset: xr.Dataset) -> Figure:
    """`analysis`: the copy_tests artifact. Pairs of a training image and a sample above; ratios and numbers below.

    Where everything is lacking, the reason alone.
    """
    lacking = json.loads(analysis.attrs.get("lacking", "{}"))
    if lacking:
        return only_text(f"No copy tests: {next(iter(lacking.values()))}.")
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    of_pairs = 0.45 + 0.45 * (height / width + (ABOVE + BELOW) * CAPTION_LINE)
    drawn = figure(of_pairs + 2.2)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(of_pairs, 2.2))
    _pairs(top.subplots(), analysis, dataset, height / width)
    ratios, numbers = bottom.subplots(1, 2, width_ratios=(2, 3))
    _ratios(ratios, analysis)
    _numbers(numbers, analysis)
    return drawn


def _pairs(axes: Axes, analysis: xr.Dataset, dataset: xr.Dataset, height: float) -> None:
    axes.set_title("Samples most like copies (right), and the training images nearest to them (left)", loc="left")
    shape = np.atleast_1d(dataset.attrs["image_shape"])
    for pair, index in enumerate(analysis["shown_training"].values):
        sample = analysis["shown_sample"].values[pair].reshape(shape).astype(np.float32) / 255
        left, ratio = pair * NEXT, float(analysis["shown_ratio"].values[pair])
        words = f"train {index}", class_name(dataset.attrs, dataset["label"].values[index])
        captions = ["\n".join(filter(None, words)), "sample"]
        for place, image in enumerate([images(dataset, np.array([index]))[0], sample]):
            edge = left + place * BESIDE
            show_image(axes, image, (edge, edge + 1, -height, 0))
            style = {"ha": "center", "va": "bottom", "fontsize": 5.2, "linespacing": 0.95}
            axes.text(edge + 0.5, 0.04, captions[place], color=COLOUR["regular" if place else "train"], **style)
        weight = "bold" if ratio < COPY else "normal"
        axes.text(
            left + (1 + BESIDE) / 2, -height - 0.06, f"{ratio:.2f}", ha="center", va="top", fontsize=6, weight=weight
        )
    axes.set(xlim=(0, PAIRS * NEXT), ylim=(-height - BELOW * CAPTION_LINE, ABOVE * CAPTION_LINE))
    axes.set_aspect("equal")
    axes.axis("off")


def _ratios(axes: Axes, analysis: xr.Dataset) -> None:
    for name, kind, label in (("ratio", "regular", "samples"), ("ratio_fresh", "held_out", "test images")):
        values = analysis[name].values
        density(axes, values, EDGES, COLOUR[kind], f"{label}: {len(values):,}")
    axes.axvline(COPY, ymax=0.72, color="black", linewidth=0.7, linestyle=":")
    axes.set(xlim=(0, 1), yscale="log", ylabel="density", xlabel="nearest over nearest different distance")
    axes.set_ylim(top=8 * axes.get_ylim()[1])  # room for the legend
    axes.legend(loc="upper left")


def _numbers(axes: Axes, analysis: xr.Dataset) -> None:
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for heading, left in COLUMNS.items():
        axes.text(left, 0.93, heading, fontsize=7, va="center", weight="bold")
    for row, (name, title) in enumerate(ROWS.items()):
        texts = [_text(intervals.read(analysis, f"{name}{ending}"), name) for ending in ("", "_fresh")]
        for left, text in zip(COLUMNS.values(), [title, *texts], strict=True):
            axes.text(left, 0.77 - 0.11 * row, text, fontsize=7, va="center")
    axes.text(0, 0.77 - 0.11 * len(ROWS), "data-copying $C_T$", fontsize=7, va="center")
    axes.text(COLUMNS["samples"], 0.77 - 0.11 * len(ROWS), _of_c_t(analysis), fontsize=7, va="center")
    axes.text(0, 0.3, _below(analysis), fontsize=7, va="top", linespacing=1.4)


def _text(interval: intervals.Interval, name: str) -> str:
    """A share in percent, or a gap; with its interval."""
    if np.isnan(interval.estimate):
        return "not defined"
    scale, unit = (1, "") if name == "generalization_gap" else (100, " %")
    estimate, low, high = (number(scale * end) for end in interval)
    return f"{estimate}{unit} [{low}, {high}]"


def _of_c_t(analysis: xr.Dataset) -> str:
    c_t, deviation, p_value = (float(analysis[name]) for name in ("c_t", "c_t_null_deviation", "c_t_p_value"))
    if np.isnan(c_t):
        return "not defined: too few test images"
    shown = f"p < {LEAST_P:g}" if p_value < LEAST_P else f"p = {p_value:.2g}"
    return f"{c_t:.1f}; without copying 0 $\\pm$ {deviation:.2f}, {shown}"


def _below(analysis: xr.Dataset) -> str:
    """What was compared, and what came back."""
    settings, recurrence = json.loads(analysis.attrs["values"]), analysis["recurrence"].values
    left_out = int(analysis.attrs["test_images_left_out"])
    came_back = "No sample is a copy of a training image."
    if recurrence.max() > 0:
        copied = f"{(recurrence > 0).sum():,} of {len(recurrence):,}"
        came_back = f"Copies of {copied} training images; of one, {recurrence.max():.0f} at most."
    lines = [
        f"{analysis.sizes['generated']:,} mean images of the full model, compared by {settings['features']}.",
        came_back,
    ]
    if left_out:
        lines.append(f"Left out are {left_out:,} test images that are copies of training images.")
    return "\n".join(lines)
