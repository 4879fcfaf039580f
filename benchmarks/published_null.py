"""How much of the published distribution of M is estimator noise? The paper's recipe where nothing can be memorized.

    uv run snakemake --cores all results/mnist_lr1e-3/models/full.h5 results/mnist_lr1e-4/models/full.h5
    uv run python benchmarks/published_null.py results/mnist_lr1e-3/models/full.h5 results/mnist_lr1e-4/models/full.h5

Takes test images, which no model was trained on, and scores them by the paper's protocol: K L = 100 evaluations of log p,
each with the encoder's 256 importance samples on a binarization of its own, 10 of them counted as held out and 90 as trained
on. All evaluations are of one and the same model, so M is 0 for every image, and what is reported is the recipe's noise. (A
file of several models, such as models/repeat-00.h5, is used in turn: then the noise of training is in it, too.) Prints its
quantiles beside the published ones, writes the scores as CSV and a figure of them. 2,000 images take about 10 minutes a file, on
one core each.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from scipy.stats import bootstrap

from engram.figures.published_null import draw
from engram.files import artifacts
from engram.likelihood.evaluation import Evaluation, evaluate
from engram.paper import published
from engram.randomness import generator
from engram.runtime.device import use_fastest_float32
from engram.scores.statistics import memorization_scores
from engram.training import trained

FOLDS = REPEATS = 10
LEVELS = {"median of M": 0.5, "0.95 quantile of M": 0.95, "0.999 quantile of M": 0.999}
SEED = 42


def null_scores(models_file: Path, images: int) -> pd.DataFrame:
    """Scores of the first test images under the models of a file, by the paper's protocol: columns experiment, image, score."""
    torch.set_num_threads(1)
    use_fastest_float32()
    stored = artifacts.read(models_file, "models")
    data = artifacts.read(models_file.parents[2] / "datasets" / "mnist.h5", "dataset")
    chosen = np.flatnonzero(data.split.values == artifacts.TEST)[:images]
    models = trained.load_models(models_file, int(stored.epoch[-1]))
    evaluation = Evaluation(
        yaml.safe_load(Path("config.yaml").read_text())["estimators"]["published"],
        models[0].image_shape,
        (SEED, "published_null", stored.attrs["experiment"]),
        torch.device("cpu"),
    )
    log_px = evaluate(
        evaluation,
        [models[k % len(models)] for k in range(FOLDS * REPEATS)],
        [("evaluation", k) for k in range(FOLDS * REPEATS)],
        data.images.values[chosen],
        stored.attrs["experiment"],
    ).log_px[:, 0]
    score = memorization_scores(log_px.numpy(), one_held_out_per_repeat(len(chosen)), "log_mean_exp")
    return pd.DataFrame({"experiment": stored.attrs["experiment"], "image": chosen, "score": score})


def one_held_out_per_repeat(images: int) -> np.ndarray:
    """Labels that mean nothing, (FOLDS * REPEATS, images) bool: in every repeat a random fold counts as held out."""
    fold = generator(SEED, "published_null", "labels").integers(FOLDS, size=(REPEATS, 1, images))
    return (np.arange(FOLDS)[:, None] != fold).reshape(-1, images)


def published_quantiles(experiment: str) -> dict[str, float]:
    """The paper's quantiles of M, of images that were trained on, in nats."""
    return {value.quantity: value.value for value in published.VALUES[experiment] if value.quantity in LEVELS}


def table(scores: pd.DataFrame) -> str:
    """Quantiles of the null with 95 % bootstrap intervals over images, beside the published ones, in nats."""
    lines = [f"{'':15s}{'':20s}{'null, 95 % interval':>26s}{'published':>12s}"]
    for experiment, group in scores.groupby("experiment"):
        score = group["score"].to_numpy()
        printed = published_quantiles(experiment)
        for name, level in LEVELS.items():
            interval = bootstrap(
                (score,), lambda s, axis, q=level: np.quantile(s, q, axis=axis), n_resamples=2000, rng=SEED,
                method="percentile",
            ).confidence_interval  # fmt: skip
            found = f"{np.quantile(score, level):.2f} [{interval.low:.2f}, {interval.high:.2f}]"
            lines.append(f"{experiment:15s}{name:20s}{found:>26s}{printed[name]:12.2f}")
        lines.append(
            f"{experiment:15s}{'mean of M':20s}{score.mean():.2f} +- {score.std(ddof=1) / len(score) ** 0.5:.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="results/{experiment}/models/full.h5")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path("results/published_null.csv"))
    parser.add_argument("--figure", type=Path, default=Path("results/published_null.png"))
    arguments = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(null_scores, arguments.models, [arguments.images] * len(arguments.models)))
    scores = pd.concat(parts)
    scores.to_csv(arguments.output, index=False, float_format="%.5f")
    print(table(scores))
    null = {experiment: group["score"].to_numpy() for experiment, group in scores.groupby("experiment")}
    printed = {
        experiment: {LEVELS[name]: value for name, value in published_quantiles(experiment).items()}
        for experiment in null
    }
    draw(null, printed).savefig(arguments.figure, dpi=200)


if __name__ == "__main__":
    main()
