"""Figure: ROC curves of membership-inference attacks that read log p, and what they come to as numbers."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from engram.analyses.membership_inference import ALL_IMAGES
from engram.figures import roc_curves
from engram.figures.labels import titled
from engram.figures.style import figure, styled

LOOK = {
    "likelihood_threshold": ("likelihood threshold", "#666666", "-"),
    "calibrated": ("difficulty-calibrated", "#0072B2", "-"),
    "lira_offline": ("LiRA offline", "#56B4E9", (0, (4, 1.5))),
    "lira_online": ("LiRA online", "#D55E00", "-"),
    "lira_online_fixed": ("LiRA online, fixed variance", "#E69F00", (0, (4, 1.5))),
    "rmia": ("RMIA", "#009E73", (0, (1, 1))),
}


@styled
def membership_inference(analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> Figure:
    """`analysis`: the membership_inference artifact. One row per estimator: curves on the left, numbers on the right."""
    drawn = figure(2.5 * len(scores))
    panels = drawn.subplots(len(scores), 2, squeeze=False, width_ratios=(1, 2))
    for (curves, table), (estimator, scored) in zip(panels, scores.items(), strict=True):
        of_estimator = analysis.sel(estimator=estimator)
        roc_curves.curves(curves, of_estimator, LOOK)
        curves.set_title(titled(estimator, scored), loc="left")
        roc_curves.table(table, of_estimator, LOOK, [*roc_curves.counts(of_estimator), *_of_set(of_estimator)])
    return drawn


def _of_set(analysis: xr.Dataset) -> list[str]:
    """A line with the p-value of all images, if they have one."""
    p_value = float(analysis["set_p_value"].sel(set=ALL_IMAGES))
    return [f"Do all images together look like members? p = {p_value:.2g}"] if np.isfinite(p_value) else []
