"""Figure: the dimension of what the model learned at each image, what is behind it, and the score."""

import json
import textwrap

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from engram.figures.labels import SCORE, in_nats
from engram.figures.style import COLOUR, estimator_colours, figure, spread_out, styled
from engram.files.inputs import last
from engram.scores import intervals

BAND = (0.05, 0.5, 0.95)  # quantiles over images
SHOWN = 20_000  # points that a picture can hold


@styled
def model_dimension(analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> Figure:
    """`analysis`: the model_dimension artifact. Left what the dimension was read from, right the dimension against the score."""
    drawn = figure(2.7)
    behind, beside = drawn.subplots(1, 2)
    {"jacobian": _spectrum, "lidl": _widths, "flipd": _noises, "": _nothing}[analysis.attrs["way"]](behind, analysis)
    dimension, shown = analysis["lid_model"].values, slice(None, None, -(-analysis.sizes["sample"] // SHOWN))
    for (name, scored), colour in zip(scores.items(), estimator_colours(scores).values(), strict=True):
        text = f"{name}: {intervals.spearman(dimension, last(scored)).text()}"
        beside.plot(dimension[shown], last(scored)[shown], ".", color=colour, markersize=2, alpha=0.4, label=text)
    spread_out(beside, "y", *(last(scored) for scored in scores.values()))
    beside.set(xlabel="dimension of the model", ylabel=in_nats(SCORE, scores))
    beside.legend(title="rank correlation", markerscale=3)
    return drawn


def _nothing(axes: Axes, analysis: xr.Dataset) -> None:
    axes.axis("off")
    reason = json.loads(analysis.attrs["lacking"])["lid_model"]
    text = textwrap.fill(f"The model has no dimension here: {reason}.", 55)
    axes.text(0, 0.5, text, transform=axes.transAxes, fontsize=7)


def _spectrum(axes: Axes, analysis: xr.Dataset) -> None:
    """Singular values by direction, and the one above which a direction counts."""
    _band(axes, analysis["direction"].values, analysis["singular_value"], COLOUR["corrected"], "")
    axes.axhline(analysis.attrs["visible"], color=COLOUR["null"], linestyle=":", label="a direction counts above")
    axes.set(xlabel="direction of z", ylabel="image's shift by one\nstandard deviation of z", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _widths(axes: Axes, analysis: xr.Dataset) -> None:
    _band(axes, analysis["width"].values, analysis["lidl"], COLOUR["corrected"], "")
    axes.set(xlabel="width of the noise about the model's manifold", ylabel="LIDL")


def _noises(axes: Axes, analysis: xr.Dataset) -> None:
    """FLIPD by noise level, of the model and of one that has memorized perfectly."""
    looks = {
        "flipd": (COLOUR["corrected"], "model"),
        "flipd_unconditional": (COLOUR["high"], "model, without the class"),
        "reference": (COLOUR["null"], "a model that has memorized perfectly"),
    }
    for name, (colour, title) in looks.items():
        if name in analysis:
            _band(axes, analysis["time"].values, analysis[name], colour, title)
    axes.axvline(json.loads(analysis.attrs["values"])["at"], color=COLOUR["null"], linestyle=":", linewidth=0.8)
    axes.set(xlabel="time (noise rises to the right)", ylabel="FLIPD", xscale="log")
    axes.legend()


def _band(axes: Axes, x: np.ndarray, values: xr.DataArray, colour: str, label: str) -> None:
    """Median over images and the middle 90 % of them."""
    low, middle, high = np.quantile(values.values, BAND, axis=values.dims.index("sample"))  # NaN where any is
    axes.plot(x, middle, "o-", color=colour, markersize=2.5, label=label or None)
    axes.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
