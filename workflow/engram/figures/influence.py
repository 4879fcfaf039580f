"""Figure: how well attribution methods foretell log p of models trained on halves, and what the best of them points at."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures.labels import titled
from engram.figures.style import figure, show_image, styled
from engram.files.inputs import images
from engram.scores import intervals

# Title and colour of Okabe & Ito's: baselines grey, one model blue, several models vermilion.
LOOK = {
    "pixel_similarity": ("cosine of pixels", "#666666"),
    "pixel_kernel": ("near in pixels", "#666666"),
    "gradient_dot": ("gradient product", "#0072B2"),
    "tracin": ("TracIn, all epochs", "#0072B2"),
    "ekfac_influence": ("EK-FAC", "#0072B2"),
    "trak_1": ("TRAK, one model", "#0072B2"),
    "trak": ("TRAK, {models} models", "#D55E00"),
}
REGRESSION, CEILING = "#009E73", "#CC79A7"
GAP = 0.12  # between pictures, in their widths


@styled
def influence(analysis: xr.Dataset, scores: dict[str, xr.Dataset], dataset: xr.Dataset) -> Figure:
    """`analysis`: the influence artifact. Scores by estimator on the left, pictures by the best method on the right."""
    drawn = figure(2.6 * len(scores))
    grid = drawn.add_gridspec(len(scores), 2, width_ratios=(1.25, 1))
    for row, (estimator, scored) in enumerate(scores.items()):
        axes = drawn.add_subplot(grid[row, 0])
        _scores(axes, analysis.sel(estimator=estimator), analysis.attrs)
        axes.set_title(f"{titled(estimator, scored)}\n{judged_by(analysis.attrs)}", loc="left")
    _pictures(drawn.add_subplot(grid[:, 1]), analysis, dataset)
    return drawn


def judged_by(attributes: dict) -> str:
    """How many halves stand behind the scores, and whether these are few.

    >>> judged_by({"halves": 40, "halves_asked_for": 100})
    'from 40 halves; at least 100 are asked for'
    """
    few = f"; at least {attributes['halves_asked_for']} are asked for"
    return f"from {attributes['halves']} halves" + (
        few if attributes["halves"] < attributes["halves_asked_for"] else ""
    )


def title(method: str, attributes: dict) -> str:
    """What a method is called."""
    return LOOK[method][0].format(models=attributes["models_in_ensemble"])


def _scores(axes: Axes, analysis: xr.Dataset, attributes: dict) -> None:
    lacking = json.loads(attributes["lacking"])
    for place, (method, (_, colour)) in enumerate(LOOK.items()):
        of_method = analysis.sel(attribution=method)
        beats_pixels = bool(of_method["above_baseline_low"] > 0)
        _row(axes, place, intervals.read(of_method, "linear_datamodeling_score"), colour, beats_pixels)
        if method in lacking:
            axes.text(0.01, place, "not had", va="center", fontsize=6, color=colour)
    _row(axes, len(LOOK), intervals.read(analysis, "regression"), REGRESSION)
    highest = intervals.read(analysis, "ceiling")
    if np.isfinite(highest.estimate):
        axes.axvspan(*highest[1:], color=CEILING, alpha=0.15, linewidth=0)
        axes.axvline(highest.estimate, color=CEILING, linestyle="--", linewidth=1)
        axes.text(highest.estimate, -0.6, " ceiling ", color=CEILING, fontsize=7, ha="right", va="center")
    axes.axvline(0, color="black", linewidth=0.6)
    names = [*(title(method, attributes) for method in LOOK), "regression on halves"]
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -1), xlabel="linear datamodeling score")


def _row(axes: Axes, place: int, score: intervals.Interval, colour: str, is_filled: bool = False) -> None:
    if np.isfinite(score.estimate):
        axes.plot(score[1:], [place] * 2, color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(
            score.estimate, place, "o", color=colour, markersize=5, markerfacecolor=colour if is_filled else "white"
        )


def best(analysis: xr.Dataset) -> str | None:
    """The method with the highest score by the first estimator; None where none has any."""
    scores = analysis["linear_datamodeling_score"].values[0]
    return None if np.isnan(scores).all() else str(analysis["attribution"].values[np.nanargmax(scores)])


def _pictures(axes: Axes, analysis: xr.Dataset, dataset: xr.Dataset) -> None:
    method = best(analysis)
    axes.axis("off")
    if method is None:
        return
    helpful = analysis.sel(attribution=method)["most_helpful"].values
    tests = analysis["test_image"].values[: len(helpful)]
    first = images(dataset, tests)
    height = first.shape[-2] / first.shape[-1] + GAP
    for row, (test, chosen) in enumerate(zip(first, helpful, strict=True)):
        for column, image in enumerate([test, *images(dataset, chosen)]):
            left = column * (1 + GAP) + (2 * GAP if column else 0)
            show_image(axes, image, (left, left + 1, -row * height - height + GAP, -row * height))
    width = (helpful.shape[1] + 1) * (1 + GAP) + 2 * GAP
    axes.set(xlim=(0, width), ylim=(-len(helpful) * height, 0))
    axes.set_aspect("equal", anchor="N")
    axes.text(0.5, GAP, "test", ha="center", va="bottom", fontsize=7)
    axes.text(1 + 3 * GAP, GAP, f"helped most, by {title(method, analysis.attrs)}", ha="left", va="bottom", fontsize=7)
