"""Figure: when images are learned, how often they are forgotten, and log p of a few of them over the epochs."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from engram.figures.labels import in_nats, titled
from engram.figures.style import COLOUR, figure, styled
from engram.files.inputs import last

SHOWN = {
    "highest M": "#CC79A7",
    "median M": "#56B4E9",
    "lowest M": "#666666",
}  # an image each; of Okabe & Ito's colours
BINS = 20


@styled
def dynamics(analysis: xr.Dataset, scores: dict[str, xr.Dataset]) -> Figure:
    """`analysis`: the dynamics artifact. One row per estimator: shares learned, forgetting events, and three images."""
    drawn = figure(2.5 * len(scores))
    rows = drawn.subplots(len(scores), 3, squeeze=False)
    for (shares, events, images), (estimator, scored) in zip(rows, scores.items(), strict=True):
        of_estimator = analysis.sel(estimator=estimator)
        _shares(shares, of_estimator)
        shares.set_title(titled(estimator, scored), loc="left")
        _events(events, of_estimator)
        _trajectories(images, of_estimator, last(scored))
        images.set_ylabel(in_nats("mean log p", {estimator: scored}))
    return drawn


def _shares(axes: Axes, analysis: xr.Dataset) -> None:
    epoch, first = analysis["epoch"].values, analysis["first_learned"].values
    for name, colour, label in (
        ("share_learned", "train", "trained on it"),
        ("share_learned_out", "held_out", "not trained on it"),
    ):
        low, high = (analysis[f"{name}_{end}"].values for end in ("low", "high"))
        axes.plot(epoch, analysis[name].values, "o-", markersize=3, color=COLOUR[colour], label=label)
        axes.fill_between(epoch, low, high, color=COLOUR[colour], alpha=0.2, linewidth=0)
    by_half = [(first <= each).mean() for each in epoch]
    axes.step(epoch, by_half, where="post", color="black", linewidth=0.9, linestyle=":", label="by half of the models")
    axes.set(xlabel="epoch", ylabel="share learned", ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.legend(fontsize=6.5)


def _events(axes: Axes, analysis: xr.Dataset) -> None:
    events, most = analysis["forgetting_events"].values, analysis.sizes["epoch"]
    axes.hist(events[np.isfinite(events)], np.linspace(0, most, BINS + 1), color=COLOUR["regular"], linewidth=0)
    axes.set(xlabel="forgetting events,\nmean over models", ylabel="images", xlim=(0, most))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _trajectories(axes: Axes, analysis: xr.Dataset, score: np.ndarray) -> None:
    order = np.argsort(score, kind="stable")
    chosen = order[[-1, len(order) // 2, 0]]
    for (label, colour), image in zip(SHOWN.items(), chosen, strict=True):
        of_image = analysis.isel(sample=image)
        for name, dashes in (("log_px_in", "-"), ("log_px_out", (0, (3, 1.5)))):
            axes.plot(
                of_image["epoch"].values,
                of_image[name].values,
                linestyle=dashes,
                color=colour,
                label=label if dashes == "-" else None,
            )
    axes.set(xlabel="epoch")
    axes.margins(y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.legend(fontsize=6.5)
