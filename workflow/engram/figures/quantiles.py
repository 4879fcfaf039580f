"""Figure: the median and the 0.95 and 0.999 quantiles of the score against epoch, by estimator."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from engram.figures.labels import SCORE, in_nats
from engram.figures.style import estimator_colours, figure, styled
from engram.files.inputs import null_quantile

LEVELS = {0.5: "Median", 0.95: "0.95 quantile", 0.999: "0.999 quantile"}


@styled
def quantiles(scores: dict[str, xr.Dataset]) -> Figure:
    """`scores` by estimator. Crosses: the same quantile without memorization, by relabelling the models."""
    drawn = figure(2.7)
    panels = drawn.subplots(1, len(LEVELS))
    colours = estimator_colours(scores)
    for axes, (level, title) in zip(panels, LEVELS.items(), strict=True):
        for name, scored in scores.items():
            epoch = scored["epoch"].values
            axes.plot(
                epoch,
                np.quantile(scored["score"], level, axis=1),
                "o-",
                markersize=3.5,
                color=colours[name],
                label=name,
            )
            null = null_quantile(scored, level)
            if null is not None:
                axes.plot(epoch[-1], null, "x", markersize=5, color=colours[name], label=f"{name}, null")
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set(xlabel="epoch", title=title, xticks=epoch if len(epoch) <= 8 else epoch[:: len(epoch) // 5])
    panels[0].set_ylabel(in_nats(SCORE, scores))
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2 * len(scores))
    return drawn
