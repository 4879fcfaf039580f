"""What every estimator reports where nothing is memorized, and whether its p-values keep their promises there.

    uv run python benchmarks/null_experiment.py [--experiment null_mnist5k] [--results results]

Reads a finished experiment of membership design `null`. Its models never saw the scored images; which of them count as
having held an image out was drawn for every image apart, independently of everything else. So given the models, which
all images share, these labels are all that is random, and drawing them anew repeats the experiment exactly. That is
done 200 times, and the experiment as it was is judged against these repetitions. Takes seconds; exit code 1 if a
promise is broken. docs/null.md explains the numbers.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import chisquare, false_discovery_control

from engram.conventions import FDR
from engram.designs.membership import design
from engram.files import artifacts
from engram.files.inputs import last, null_quantile
from engram.scores.permutation import permutation_test
from engram.scores.stage import Comparison, read_log_px
from engram.scores.statistics import memorization_scores

RELABELLINGS = 200
BINS = 25
LEVELS = (0.5, 0.95, 0.999)


class Estimate(NamedTuple):
    """A mean and its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} +- {self.error:.4f}"


class Labelling(NamedTuple):
    """One labelling: chi-square of its p-values, share of p <= 0.05, whether Benjamini-Hochberg finds anything at FDR
    5 % among all images, in what share of small families of images it does, and the mean score (nats).
    """

    chi_square: float
    small: float
    found: bool
    found_in_families: float
    mean_score: float


class Judged(NamedTuple):
    """One estimator's null experiment: its scores, its labelling, the repetitions', and its mean score over repeats."""

    scores: xr.Dataset
    here: Labelling
    again: Labelling  # of arrays (RELABELLINGS,)
    mean_score: Estimate

    def over_relabellings(self, name: str) -> Estimate:
        values = getattr(self.again, name)
        return Estimate(values.mean(), values.std(ddof=1) / np.sqrt(len(values)))

    @property
    def p_uniform(self) -> float:
        """P-value of "the p-values are uniform": the rank of their chi-square among those of all labellings."""
        return (1 + np.sum(self.again.chi_square >= self.here.chi_square)) / (len(self.again.chi_square) + 1)

    def rows(self) -> dict[str, str]:
        floor, mean_score = self.scores.attrs["p_value_floor"], self.again.mean_score
        null = [null_quantile(self.scores, level) for level in LEVELS]
        return {
            "statistic": self.scores.attrs["statistic"],
            "mean score +- error over repeats": str(self.mean_score),
            "  mean and deviation over relabellings": str(Estimate(mean_score.mean(), mean_score.std(ddof=1))),
            "score: median, q95, q99.9": ", ".join(f"{q:.2f}" for q in np.quantile(last(self.scores), LEVELS)),
            "  null quantiles of the artifact": ", ".join(f"{q:.2f}" for q in null),
            "smallest possible p-value": f"1/{1 / floor:.0f}",
            f"chi-square of uniformity, {BINS} bins": f"{self.here.chi_square:.1f}, p {self.p_uniform:.3f}",
            "share of p <= 0.05": f"{self.here.small:.4f}",
            "  over relabellings": str(self.over_relabellings("small")),
            "images found at FDR 5 %": str(int((self.scores["q_value"].values <= FDR).sum())),
            "share of relabellings with any found": str(self.over_relabellings("found")),
            f"  among {family_size(floor)} images": str(self.over_relabellings("found_in_families")),
        }

    def broken(self) -> list[str]:
        """Promises not kept."""
        found, in_families = (self.over_relabellings(name) for name in ("found", "found_in_families"))
        mean_score, unbiased = self.mean_score, self.scores.attrs["statistic"] == "mean_log"
        kept = {
            "p-values are uniform on their lattice": self.p_uniform > 0.01,
            "at most 5 % of relabellings have a discovery": found.mean <= FDR + 2 * found.error,
            "at most 5 % of small families have a discovery": in_families.mean <= FDR + 3 * in_families.error,
            "the mean score is 0 within 3 errors": abs(mean_score.mean) <= 3 * mean_score.error or not unbiased,
        }
        return [promise for promise, holds in kept.items() if not holds]


def judge(scores: xr.Dataset, log_px: np.ndarray, comparison: Comparison) -> Judged:
    """From the scores of one estimator and the log p (models, draws, n) behind those of the last epoch, nats."""
    statistic, floor = scores.attrs["statistic"], scores.attrs["p_value_floor"]
    again = repetitions(log_px, comparison, statistic, int(scores.attrs["relabellings"]))
    return Judged(
        scores,
        labelling(scores["p_value"].values, floor, last(scores)),
        Labelling(*map(np.array, zip(*again, strict=True))),
        mean_score(log_px, comparison, statistic),
    )


