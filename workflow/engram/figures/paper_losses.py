"""Figure: loss of the full model against epoch at the paper's two learning rates, as published and corrected."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures.style import RATE_COLOURS, figure, styled
from engram.files import inputs

SKIPPED = 0.05  # of the epochs: the first 5 of 100, which the paper leaves out
TOP = 126  # nats: where the paper's axis ends; higher only if a loss is
WIDER = 1.07  # the paper's axis reaches to 107 of 100 epochs


@styled
def paper_losses(full: dict[float, xr.Dataset]) -> Figure:
    """`full`: models artifact of the full model by learning rate, the higher rate first; its held-out images are the test images.

    As published, the training loss is a mean over the epoch, taken while the model learns, and the test loss is of its end.
    We keep losses at the ends of epochs only: as published, the mean of two of them stands for the epoch between.
    """
    drawn = figure(3.3)
    left, right = drawn.subplots(1, 2, sharex=True, sharey=True)
    for axes, during in ((left, True), (right, False)):
        for (rate, losses), colour in zip(full.items(), RATE_COLOURS, strict=True):
            _curves(axes, losses, during, colour, f"learning rate {rate:g}")
        axes.set_xlabel("epoch")
        axes.legend()
    left.set(ylabel="-ELBO (nats per image)", title="as published: training loss\nduring the epoch")
    right.set(title="corrected: both losses\nafter the epoch")
    drawn_losses = np.concatenate([line.get_ydata() for axes in (left, right) for line in axes.lines])
    left.set_ylim(top=max(TOP, 1.01 * drawn_losses.max(initial=0)))
    left.set_xlim(0, WIDER * max(losses["epoch_trained"].values[-1] for losses in full.values()))
    return drawn


def read(experiments: Mapping[float, Mapping[str, Any]]) -> dict[float, xr.Dataset]:
    """The losses of full models by learning rate, from the paths of experiments."""
    return {rate: inputs.losses(paths["full_model"]) for rate, paths in experiments.items()}


def _curves(axes: Axes, losses: xr.Dataset, during: bool, colour: str, label: str) -> None:
    train, test = (losses[kind].values[:, 0] for kind in ("loss_train", "loss_held_out"))
    if during:
        train = np.concatenate([train[:1], (train[1:] + train[:-1]) / 2])
    shown = losses["epoch_trained"].values > int(SKIPPED * len(train))
    epoch = losses["epoch_trained"].values[shown]
    axes.plot(epoch, train[shown], color=colour, label=f"{label}, training images")
    axes.plot(epoch, test[shown], color=colour, linestyle=(0, (3, 1)), label=f"{label}, test images")
