"""ROC curves of attacks, and beside them what they come to as numbers: what figures of membership inference share."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from engram.analyses.roc import true_positive_rate
from engram.scores import intervals

COLUMNS = {
    "attack": 0.09,
    "area under\nthe curve": 0.4,
    "TPR at\n1 % FPR": 0.605,
    "TPR at\n0.1 % FPR": 0.805,
}  # left edges
RATES = 0.01, 0.001

# Of each attack: title, colour of Okabe & Ito's, dashes. Where curves coincide, those drawn later let the earlier ones show.
Look = Mapping[str, tuple[str, str, str | tuple]]


def curves(axes: Axes, analysis: xr.Dataset, look: Look) -> None:
    """The true against the false positive rate of the attacks in `look`, on log scales, and guessing as a dotted line."""
    rate = analysis["false_positive_rate"].values
    for name, (_, colour, dashes) in look.items():
        of_attack = analysis.sel(attack=name)
        true = of_attack["true_positive_rate"].values
        axes.plot(rate, true, color=colour, linestyle=dashes, linewidth=1.2)
    axes.plot(rate, rate, color="black", linewidth=0.7, linestyle=":")
    lowest = 1 / max(int(analysis["non_member_images"].max()), 10)
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1.1), aspect="equal")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")


def table(axes: Axes, analysis: xr.Dataset, look: Look, below: Sequence[str]) -> None:
    """A line of numbers for each attack in `look`, and lines of text `below` them."""
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for heading, left in COLUMNS.items():
        axes.text(left, 0.95, heading, fontsize=7, va="center", weight="bold")
    for row, (name, (title, colour, dashes)) in enumerate(look.items()):
        height, of_attack = 0.82 - 0.1 * row, analysis.sel(attack=name)
        axes.add_line(Line2D([0, 0.06], [height] * 2, color=colour, linestyle=dashes, linewidth=1.6))
        numbers = [intervals.read(of_attack, "area_under_curve"), *(true_positive_rate(of_attack, r) for r in RATES)]
        texts = [numbers[0].text(), *(_percent(number) for number in numbers[1:])]
        for left, text in zip(COLUMNS.values(), [title, *texts], strict=True):
            axes.text(left, height, text, fontsize=7, va="center")
    axes.text(0, 0.84 - 0.1 * len(look), "\n".join(below), fontsize=7, va="top", linespacing=1.4)


def _percent(rate: intervals.Interval) -> str:
    """A rate to two digits, or a dash where it cannot be read.

    >>> _percent(intervals.Interval(1.0, 0.893, 1.0)), _percent(intervals.Interval(0.034, 0.0112, 0.06))
    ('100 % [89, 100]', '3.4 % [1.1, 6]')
    """
    if np.isnan(rate.estimate):
        return "-"
    estimate, low, high = (f"{100 * number:.2g}" if number < 0.1 else f"{100 * number:.0f}" for number in rate)
    return f"{estimate} % [{low}, {high}]"


def counts(analysis: xr.Dataset) -> list[str]:
    """A line or two: how many pairs are behind the curves, and what they cannot tell."""
    images = int(analysis["non_member_images"].max())
    lines = [
        f"{int(analysis['members'].max()):,} pairs of a model and a member, {int(analysis['non_members'].max()):,} others"
    ]
    unread = [f"{100 * rate:g} %" for rate in RATES if rate * images < 1 - 1e-9]
    if unread:
        lines.append(f"TPR at {' and '.join(unread)} FPR cannot be read from {images:,} non-member images.")
    return lines
