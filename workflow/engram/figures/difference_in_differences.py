"""Figure: the effect of entering the training on log p, by cohort: against the epoch, and against epochs since entry."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures.labels import in_nats, titled
from engram.figures.style import figure, styled
from engram.scores import intervals

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")  # Okabe & Ito's


@styled
def difference_in_differences(analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> Figure:
    """`analysis`: the artifact of this name. One row per estimator."""
    drawn = figure(2.8 * len(scores))
    rows = drawn.subplots(len(scores), 2, squeeze=False, sharey="row")
    for (by_epoch, since), (estimator, scored) in zip(rows, scores.items(), strict=True):
        of_estimator = analysis.sel(estimator=estimator)
        for number, cohort in enumerate(analysis["cohort"].values):
            colour = COLOURS[number % len(COLOURS)]
            _effect(by_epoch, of_estimator.sel(cohort=cohort), 0, colour)
            _effect(since, of_estimator.sel(cohort=cohort), cohort, colour)
            if cohort:
                by_epoch.axvline(cohort, color=colour, linewidth=0.7, linestyle=":")
        since.axvline(0, color="black", linewidth=0.7, linestyle=":")
        by_epoch.set(xlabel="epoch", ylabel=in_nats("effect on log p", {estimator: scored}))
        by_epoch.set_title(titled(estimator, scored), loc="left")
        since.set(xlabel=f"epochs since entry\n{_placebo(of_estimator)}")
        by_epoch.legend(title="enters after epoch", fontsize=6.5, title_fontsize=6.5)
    return drawn


def _effect(axes: Axes, analysis: xr.Dataset, since: int, colour: str) -> None:
    epoch, cohort = analysis["epoch"].values - since, int(analysis["cohort"])
    estimate, low, high = (analysis[name].values for name in ("att", "att_low", "att_high"))
    axes.plot(epoch, estimate, "o-", markersize=3, color=colour, label=f"{cohort}")
    axes.fill_between(epoch, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(0, color="black", linewidth=0.6)


def _placebo(analysis: xr.Dataset) -> str:
    found = intervals.read(analysis, "placebo")
    return "" if np.isnan(found.estimate) else f"before entry, mean: {found.text()} nats"
