"""Figure: ROC curves of membership-inference attacks, and what they come to as numbers."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engram.analyses.membership_inference import ALL_IMAGES
from engram.analyses.roc import true_positive_rate
from engram.figures.labels import titled
from engram.figures.style import figure, styled
from engram.scores import intervals

# Name, colour of Okabe & Ito's and dashes; where curves coincide, those drawn later let the earlier ones show.
LOOK = {
    "likelihood_threshold": ("likelihood threshold", "#666666", "-"),
    "calibrated": ("difficulty-calibrated", "#0072B2", "-"),
    "lira_offline": ("LiRA offline", "#56B4E9", (0, (4, 1.5))),
    "lira_online": ("LiRA online", "#D55E00", "-"),
    "lira_online_fixed": ("LiRA online, fixed variance", "#E69F00", (0, (4, 1.5))),
    "rmia": ("RMIA", "#009E73", (0, (1, 1))),
}
COLUMNS = {
    "attack": 0.09,
    "area under\nthe curve": 0.41,
    "TPR at\n1 % FPR": 0.6,
    "TPR at\n0.1 % FPR": 0.8,
}  # left edges
RATES = 0.01, 0.001


@styled
def membership_inference(analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> Figure:
    """`analysis`: the membership_inference artifact. One row per estimator: curves on the left, numbers on the right."""
    drawn = figure(2.5 * len(scores))
    panels = drawn.subplots(len(scores), 2, squeeze=False, width_ratios=(1, 2))
    for (curves, table), (estimator, scored) in zip(panels, scores.items(), strict=True):
        of_estimator = analysis.sel(estimator=estimator)
        _curves(curves, of_estimator)
        curves.set_title(titled(estimator, scored), loc="left")
        _table(table, of_estimator)
    return drawn


def _curves(axes: Axes, analysis: xr.Dataset) -> None:
    rate = analysis["false_positive_rate"].values
    for name, (_, colour, dashes) in LOOK.items():
        of_attack = analysis.sel(attack=name)
        true = of_attack["true_positive_rate"].values
        axes.plot(rate, true, color=colour, linestyle=dashes, linewidth=1.2)
    axes.plot(rate, rate, color="black", linewidth=0.7, linestyle=":")
    lowest = 1 / max(int(analysis["non_member_images"].max()), 10)
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1.1), aspect="equal")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")


def _table(axes: Axes, analysis: xr.Dataset) -> None:
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for heading, left in COLUMNS.items():
        axes.text(left, 0.95, heading, fontsize=7, va="center", weight="bold")
    for row, (name, (title, colour, dashes)) in enumerate(LOOK.items()):
        height, of_attack = 0.82 - 0.1 * row, analysis.sel(attack=name)
        axes.add_line(Line2D([0, 0.06], [height] * 2, color=colour, linestyle=dashes, linewidth=1.6))
        numbers = [intervals.read(of_attack, "area_under_curve"), *(true_positive_rate(of_attack, r) for r in RATES)]
        texts = [numbers[0].text(), *(_percent(number) for number in numbers[1:])]
        for left, text in zip(COLUMNS.values(), [title, *texts], strict=True):
            axes.text(left, height, text, fontsize=7, va="center")
    axes.text(0, 0.24, _below(analysis), fontsize=7, va="top", linespacing=1.4)


def _percent(rate: intervals.Interval) -> str:
    """A rate to two digits, or a dash where it cannot be read."""
    if np.isnan(rate.estimate):
        return "-"
    return "{:.2g} % [{:.2g}, {:.2g}]".format(*(100 * number for number in rate))


def _below(analysis: xr.Dataset) -> str:
    """Two lines: the counts behind the curves, with what they cannot tell, and the p-value of all images."""
    images = int(analysis["non_member_images"].max())
    lines = [
        f"{int(analysis['members'].max()):,} pairs of a model and a member, {int(analysis['non_members'].max()):,} others"
    ]
    unread = [f"{100 * rate:g} %" for rate in RATES if rate * images < 1 - 1e-9]
    if unread:
        lines.append(f"TPR at {' and '.join(unread)} FPR cannot be read from {images:,} non-member images.")
    p_value = float(analysis["set_p_value"].sel(set=ALL_IMAGES))
    if np.isfinite(p_value):
        lines.append(f"Do all images together look like members? p = {p_value:.2g}")
    return "\n".join(lines)
