"""How far do results spread over seeds? The quickstart's scores under several root seeds, everything trained anew.

    uv run python benchmarks/seeds.py FOLDER [SEED ...]

For each seed (42 to 46 by default) a copy of the project in FOLDER/SEED runs `snakemake all_scores`, some 4 minutes on 2 cores;
a copy that is finished is only read. A seed names folds, initial weights, order of images, draws of x and importance samples.
"""

import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from common import print_table
from scipy.stats import spearmanr

from engram.scores.permutation import FDR

PROJECT = Path(__file__).parents[1]
PARTS = ["Snakefile", "rules", "workflow", "profiles", "envs", "config.yaml"]
SEEDS = [42, 43, 44, 45, 46]
ESTIMATORS = ["published", "corrected"]


def main() -> None:
    folder, seeds = Path(sys.argv[1]), [*map(int, sys.argv[2:])] or SEEDS
    scores = {seed: run(folder / str(seed), seed) for seed in seeds}
    for estimator in ESTIMATORS:
        tables = {seed: by_estimator[estimator] for seed, by_estimator in scores.items()}
        print(f"\n{estimator}")
        print_table([row(seed, table) for seed, table in tables.items()])
        for sentence in spread([*tables.values()]):
            print(sentence)


def run(folder: Path, seed: int) -> dict[str, pd.DataFrame]:
    """The scores of the quickstart under a seed, by estimator."""
    paths = {estimator: folder / f"results/quickstart/scores/{estimator}.csv" for estimator in ESTIMATORS}
    if not all(path.exists() for path in paths.values()):
        for part in PARTS:
            copy = shutil.copytree if (PROJECT / part).is_dir() else shutil.copy
            folder.mkdir(parents=True, exist_ok=True)
            copy(PROJECT / part, folder / part)
        config = (folder / "config.yaml").read_text()
        first = "    seed: 42\n"  # the quickstart's: it is the first experiment
        (folder / "config.yaml").write_text(config.replace(first, f"    seed: {seed}\n", 1))
        command = [sys.executable, "-m", "snakemake", "--cores", "all", "--quiet", "all", "--", "all_scores"]
        subprocess.run(command, cwd=folder, check=True)
    return {estimator: pd.read_csv(path) for estimator, path in paths.items()}


def row(seed: int, table: pd.DataFrame) -> dict[str, object]:
    score = table["score"]
    return {
        "seed": seed,
        "found at FDR 5 %": int((table["q_value"] <= FDR).sum()),
        "median M": f"{score.median():.2f}",
        "0.95 quantile": f"{score.quantile(0.95):.2f}",
        "highest M": f"{score.max():.1f}",
    }


def spread(tables: list[pd.DataFrame]) -> list[str]:
    """What changes from seed to seed, of the number found and of single images."""
    score = np.array([table["score"] for table in tables])
    found = np.array([table["q_value"] <= FDR for table in tables])
    pairs = [*combinations(range(len(tables)), 2)]
    correlation = np.mean([spearmanr(score[a], score[b]).statistic for a, b in pairs])
    shared = np.mean([(found[a] & found[b]).sum() / (found[a] | found[b]).sum() for a, b in pairs])
    stated = np.sqrt(np.mean([table["standard_error"] ** 2 for table in tables]))
    over_seeds = np.sqrt(score.var(axis=0, ddof=1).mean())
    count = found.sum(axis=1)
    return [
        f"found: {count.min()} to {count.max()}, mean {count.mean():.0f}, standard deviation {count.std(ddof=1):.0f}",
        f"of the images found under either of two seeds, both find {100 * shared:.0f} %",
        f"found under all {len(tables)} seeds: {found.all(axis=0).sum()} images",
        f"rank correlation of scores under two seeds: {correlation:.2f}",
        f"an image's score, root mean square over images: standard deviation over seeds {over_seeds:.2f} nats, "
        f"stated standard error {stated:.2f} nats",
    ]


if __name__ == "__main__":
    main()
