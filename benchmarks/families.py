"""Do different families of models memorize the same images, and are these prototypical or atypical of their class?

    uv run python benchmarks/families.py --experiments digits_vae digits_flow digits_diffusion
        [--figure docs/families.png] [--samples docs/families_samples.png]

Reads finished experiments on one data set, each by its first estimator, and prints three tables: how much each memorizes at every
scored epoch; the rank correlation of M between each two of them, with a 95 % interval over images and with the ceiling that
the reliability of both scores sets; and the rank correlation of M with an image's distance from the mean of its class, which is
above 0 where atypical images are memorized more.
"""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

import engram
from engram.figures.labels import titled
from engram.figures.style import TILES, figure, show_images, styled
from engram.files.artifacts import TRAIN
from engram.models.samples import sample
from engram.scores.intervals import Interval, spearman

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")


class Scored(NamedTuple):
    """A finished experiment: its name, scores.h5 of its first estimator, and its data set."""

    name: str
    scores: xr.Dataset
    dataset: xr.Dataset


def distance_from_class_mean(images: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Euclidean distance (n,) of images (n, pixels) from the mean of the others of their class; NaN for the only one of it.

    >>> distance_from_class_mean(np.array([[0.0], [2.0], [4.0], [9.0]]), np.array([1, 1, 1, 7]))
    array([ 3.,  0.,  3., nan])
    """
    distance = np.full(len(images), np.nan)
    for each in np.unique(label):
        of_class = np.flatnonzero(label == each)
        if len(of_class) > 1:
            values = images[of_class].astype(float)
            others = (values.sum(0) - values) / (len(of_class) - 1)
            distance[of_class] = np.linalg.norm(values - others, axis=1)
    return distance


def ceiling(*of_halves: float) -> float:
    """The largest rank correlation that two scores of these split-half reliabilities can be expected to show.

    The root of the product of both scores' own reliabilities, to which Spearman and Brown carry a half's on: 2 r / (1 + r).
    """
    whole = [max(0.0, 2 * r / (1 + r)) for r in of_halves]
    return float(np.sqrt(np.prod(whole)))


def read(folder: Path) -> Scored:
    """An experiment from its folder of results."""
    experiment = engram.load(folder)
    return Scored(folder.name, next(iter(experiment.scores.values())), experiment.dataset)


def amounts(experiment: Scored) -> list[str]:
    """A row for each scored epoch: quantiles of M in nats; for the last one the null's, the number found and the reliability."""
    scores, rows = experiment.scores, []
    null = {level: float(scores.null_quantiles.sel(quantile=level)) for level in (0.5, 0.95)}
    for epoch in scores.epoch.values:
        low, median, high = np.quantile(scores.score.sel(epoch=epoch), [0.05, 0.5, 0.95])
        row = f"| {experiment.name} | {epoch} | {low:z.1f}, {median:z.1f}, {high:z.1f} |"
        if epoch == scores.epoch.values[-1]:
            count = scores.attrs["number_memorized_fdr05"]
            row += f" {null[0.5]:z.1f}, {null[0.95]:z.1f} | {count} of {scores.sizes['sample']} |"
            row += f" {scores.attrs['split_half_reliability']:.2f} |"
        else:
            row += " | | |"
        rows.append(row)
    return rows


def between(one: Scored, other: Scored) -> tuple[Interval, float]:
    """Rank correlation of the scores of two experiments at their last epochs, and its ceiling."""
    last = (each.scores.score.isel(epoch=-1).values for each in (one, other))
    return spearman(*last), ceiling(*(each.scores.attrs["split_half_reliability"] for each in (one, other)))


def atypical(experiment: Scored) -> list[Interval]:
    """Rank correlation of M with the distance from the class mean, at every scored epoch."""
    train = experiment.scores.sample.values
    images, label = experiment.dataset.images.values[train] / 255, experiment.dataset.label.values[train]
    distance = distance_from_class_mean(images, label)
    known = ~np.isnan(distance)
    return [spearman(score[known], distance[known]) for score in experiment.scores.score.values]


def nearest(samples: np.ndarray, images: np.ndarray) -> np.ndarray:
    """For each of samples (s, pixels) the index of the nearest of images (n, pixels), (s,)."""
    return cdist(samples, images).argmin(1)


@styled
def draw_samples(folders: Sequence[Path], seed: int = 42) -> Figure:
    """Two rows for each experiment: images drawn from its model of everything, and the training image nearest to each."""
    drawn = figure(1.35 * len(folders))
    panels = drawn.subplots(len(folders), 1, squeeze=False)[:, 0]
    for axes, folder in zip(panels, folders, strict=True):
        experiment = engram.load(folder)
        shape = tuple(int(size) for size in experiment.dataset.attrs["image_shape"])
        epoch = int(next(iter(experiment.scores.values())).epoch.values[-1])
        (model,) = experiment.models("full", epoch)
        (samples,) = sample(model, TILES, seed, folder.name)
        samples = samples.flatten(1).numpy()
        train = experiment.dataset.images.values[experiment.dataset.split.values == TRAIN] / 255
        rows = np.concatenate([samples, train[nearest(samples, train)]]).reshape(-1, *shape)
        tops = show_images(axes, rows, [""] * len(rows))
        for top, title in zip(tops, ("drawn", "nearest"), strict=True):
            axes.text(-0.25, top - 0.5, title, ha="right", va="center", fontsize=7.5, rotation=90)
        axes.set_title(folder.name, loc="left")
    return drawn


@styled
def draw(experiments: Sequence[Scored]) -> Figure:
    """Left: the share of images with a higher score. Right: correlation with the distance from the class mean, by epoch."""
    drawn = figure(3.2)
    left, right = drawn.subplots(1, 2)
    for experiment, colour in zip(experiments, COLOURS, strict=False):
        score = np.sort(experiment.scores.score.isel(epoch=-1).values)
        left.plot(
            score,
            1 - np.arange(1, len(score) + 1) / len(score),
            color=colour,
            label=titled(experiment.name, experiment.scores),
        )
        correlation, epochs = atypical(experiment), experiment.scores.epoch.values
        middle = np.array([each.estimate for each in correlation])
        error = np.abs(np.array([[each.low, each.high] for each in correlation]).T - middle)
        right.errorbar(epochs / epochs[-1], middle, error, color=colour, marker="o", markersize=3, capsize=2)
    left.set(xscale="symlog", xlabel="memorization score M (nats)", ylabel="share of images with a higher score")
    left.axvline(0, color="#666666", linewidth=0.7)
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    right.axhline(0, color="#666666", linewidth=0.7)
    right.set(xlabel="epoch / last epoch", ylabel="rank correlation of M with the\ndistance from the class mean")
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", nargs="+", default=["digits_vae", "digits_flow", "digits_diffusion"])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument(
        "--figure", type=Path, help="where to save the distribution of M and who is memorized, by epoch"
    )
    parser.add_argument("--samples", type=Path, help="where to save images drawn from the models")
    arguments = parser.parse_args()
    experiments = [read(arguments.results / name) for name in arguments.experiments]
    print("| experiment | epoch | M: 0.05, 0.5, 0.95 quantile | null: 0.5, 0.95 | at FDR 5 % | reliability of a half |")
    print("|---|---|---|---|---|---|")
    print(*(row for experiment in experiments for row in amounts(experiment)), sep="\n")
    print("\n| M of | and of | rank correlation | ceiling |\n|---|---|---|---|")
    for one, other in combinations(experiments, 2):
        correlation, most = between(one, other)
        print(f"| {one.name} | {other.name} | {correlation.text()} | {most:.2f} |")
    print("\n| experiment | epoch | rank correlation of M with the distance from the class mean |\n|---|---|---|")
    for experiment in experiments:
        for epoch, correlation in zip(experiment.scores.epoch.values, atypical(experiment), strict=True):
            print(f"| {experiment.name} | {epoch} | {correlation.text()} |")
    if arguments.figure:
        draw(experiments).savefig(arguments.figure, dpi=150)
    if arguments.samples:
        draw_samples([arguments.results / name for name in arguments.experiments]).savefig(arguments.samples, dpi=150)


if __name__ == "__main__":
    main()
