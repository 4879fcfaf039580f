"""Figure: loss against epoch on images a model was trained on, on images it never saw, and the gap between them."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.figures.style import COLOUR, figure, styled

SKIPPED = 0.05  # of the epochs: these first ones may leave the axes, so that the rest can be read


@styled
def losses(folds: list[xr.Dataset], full: xr.Dataset) -> Figure:
    """`folds`: models artifact of each repeat; `full`: of the full model, whose held-out images are the test images."""
    drawn = figure(2.9)
    left, right = drawn.subplots(1, 2, width_ratios=(3, 2))
    epoch = full["epoch_trained"].values
    kinds = ("loss_train", "loss_held_out")
    train, held_out = (np.concatenate([fold[kind].values for fold in folds], axis=1) for kind in kinds)
    for values, name, words in ((train, "train", "trained on"), (held_out, "held_out", "held out")):
        _band(left, epoch, values, COLOUR[name], f"{values.shape[1]} fold models, {words}")
    _line(left, epoch, full["loss_train"].values[:, 0], COLOUR["train"], "full model, training images")
    _line(left, epoch, full["loss_held_out"].values[:, 0], COLOUR["held_out"], "full model, test images")
    visible = int(SKIPPED * len(epoch))
    everything = np.concatenate([train, held_out, full["loss_train"], full["loss_held_out"]], axis=1)[visible:]
    low, high = np.nanmin(everything), np.nanmax(everything)
    left.set(xlabel="epoch", ylabel="-ELBO (nats per image)", title="Loss", ylim=(low - 0.05 * (high - low), high))
    left.legend()
    _band(right, epoch, held_out - train, COLOUR["null"], "fold models")
    _line(right, epoch, (full["loss_held_out"] - full["loss_train"]).values[:, 0], "black", "full model, test images")
    right.axhline(0, color="black", linewidth=0.6)
    right.set(xlabel="epoch", ylabel="held out - trained on (nats per image)", title="Generalization gap")
    right.legend()
    return drawn


def _band(axes: Axes, epoch: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    axes.plot(epoch, values.mean(axis=1), color=colour, label=label)
    axes.fill_between(epoch, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.25, linewidth=0)


def _line(axes: Axes, epoch: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    if np.isfinite(values).any():
        axes.plot(epoch, values, color=colour, linestyle=(0, (4, 1.5)), label=label)
