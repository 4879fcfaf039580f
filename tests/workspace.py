"""A copy of the workflow with an experiment so small that the whole of it takes a minute, and ways to run Snakemake there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

REPOSITORY = Path(__file__).parents[1]
PARTS = ["Snakefile", "rules", "workflow", "profiles", "envs", "config.yaml"]

TINY = {
    "dataset": "toy",
    "model": {"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": [16, 8]},
    "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.01},
    "membership": {"design": "k_fold", "folds": 3, "repeats": 2},
    "scored_epochs": [2, 4],
    "estimators": ["published", "corrected"],
    "seed": 42,
}
# The analyses of `tiny`, those that are quick; a slow test of test_workflow.py makes them all.
ANALYSES = ["duplicates", "density_split", "neighbors", "mode_collapse", "membership_inference", "agreement"]


def create(folder: Path) -> Path:
    """Copy the workflow to `folder`, with a toy data set and the experiment `tiny`."""
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / part)
    rng = np.random.default_rng(0)
    label = np.arange(100) % 4
    images = (
        np.kron(np.eye(4)[label].reshape(-1, 2, 2), np.ones((4, 4))) * 200 + rng.integers(0, 56, (100, 8, 8))
    ).astype(np.uint8)
    np.savez(folder / "toy.npz", images=images, labels=label)
    change(folder, run=["tiny"])
    config = read(folder)
    config["datasets"]["toy"] = {"npz": "toy.npz", "test_fraction": 0.2}
    config["experiments"]["tiny"] = TINY | {"analyses": ANALYSES}
    config["estimators"]["published"]["samples"] = 8
    config["estimators"]["corrected"]["samples"] = 4
    write(folder, config)
    return folder


def read(folder: Path) -> dict:
    return yaml.safe_load((folder / "config.yaml").read_text())


def write(folder: Path, config: dict) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def change(folder: Path, *keys: str, **values: object) -> None:
    """Set `values` in the mapping found under `keys` of the workspace's config."""
    config = read(folder)
    place = config
    for key in keys:
        place = place[key]
    place.update(values)
    write(folder, config)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def snakemake(folder: Path, *arguments: str, cores: int = 2, timeout: int = 400) -> subprocess.CompletedProcess:
    """Run Snakemake in the workspace; its output, standard error included, is in `stdout`."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments]
    return subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Number of jobs of each rule that a dry run would run, target rules left out."""
    run = snakemake(folder, "--dry-run", *arguments)
    assert run.returncode == 0, run.stdout
    jobs = dict(re.findall(r"^([a-z_]+) +(\d+)$", run.stdout, flags=re.MULTILINE))
    return {rule: int(count) for rule, count in jobs.items() if rule not in ("all", "all_scores", "total")}
