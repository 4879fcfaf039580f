"""M of the images that the models were trained on beside M of images that none of them saw: memorization beside noise.

    uv run python benchmarks/unseen_images.py --experiment mnist_lr1e-3_small

Takes the likelihoods of a finished experiment at its last scored epoch, or of those repeats that are finished. Test images get the
same score as training images, with a fold chosen at random in each repeat counted as the one that held them out. No model saw
them, so their M is what the recipe gives where nothing is memorized: its bias, the noise of the estimator, of the observations,
and of training another model. Prints quantiles of both with 95 % bootstrap intervals, writes more of them as CSV, and a figure.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from common import finished_log_px
from scipy.stats import bootstrap

from engram.figures.published_null import draw
from engram.scores.permutation import unseen_scores
from engram.scores.statistics import memorization_scores

LEVELS = {"median": 0.5, "0.95 quantile": 0.95, "0.999 quantile": 0.999}
WRITTEN = [*np.arange(100) / 100, 0.995, 0.999, 0.9995, 0.9999, 1.0]
SEED = 42


def seen_and_unseen(experiment: Path, estimator: str, statistic: str) -> tuple[np.ndarray, np.ndarray]:
    """M of the training images and of the test images, (n,) and (m,), in nats."""
    log_px, in_training, repeat, test = finished_log_px(experiment, estimator)
    seen = memorization_scores(log_px[..., ~test], in_training[:, ~test], statistic, repeat)
    return seen, unseen_scores(log_px[..., test], repeat, statistic, SEED)


def table(seen: np.ndarray, unseen: np.ndarray) -> str:
    """Mean and quantiles of both in nats with 95 % bootstrap intervals over images, and how often M passes the null's."""
    statistics = {"mean": np.mean} | {name: _quantile(level) for name, level in LEVELS.items()}
    lines = [f"{'':16s}{'trained on':>24s}{'not seen (null)':>24s}"]
    for name, statistic in statistics.items():
        lines.append(f"{name:16s}" + "".join(f"{_with_interval(score, statistic):>24s}" for score in (seen, unseen)))
    shares = ", ".join(f"{100 * (seen > np.quantile(unseen, q)).mean():.2f} % above its {q}" for q in (0.95, 0.999))
    return "\n".join([*lines, f"of the {len(seen):,} images trained on, by quantiles of the null: {shares}"])


def _quantile(level: float):
    return lambda score, axis=-1: np.quantile(score, level, axis=axis)


def _with_interval(score: np.ndarray, statistic) -> str:
    found = bootstrap((score,), statistic, n_resamples=1000, rng=SEED, method="percentile", batch=20)
    return f"{statistic(score):.2f} [{found.confidence_interval.low:.2f}, {found.confidence_interval.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="mnist_lr1e-3_small")
    parser.add_argument("--estimators", nargs="+", default=["published", "corrected"])
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    settings = yaml.safe_load(Path("config.yaml").read_text())["estimators"]
    found = {
        name: seen_and_unseen(arguments.results / arguments.experiment, name, settings[name]["statistic"])
        for name in arguments.estimators
    }
    for name, (seen, unseen) in found.items():
        print(f"{arguments.experiment}, {name}, M in nats\n{table(seen, unseen)}\n")
    quantiles = pd.DataFrame(
        {
            f"{name}, {side}": np.quantile(score, WRITTEN)
            for name, pair in found.items()
            for side, score in zip(("trained on", "not seen"), pair, strict=True)
        },
        index=pd.Index(WRITTEN, name="quantile"),
    )
    output = arguments.results / f"unseen_images_{arguments.experiment}"
    quantiles.to_csv(output.with_suffix(".csv"), float_format="%.4f")
    null, trained_on = ({name: pair[side] for name, pair in found.items()} for side in (1, 0))
    draw(null, scores=trained_on).savefig(output.with_suffix(".png"), dpi=200)


if __name__ == "__main__":
    main()
