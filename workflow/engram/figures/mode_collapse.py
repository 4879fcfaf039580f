"""Figure: where the samples of the full model crowd, and whether those training images are the memorized ones."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses.mode_collapse import coverage
from engram.figures.labels import SCORE, in_nats
from engram.figures.style import COLOUR, TILES, class_name, estimator_colours, figure, show_images, spread_out, styled
from engram.files.inputs import images, last
from engram.scores import intervals


@styled
def mode_collapse(analysis: xr.Dataset, scores: dict[str, xr.Dataset], dataset: xr.Dataset) -> Figure:
    """`analysis`: the mode_collapse artifact. Samples against test images, crowding against score, most crowded images."""
    drawn = figure(5.6)
    top, middle, bottom = drawn.subfigures(3, 1, height_ratios=(2.3, 2.5, 0.9))
    left, right = top.subplots(1, 2)
    _coverage(left, analysis)
    _classes(right, analysis, dataset)
    colours = estimator_colours(scores)
    one_sample = 100 / analysis.sizes["generated"]
    panels = middle.subplots(1, len(scores), squeeze=False, sharey=True)[0]
    for axes, (name, score) in zip(panels, scores.items(), strict=True):
        axes.plot(
            last(score), 100 * analysis["share"], ".", markersize=2.5, alpha=0.6, color=colours[name], rasterized=True
        )
        spread_out(axes, "x", last(score))
        correlation = intervals.read(analysis.sel(estimator=name), "spearman")
        axes.set_yscale("symlog", linthresh=one_sample)
        axes.set_yticks([0, *10.0 ** np.arange(np.ceil(np.log10(one_sample)), 3)])
        axes.set(xlabel=in_nats(SCORE, {name: score}), title=f"{name}: rank correlation\n{correlation.text()}")
    panels[0].set_ylabel("share of samples nearest\nto the image (%)")
    crowded = np.argsort(-analysis["share"].values, kind="stable")[:TILES]
    labels = next(iter(scores.values()))["label"].values[crowded]
    share = analysis["share"].values[crowded]
    captions = [f"{class_name(dataset.attrs, k)}\n{100 * s:.2g} %".strip() for k, s in zip(labels, share, strict=True)]
    axes = bottom.subplots()
    bottom.suptitle("Training images nearest to most samples", fontsize=9, x=0.01, ha="left")
    show_images(axes, images(dataset, analysis["sample"].values[crowded]), captions)
    return drawn


def _coverage(axes: Axes, analysis: xr.Dataset) -> None:
    n = analysis.sizes["sample"]
    for kind, owner, label in (
        ("train", "nearest_to_generated", "samples of the full model"),
        ("held_out", "nearest_to_test", "test images"),
    ):
        curve = coverage(analysis[owner].values, n)
        axes.plot(np.arange(1, len(curve) + 1), 100 * curve, color=COLOUR[kind], label=label)
    axes.set(
        xscale="log", xlabel="images drawn", ylabel="training images nearest\nto any of them (%)", title="Coverage"
    )
    axes.legend()


def _classes(axes: Axes, analysis: xr.Dataset, dataset: xr.Dataset) -> None:
    position = np.arange(analysis.sizes["class"])
    for offset, kind, variable, label in (
        (-0.2, "regular", "class_share_train", "training images"),
        (0.2, "train", "class_share_samples", "samples, class of the nearest training image"),
    ):
        axes.bar(position + offset, 100 * analysis[variable], 0.4, color=COLOUR[kind], label=label)
    largest = max(analysis["class_share_train"].max(), analysis["class_share_samples"].max())
    names = [class_name(dataset.attrs, k) or "none" for k in analysis["class"].values]
    axes.set_xticks(position, names, rotation=0 if max(map(len, names)) < 3 else 60)
    axes.set(ylabel="share (%)", title="Classes", ylim=(0, 140 * largest))
    axes.legend(loc="upper right")
