"""Figure: distribution of the score at the paper's two learning rates, with Johnson-SU fits, by estimator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from engram.conventions import AS_PUBLISHED_AND_CORRECTED
from engram.figures import johnson_su
from engram.figures.style import RATE_COLOURS, density, figure, styled
from engram.files import inputs
from engram.files.inputs import last

EDGES = np.linspace(-15, 35, 101)  # nats: the paper's bins, beyond which it draws nothing
LEVEL = 0.95
LEGEND_FROM = 0.64  # of the height


@styled
def paper_score_histogram(scores: dict[str, dict[float, xr.Dataset]]) -> Figure:
    """Score artifacts by panel (as published, corrected) and learning rate, the higher first.

    Scores beyond the axes are part of the fit and counted in the outer bins. Vertical lines are 0.95 quantiles.
    """
    drawn = figure(3.3)
    panels = drawn.subplots(1, len(scores), sharex=True, sharey=True, squeeze=False)[0]
    x = np.linspace(EDGES[0], EDGES[-1], 401)
    for axes, (title, by_rate) in zip(panels, scores.items(), strict=True):
        for (rate, scored), colour in zip(by_rate.items(), RATE_COLOURS, strict=True):
            score = last(scored)
            density(axes, score, EDGES, colour)
            fitted = johnson_su.fit(score)
            label = f"learning rate {rate:g}, Johnson SU fit\n{johnson_su.words(fitted)}"
            axes.plot(x, johnson_su.curve(fitted, x), color=colour, label=label)
            axes.axvline(np.quantile(score, LEVEL), ymax=LEGEND_FROM, color=colour, linestyle=(0, (3, 1)))
        axes.set(xlabel="memorization score M (nats)", title=title, xlim=(EDGES[0], EDGES[-1]))
        axes.legend(loc="upper right", handlelength=1)
    panels[0].set(ylabel="density (1/nat)", ylim=(0, panels[0].get_ylim()[1] / LEGEND_FROM))
    return drawn


def read(experiments: Mapping[float, Mapping[str, Any]]) -> dict[str, dict[float, xr.Dataset]]:
    """Scores by panel and learning rate, from the paths of experiments."""
    scores = {rate: inputs.scores(paths["scores"]) for rate, paths in experiments.items()}
    return {
        column.replace("_", " "): {rate: by_estimator[estimator] for rate, by_estimator in scores.items()}
        for column, estimator in AS_PUBLISHED_AND_CORRECTED.items()
    }