def repetitions(log_px: np.ndarray, comparison: Comparison, statistic: str, permutations: int) -> Iterator[Labelling]:
    """The experiment with other labels and the same log p (models, draws, n), RELABELLINGS times."""
    for number in range(RELABELLINGS):
        is_in = relabelled(comparison, number)
        test = permutation_test(log_px, is_in, comparison.repeat, permutations, seed=number)
        score = memorization_scores(log_px, is_in, statistic, comparison.repeat)
        yield labelling(test.p_value, test.floor, score)


def relabelled(comparison: Comparison, number: int) -> np.ndarray:
    """Sides (models, n), drawn as the experiment's were: in every repeat the images are dealt out to the models."""
    n, folds, repeats = len(comparison.images), comparison.fold.max() + 1, comparison.repeat.max() + 1
    settings = {"design": "k_fold", "folds": folds, "repeats": repeats}
    return design(settings, np.zeros(n), np.full(n, -1), number, "relabelling").counted_as_in


def labelling(p_value: np.ndarray, floor: float, score: np.ndarray) -> Labelling:
    """What is said of one labelling, from its p-values, the smallest they can be, and its scores, (n,) each."""
    return Labelling(
        chi_square(p_value, floor),
        float(np.mean(p_value <= FDR)),
        bool((false_discovery_control(p_value) <= FDR).any()),
        found_in_families(p_value, floor),
        float(score.mean()),
    )


def chi_square(p_value: np.ndarray, floor: float) -> float:
    """Pearson's statistic of p-values (n,) against uniformity on their lattice floor, 2 floor, ..., 1, in BINS bins."""
    points = round(1 / floor)
    edges = np.unique(np.linspace(0, points, BINS + 1).round())
    # Half a point on, so that rounding moves no p-value into another bin.
    observed = np.histogram(p_value * points, edges + 0.5)[0]
    return float(chisquare(observed, len(p_value) * np.diff(edges) / points).statistic)


def found_in_families(p_value: np.ndarray, floor: float) -> float:
    """Share of families of images in which Benjamini-Hochberg finds any, each small enough that it could.

    Among all images of a small experiment it finds none for want of small p-values; here its promise is put to the test.
    """
    size = min(family_size(floor), len(p_value))
    families = p_value[: len(p_value) // size * size].reshape(-1, size)
    return float((false_discovery_control(families, axis=1) <= FDR).any(axis=1).mean())


def family_size(floor: float) -> int:
    """The most images among which Benjamini-Hochberg can find a single one."""
    return max(1, int(FDR / floor))


def mean_score(log_px: np.ndarray, comparison: Comparison, statistic: str) -> Estimate:
    """Mean score over images, nats, and its jackknife standard error over repeats."""

    def mean(models: np.ndarray) -> float:
        is_in, repeat = comparison.is_in[models], comparison.repeat[models]
        return memorization_scores(log_px[models], is_in, statistic, repeat).mean()

    repeat = comparison.repeat
    without = [mean(repeat != number) for number in np.unique(repeat)]
    return Estimate(mean(repeat >= 0), np.sqrt((len(without) - 1) * np.var(without)))


def read(folder: Path, estimator: str) -> tuple[xr.Dataset, np.ndarray, Comparison]:
    """Scores of one estimator, log p (models, draws, n) at its last scored epoch, and what is compared."""
    scores = artifacts.read(folder / "scores" / f"{estimator}.h5", "scores")
    comparison = Comparison.of(artifacts.read(folder / "membership.h5", "membership"))
    files = (folder / "likelihood" / estimator).glob(f"repeat-*/epoch-{int(scores['epoch'][-1])}.h5")
    return scores, read_log_px(sorted(map(str, files)), comparison), comparison


def table(columns: dict[str, dict[str, str]]) -> str:
    """Rows of text under the names of the columns, aligned."""
    names = next(iter(columns.values()))
    rows = [["", *columns], *([name, *(column[name] for column in columns.values())] for name in names)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiment", default="null_mnist5k")
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args()
    folder = options.results / options.experiment
    estimators = sorted(path.stem for path in (folder / "scores").glob("*.h5"))
    if not estimators:
        raise SystemExit(f"{folder}/scores: no scores there; run the experiment first (docs/null.md)")
    judged = {estimator: judge(*read(folder, estimator)) for estimator in estimators}
    print(f"{options.experiment}: what is reported of images that no model saw (nats)\n")
    print(table({estimator: found.rows() for estimator, found in judged.items()}), end="\n\n")
    broken = [f"{estimator}: broken: {promise}" for estimator, found in judged.items() for promise in found.broken()]
    print("\n".join(broken) or "every promise is kept")
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    main()
