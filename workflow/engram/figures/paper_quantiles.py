"""Figure: the 0.95 and 0.999 quantiles of the score against epoch at the paper's two learning rates, by estimator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from engram.conventions import AS_PUBLISHED_AND_CORRECTED
from engram.figures.style import RATE_COLOURS, figure, styled
from engram.files import artifacts
from engram.files.inputs import likelihoods_by_epoch
from engram.scores.intervals import Interval
from engram.scores.quantities import QUANTITIES, estimate
from engram.scores.stage import Comparison, read_log_px

LINES = {"0.95 quantile of M": "-", "0.999 quantile of M": (0, (3, 1))}
WIDER = 1.07  # the paper's axis reaches to 107 of 100 epochs

Quantiles = dict[str, dict[float, dict[str, dict[int, Interval]]]]  # by panel, learning rate, line and epoch


@styled
def paper_quantiles(quantiles: Quantiles) -> Figure:
    """Quantiles by panel (as published, corrected), learning rate (the higher first), key of LINES, and epoch.

    Bands are their 95 % intervals.
    """
    drawn = figure(3.3)
    panels = drawn.subplots(1, len(quantiles), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, by_rate) in zip(panels, quantiles.items(), strict=True):
        for (rate, lines), colour in zip(by_rate.items(), RATE_COLOURS, strict=True):
            for line, by_epoch in lines.items():
                epoch, values = list(by_epoch), np.array(list(by_epoch.values()))
                label = f"learning rate {rate:g}, {line.removesuffix(' of M')}"
                axes.plot(epoch, values[:, 0], color=colour, linestyle=LINES[line], marker=".", label=label)
                axes.fill_between(epoch, values[:, 1], values[:, 2], color=colour, alpha=0.2, linewidth=0)
        axes.set(xlabel="epoch", title=title)
        axes.axhline(0, color="black", linewidth=0.6)
    panels[0].set_ylabel("quantile of M (nats)")
    panels[0].set_xlim(0, WIDER * max(epoch))
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return drawn


def read(experiments: Mapping[float, Mapping[str, Any]]) -> Quantiles:
    """The quantiles of experiments by learning rate, from their statistics by estimator and the paths of their artifacts.

    Intervals are the jackknife's over repeats, as in reproduction.csv.
    """
    return {
        column.replace("_", " "): {rate: of_estimator(paths, estimator) for rate, paths in experiments.items()}
        for column, estimator in AS_PUBLISHED_AND_CORRECTED.items()
    }


def of_estimator(experiment: Mapping[str, Any], estimator: str) -> dict[str, dict[int, Interval]]:
    """Quantiles of one experiment by line and epoch, with their intervals."""
    comparison = Comparison.of(artifacts.read(experiment["membership"], "membership"))
    statistic = experiment["statistics"][estimator]
    quantities = {line: QUANTITIES[line] for line in LINES}
    by_line: dict[str, dict[int, Interval]] = {line: {} for line in LINES}
    for epoch, paths in likelihoods_by_epoch(experiment["likelihoods"], estimator).items():
        log_px = read_log_px(paths, comparison)
        here = estimate(log_px, comparison.is_in, comparison.repeat, statistic, quantities)
        for line, interval in here.items():
            by_line[line][epoch] = interval
    return by_line
