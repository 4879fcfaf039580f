"""`snakemake paper`: its size, its speed, and, on tiny files in the published formats, everything it makes."""

import os
import re

import numpy as np
import pandas as pd
import pytest

import published_files
import synthetic
import workspace
from published_files import put
from workspace import planned, snakemake

FOUR = ["mnist_lr1e-3", "mnist_lr1e-4", "cifar10", "celeba"]
TRAIN, TEST = 60, 15


@pytest.fixture
def folder(tmp_path):
    """The workflow as shipped, with nothing built."""
    return workspace.create(tmp_path / "engram")


@pytest.mark.slow
def test_all_four_experiments_are_planned_within_15_seconds(folder):
    """Of processor time, which other work on the machine does not change."""
    before = os.times().children_user
    jobs = planned(folder, "paper")
    assert os.times().children_user - before < 15
    assert jobs["train"] == 4 * 11 and jobs["membership"] == 4 and jobs["dataset"] == 3
    assert jobs["likelihood"] == 2 * (20 * 10 * 2) + 2 * (2 * 10 * 2) and jobs["scores"] == 8
    assert jobs["reproduction"] == jobs["reproduction_report"] == 1 and "report" not in jobs


def test_the_small_version_is_made_by_the_same_rules(folder):
    jobs = planned(folder, "paper_small")
    assert jobs["train"] == 2 * 5 and jobs["dataset"] == 1
    assert jobs["reproduction"] == jobs["reproduction_report"] == 1


@pytest.mark.slow
def test_a_reproduction_that_the_config_lacks_is_named(folder):
    config = workspace.read(folder)
    del config["reproductions"]["paper_small"]
    workspace.write(folder, config)
    run = snakemake(folder, "--dry-run", "paper_small")
    assert run.returncode != 0 and "config.yaml has no reproductions.paper_small" in run.stdout
    assert planned(folder, "paper")["reproduction"] == 1


def published_data(folder, rng):
    """MNIST, CIFAR-10 and CelebA in their published formats, with few images; MD5 sums and sizes are not asked for."""
    digits = published_files.mnist_arrays(rng, TRAIN, TEST)
    put(folder / "data/mnist", {name: published_files.idx(array) for name, array in digits.items()})
    rows = published_files.cifar_rows(rng, TRAIN // 5)
    put(folder / "data/cifar10/cifar-10-batches-bin", published_files.cifar_binary(rows))
    faces = list(rng.integers(0, 256, (TRAIN + TEST, 218, 178, 3)))
    files = published_files.celeba(faces, [0] * TRAIN + [1] * 7 + [2] * (TEST - 7))
    put(folder / "data/celeba", {name: files[name] for name in ("list_eval_partition.txt", "img_align_celeba.zip")})
    for file, old, new in (
        ("mirror.py", "if md5 != published:", "if False:"),
        ("cifar.py", "BATCH_IMAGES = 10_000", f"BATCH_IMAGES = {TRAIN // 5}"),
    ):
        path = folder / "workflow/engram/datasets" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


def shrink(folder):
    """The four experiments with two folds, two repeats, two epochs, and few weights and samples."""
    config = workspace.read(folder)
    config["data_root"] = "data"
    for name in FOUR:
        experiment = config["experiments"][name]
        experiment["model"] |= {"latent_dim": 2} | ({"hidden": [16, 8]} if "mnist" in name else {"features": 2})
        experiment["training"] |= {"epochs": 2, "batch_size": 16}
        experiment["membership"] |= {"folds": 2, "repeats": 2}
        experiment["scored_epochs"] = [1, 2] if "mnist" in name else [2]
        experiment["overrides"] = {"published": {"samples": 4}, "corrected": {"samples": 2}}
        experiment["analyses"] = synthetic.OF_CLAIMS
    workspace.write(folder, config)


@pytest.mark.slow
def test_every_rule_of_the_paper_runs_on_files_in_the_published_formats(folder):
    published_data(folder, np.random.default_rng(0))
    shrink(folder)
    run = snakemake(folder, "paper", timeout=1800)
    assert run.returncode == 0, run.stdout
    assert planned(folder, "paper") == {}
    rows = pd.read_csv(folder / "results/paper/reproduction.csv")
    assert [*dict.fromkeys(rows["experiment"])] == [*FOUR, "mnist_lr1e-3 / mnist_lr1e-4"]
    printed = rows[rows["verdict"] != "not printed"]
    assert (printed["verdict"].str.startswith("not comparable: 60 images of ")).all()
    numbers = rows[rows["unit"] != "claim"]
    always = ~numbers["quantity"].str.contains("where U|with U")
    assert numbers[always][["as_published", "corrected"]].notna().all(axis=None)
    in_bits = rows[rows["unit"] == "bits per dimension"]
    assert [*dict.fromkeys(in_bits["experiment"])] == ["cifar10", "celeba"]
    assert (in_bits["corrected"].astype(float) > 0).all()
    page = (folder / "results/paper/report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page) and page.count("samples 4") >= 4
    for name in FOUR:
        assert f"Experiment {name}" in page
