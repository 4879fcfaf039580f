"""What would M's quantiles be with the paper's K = L = 10? Worked out from an experiment with fewer folds and repeats.

    uv run python benchmarks/effect_of_repeats.py --experiment mnist_lr1e-4_small [--estimator published] [--unseen]

The paper's M is a log mean over 90 densities minus one over 10. Its quantiles depend on these numbers even where nothing else
changes: noise in log p widens M, and log mean exp lifts the side with more values. So every image gets a model of its
log p values: a mean for either side and a spread of its own, and a shape of the noise shared by all images, all
taken from the experiment. The differences of the means are shrunk by the noise that they themselves contain, so that their
variance is that of the true ones. Drawing as many values as the experiment had must give back its quantiles (that is the check);
drawing 90 and 10 gives those of the paper's protocol. With --unseen, of test images, in each repeat of which a random model
counts as held out: where nothing is memorized. What is not covered: training on another share or number of images.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import finished_log_px
from scipy.special import logsumexp

from engram.randomness import generator
from engram.scores.permutation import one_held_out_per_repeat
from engram.scores.statistics import memorization_scores

LEVELS = {"median": 0.5, "0.95 quantile": 0.95, "0.999 quantile": 0.999}
SIMULATIONS = 20
PAPER = (90, 10)  # in and out values of an image at K = L = 10


class LogPx(NamedTuple):
    """A model of an experiment's log p values; arrays over images in nats, `noise` without unit, of mean 0 and variance 1."""

    difference: np.ndarray
    spread: np.ndarray
    noise: np.ndarray
    counts: tuple[int, int]


def fit(log_px: np.ndarray, is_in: np.ndarray) -> LogPx:
    """The model of log_px (models, n) with sides is_in (models, n), of which every image has equal numbers."""
    counts = int(is_in[:, 0].sum()), int((~is_in[:, 0]).sum())
    means = log_px.mean(0, where=is_in), log_px.mean(0, where=~is_in)
    residuals = log_px - np.where(is_in, *means)
    variance = (residuals**2).sum(0) / (sum(counts) - 2)
    # Of a value's variance, what its own side's mean leaves: nothing where the side has one value.
    share = np.where(is_in, *(1 - 1 / count for count in counts))
    noise = (residuals / np.sqrt(np.where(share > 0, share, np.nan) * variance))[share > 0]
    difference = means[0] - means[1]
    noise_in_difference = variance.mean() * (1 / counts[0] + 1 / counts[1])
    kept = np.sqrt(max(0.0, 1 - noise_in_difference / difference.var()))
    difference = difference.mean() + kept * (difference - difference.mean())
    return LogPx(difference, np.sqrt(variance), noise / noise.std(), counts)


def simulate(model: LogPx, counts: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """M of every image from `counts` fresh values on either side, (n,), nats."""

    def log_mean_exp(count: int) -> np.ndarray:
        values = model.spread * random.choice(model.noise, (count, len(model.spread)))
        return logsumexp(values, axis=0) - np.log(count)

    return model.difference + log_mean_exp(counts[0]) - log_mean_exp(counts[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="mnist_lr1e-4_small")
    parser.add_argument("--estimator", default="published")
    parser.add_argument("--unseen", action="store_true", help="test images in place of those trained on")
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    log_px, in_training, repeat, test = finished_log_px(arguments.results / arguments.experiment, arguments.estimator)
    is_in = one_held_out_per_repeat(repeat, int(test.sum())) if arguments.unseen else in_training[:, ~test]
    log_px = log_px[..., test if arguments.unseen else ~test].mean(1)
    observed = memorization_scores(log_px, is_in, "log_mean_exp")
    model, random = fit(log_px, is_in), generator(42, "effect_of_repeats")
    here, paper = (
        np.array([np.quantile(simulate(model, counts, random), list(LEVELS.values())) for _ in range(SIMULATIONS)])
        for counts in (model.counts, PAPER)
    )
    print(f"{arguments.experiment}, {arguments.estimator}: M in nats, {len(observed)} images, {model.counts} values")
    print(f"{'':16s}{'observed':>10s}{'simulated':>18s}{'simulated at 90, 10':>22s}")
    for position, (name, level) in enumerate(LEVELS.items()):
        cells = [f"{x[:, position].mean():.2f} +- {x[:, position].std():.2f}" for x in (here, paper)]
        print(f"{name:16s}{np.quantile(observed, level):10.2f}{cells[0]:>18s}{cells[1]:>22s}")
    print(f"mean in-out difference of log p: {model.difference.mean():.2f}; spread of log p: {model.spread.mean():.2f}")


if __name__ == "__main__":
    main()
