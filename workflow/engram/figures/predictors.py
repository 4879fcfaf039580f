"""Figure: how well memorization can be told from the images alone or from one model, and whether that beats distances of pixels."""

import json
import textwrap

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from engram.catalogue import ANALYSES, IMAGES
from engram.figures.labels import titled
from engram.figures.style import COLOUR, figure, styled
from engram.scores import intervals

MEASURES = ANALYSES["predictors"].measures
TO_BEAT = "distance_5nn"
MARKER = {True: "s", False: "o"}  # of the images alone, and of a model
BETTER, NO_BETTER, SHADE = COLOUR["corrected"], "0.45", "0.93"
LETTERS = 90  # of a reason, which are as wide as the axes


@styled
def predictors(analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> Figure:
    """`analysis`: the predictors artifact. One panel per estimator, one line per predictor, its gain over 5-NN on the right."""
    drawn = figure(2.9 * len(scores) + 0.3)
    panels = drawn.subplots(len(scores), 1, squeeze=False)[:, 0]
    lacking = json.loads(analysis.attrs["lacking"])
    for axes, (estimator, scored) in zip(panels, scores.items(), strict=True):
        of_estimator = analysis.sel(estimator=estimator)
        _frame(axes, of_estimator["spearman_low"].values)
        _shade(axes, intervals.read(of_estimator.sel(predictor=TO_BEAT), "spearman").estimate)
        for row, name in enumerate(MEASURES):
            _point(axes, row, name, of_estimator.sel(predictor=name), lacking.get(name))
        axes.set_title(titled(estimator, scored), loc="left")
        axes.text(1.02, -0.9, "gain over 5-NN", fontsize=7.5)
        axes.set_xlabel("Spearman's rank correlation with the score M")
    drawn.legend(handles=_legend(), loc="outside lower center", ncols=5)
    return drawn


def _frame(axes: Axes, lowest: np.ndarray) -> None:
    """A line for each predictor, and room for the lower ends of their intervals."""
    rows = len(MEASURES)
    axes.set(yticks=range(rows), yticklabels=[measure.title for measure in MEASURES.values()], ylim=(rows - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(np.fmin.reduce(lowest, initial=-0.5), 1)
    axes.axvline(0, color="0.6", linewidth=0.7, linestyle=":")


def _shade(axes: Axes, to_beat: float) -> None:
    if np.isfinite(to_beat):
        axes.axvspan(-1, to_beat, color=SHADE, linewidth=0)
        axes.axvline(to_beat, color="black", linewidth=0.8)


def _point(axes: Axes, row: int, name: str, predictor: xr.Dataset, why_not: str | None) -> None:
    """One predictor's correlation with its interval, in colour if its gain over 5-NN is above zero; or why it is lacking."""
    if why_not:
        reason, beside_axis = textwrap.shorten(why_not, LETTERS), axes.get_yaxis_transform()
        axes.text(0.01, row, reason, transform=beside_axis, fontsize=6.5, color="0.4", va="center")
        return
    correlation, gain = intervals.read(predictor, "spearman"), intervals.read(predictor, "gain_over_5nn")
    colour = BETTER if gain.low > 0 else NO_BETTER
    axes.hlines(row, correlation.low, correlation.high, color=colour, linewidth=1.2)
    filled = {"color": colour, "markerfacecolor": colour if gain.low > 0 else "white", "markersize": 5}
    axes.plot(correlation.estimate, row, MARKER[MEASURES[name].uses == IMAGES], **filled)
    text = "to beat" if name == TO_BEAT else gain.text("+.2f")
    axes.text(1.02, row, text, fontsize=7, va="center", color=BETTER if gain.low > 0 else "0.3")


def _legend() -> list[Line2D | Patch]:
    looks = {
        "images alone": {"marker": "s", "color": "0.3"},
        "one model": {"marker": "o", "color": "0.3"},
        "better than 5-NN": {"marker": "o", "color": BETTER},
        "no better": {"marker": "o", "color": NO_BETTER, "markerfacecolor": "white"},
    }
    points = [Line2D([], [], linestyle="none", markersize=5, label=label, **look) for label, look in looks.items()]
    return [*points, Patch(color=SHADE, linewidth=0, label="below 5-NN")]
