"""The benchmarks run at tiny sizes, and what they compute from measurements is right. Nothing is claimed about speed here."""

import csv
import importlib
import json
import os
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from engram import catalogue
from engram.datasets import idx
from engram.files import artifacts
from engram.likelihood import laplace
from engram.models import build
from engram.scores.statistics import memorization_scores

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import against_reference  # noqa: E402
import ceilings  # noqa: E402
import common  # noqa: E402
import data_dimension  # noqa: E402
import effect_of_repeats  # noqa: E402
import gradient_pairs  # noqa: E402
import labels  # noqa: E402
import lockstep  # noqa: E402
import read_folder  # noqa: E402
import scaling  # noqa: E402
import scaling_measures  # noqa: E402
import tensor_float  # noqa: E402
import whole_experiment  # noqa: E402
from reference_program import write_idx  # noqa: E402

# As much of a program with the reference's interface as the benchmark calls; its estimate of log p is a fixed number.
PROGRAM = {
    "dataset": """
        import os
        from torch.utils.data import DataLoader, Subset
        from torchvision import datasets, transforms
        class MNIST(datasets.MNIST):
            def __getitem__(self, index):
                return *super().__getitem__(index), index
        class SplitDataset:
            def __init__(self, name, root_seed, batch_size, params):
                root = os.path.join(os.environ["DL_DATASETS_ROOT"], "MNIST")
                made = transforms.Compose([transforms.Pad(2), transforms.ToTensor()])
                self._data, self._test = (MNIST(root, train, made, download=True) for train in (True, False))
            def create_full(self):
                return DataLoader(self._data, 64)
            def create_full_test(self):
                return DataLoader(self._test, 64)
            def create_subset_loader(self, indices):
                return DataLoader(Subset(self._data, indices), 64)
        """,
    "models": """
        from torch import nn
        def load_model(name, img_dim, latent_dim, in_channels):
            sizes = [(1024, 512), (512, 256), (256, latent_dim), (256, latent_dim)]
            return nn.ModuleList(nn.Linear(*s) for s in [*sizes, (latent_dim, 256), (256, 512), (512, 1024)])
        """,
    "trainer": """
        import torch
        class MarginalTrainer:
            def __init__(self, device, epochs, lr):
                self.seen = 0
            def fit(self, model, train_loader, test_loader, compute_px_every):
                self.seen += sum(len(x) for x, *_ in train_loader)
            def marginal(self, model, loader, N):
                return {int(i): -100.0 for *_, rows in loader for i in rows}
            def marginal_batch(self, model, x, N):
                return torch.full((len(x),), -1000.0 + N)
        """,
}


@pytest.fixture
def program(tmp_path):
    for name, code in PROGRAM.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
    modules = set(sys.modules)
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(PROGRAM) - modules | {"SyncRNG"}:
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_the_comparison_prints_every_measurement(program, capsys, monkeypatch):
    monkeypatch.delenv("ENGRAM_DATA_ROOT", raising=False)
    sizes = {"train": 64, "images": 8, "error-images": 4, "most-samples": 1024, "truth-samples": 64, "rounds": 1}
    settings = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    precision = torch.get_float32_matmul_precision()
    try:
        table = program / "table.csv"
        against_reference.main(["--reference", str(program), "--threads", "1", "--csv", str(table), *settings])
    finally:
        torch.set_float32_matmul_precision(precision)
    printed = capsys.readouterr().out
    with table.open(newline="") as file:
        rows = [row["images/s"] for row in csv.DictReader(file)]
    assert rows == ["training, steps", "training, whole epoch", "log p, `published`", "log p, `corrected`"]
    assert "| reference | 256 |" in printed and "| reference | 1024 |" in printed
    assert "does not reach" in printed


def test_bias_deviation_and_error_of_a_hand_case():
    errors = against_reference.Errors.of(torch.tensor([-1.0, 1.0, 3.0]), torch.zeros(3))
    assert (errors.bias, errors.deviation) == pytest.approx((1, 2))
    assert errors.rms == pytest.approx((11 / 3) ** 0.5)


def test_the_factor_counts_samples_and_speed():
    errors = against_reference.Errors
    ours, theirs = errors(0, 0.3, 0.3), {256: errors(-1, 1, 1.4), 1024: errors(-0.1, 0.2, 0.22)}
    # Four times the samples of its default, at which we are twice as fast.
    assert "at 1024 samples: 8 [8, 8]" in against_reference._factor(ours, theirs, np.array([2.0]))
    never = {256: errors(-1, 1.2, 1.6), 1024: errors(-0.5, 0.6, 0.8)}
    said = against_reference._factor(ours, never, np.array([2.0]))
    assert "more than 8 [8, 8]" in said
    assert "4096 samples would do: 32 [32, 32]" in said  # sd 0.6 to 0.3: four times as many
    assert "samples^-0.50" in said


def test_actions_take_turns_and_the_first_round_does_not_count():
    done = []
    rates = common.alternate({name: lambda name=name: done.append(name) or 5 for name in "ab"}, rounds=2)
    assert "".join(done) == "ab" + "ba" + "ab"
    assert {name: rate.shape for name, rate in rates.items()} == {"a": (2,), "b": (2,)}
    assert all((rate > 0).all() for rate in rates.values())


def test_spread_is_median_lowest_and_highest():
    assert common.spread(np.array([3.0, 1.0, 2.0]), 1) == "2.0 [1.0, 3.0]"


def test_written_idx_files_are_read_back(tmp_path, rng):
    images = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    write_idx(tmp_path / "images", images)
    assert (idx.parse(tmp_path / "images", (tmp_path / "images").read_bytes(), 3) == images).all()


def test_training_steps_change_the_model_and_take_no_losses(tmp_path, rng):
    images = rng.integers(0, 256, (70, 64), dtype=np.uint8)
    small = {"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": [8, 4]}
    one = common.trained_by_engram(common.StepsOnly, small, (1, 8, 8), images, tmp_path, folds=2)
    fresh = build(image_shape=(1, 8, 8), **small)
    assert one.epoch == 1 and np.isnan(one.losses.train).all()
    assert one.packs[0].state(0).keys() == fresh.state_dict().keys()


@pytest.mark.slow
def test_lockstep_compares_the_ways_of_packing(capsys):
    lockstep.main(["--folds", "2", "--steps", "1", "--rounds", "1", "--cores", "1"])
    assert "| training, images/s | alone | by turns | in one pack |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_experiment_is_extrapolated_from_a_part(capsys):
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    try:
        sizes = ["--images", "640", "--judged", "2", "--side", "64", "--overhead", "3600"]
        whole_experiment.main(["--experiments", "mnist_lr1e-3", *sizes])
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
    rows = [
        line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| mnist")
    ]
    hours = [float(row[-1]) for row in rows]
    assert hours[-1] == pytest.approx(sum(hours[:-1]), abs=0.03) and hours[-2] == pytest.approx(451 / os.cpu_count())
    # Two operations a weight and pass; there are three passes, but for the gradient of the image.
    weights = 2 * (1024 * 512 + 512 * 256) + 3 * 256 * 16
    of_pass = [6 * weights - 2 * 1024 * 512, 2 * weights]
    assert [float(row[3]) for row in rows[:2]] == [round(flop / 1e6, 1) for flop in of_pass]


def test_tensor_float_has_ten_bits_of_mantissa_and_rounds_to_even():
    step = 2.0**-10
    values = torch.tensor([1 + step, 1 + 1.4 * step, -1 - 1.6 * step, 1 + 0.5 * step, 1 + 1.5 * step, 0.0, 3e-20])
    expected = [1 + step, 1 + step, -1 - 2 * step, 1, 1 + 2 * step, 0]
    assert tensor_float.tensor_float(values)[:6].tolist() == expected
    assert tensor_float.tensor_float(values)[6].item() == pytest.approx(3e-20, rel=2.0**-11)


def test_only_the_factors_of_a_product_are_rounded():
    a, b = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)).unbind()
    rounded = tensor_float.tensor_float(a) @ tensor_float.tensor_float(b)
    with tensor_float.TensorFloat():
        assert torch.equal(a @ b, rounded) and not torch.equal(rounded, torch.mm(b, a))
        assert torch.equal(a + b, b + a)
        assert torch.equal(
            torch.addmm(a, a, b), torch.addmm(a, tensor_float.tensor_float(a), tensor_float.tensor_float(b))
        )


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_finds_what_it_imports(script):
    importlib.import_module(script.stem)


def test_effect_of_repeats_foretells_scores_from_more_models():
    """Values of log p whose means and noise are known: M from 16 + 4 of them must foretell M from 90 + 10."""
    random = np.random.default_rng(0)
    difference, spread = random.normal(3, 2, 4000), random.gamma(9, 0.2, 4000)

    def drawn(inside: int, outside: int) -> tuple[np.ndarray, np.ndarray]:
        is_in = np.repeat(np.arange(inside + outside)[:, None] < inside, 4000, 1)
        return is_in * difference + spread * random.standard_normal(is_in.shape), is_in

    few, many = drawn(16, 4), drawn(90, 10)
    foretold = effect_of_repeats.simulate(effect_of_repeats.fit(*few), (90, 10), random)
    levels = [0.5, 0.95, 0.99]
    expected = np.quantile(memorization_scores(*many, "log_mean_exp"), levels)
    assert (np.abs(np.quantile(memorization_scores(*few, "log_mean_exp"), levels) / expected - 1) > 0.05).any()
    np.testing.assert_allclose(np.quantile(foretold, levels), expected, rtol=0.04)


@pytest.mark.parametrize("signs", ["Hadamard", "random"])
def test_gradient_pairs_takes_as_many_pairs_as_it_says_and_then_the_usual_ones(signs):
    usual = laplace._directions(16)
    for pairs in (8, 16, 24):
        with gradient_pairs._along(signs, pairs):
            assert laplace._directions(16).shape == (pairs, 16) and (laplace._directions(16).abs() == 1).all()
    assert torch.equal(laplace._directions(16), usual)


def test_gradient_pairs_has_a_row_for_each_number_of_pairs_and_kind_of_signs():
    model = build("bernoulli_mlp_vae", image_shape=(1, 8, 8), latent_dim=2, hidden=[8]).eval()
    x = (torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    rows = list(gradient_pairs._rows(model, x, 2, reference_samples=50))
    assert [row["pairs"] for row in rows] == ["encoder", 8, 8, 16, 16, 20, 20, 24, 24]
    assert all(float(row["rms"]) < 1 for row in rows), "an untrained model's posterior is nearly the prior"


def test_labels_counts_every_image_of_each_part_once():
    case = labels.Case("circle_with_point", 110, 4, labels.NOT_MEMORIZED)
    found = labels.counted(case, seed=1)
    assert {*found} == {(part, way) for part in ("circle", "point") for way in ("LIDL", "exact")}
    for (part, way), numbers in found.items():
        assert numbers[:3].sum() == (10 if part == "point" else 100)
        assert numbers[0] >= (10 if part == "point" else 80), way
    assert found["circle", "exact"][3:].tolist() == [1, 1, 1]
    of_circle, of_point = labels._rows(case, [found])[:2]
    assert of_circle["right"].endswith(f" to {found['circle', 'LIDL'][0]:.0f}")
    assert (of_point["should be"], of_point["right"], of_point["wrong"]) == (labels.DATA, "10 to 10", "0 to 0")


def test_data_dimension_has_a_row_for_a_ball_and_for_a_part():
    ball = data_dimension.of_ball(2, images=150, seeds=2)
    low, high = map(float, ball["mean of `lid_data`"].split(" to "))
    assert 1.6 < low <= high < 2.4
    part = data_dimension.of_rounding("lollipop", {}, 0, 150)
    assert part["part"] == "disc, 2, 150" and 1.6 < float(part["lid_data"].split(", ")[0]) < 2.4


def test_ceilings_prints_a_table(capsys):
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    try:
        ceilings.main(["--threads", "1", "--seconds", "0.01"])
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
    assert "float32, oneDNN" in capsys.readouterr().out


def test_the_made_up_experiment_goes_through_the_score_stage(tmp_path):
    scaling._write_experiment(str(tmp_path), 40, 1)
    assert scaling._score(str(tmp_path), 1) > 0
    assert len((tmp_path / "corrected.csv").read_text().splitlines()) == 41


def test_permutations_and_neighbours_run_at_tiny_sizes():
    assert scaling._permute(20) > 0
    assert scaling._find_nearest(30, 10) > 0


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            ["copy_tests", "model_attacks", "membership_inference", "neighbors", "data_dimension"],
            marks=pytest.mark.slow,
        ),
        ["dynamics"],
        pytest.param(["influence"], marks=pytest.mark.slow),
        pytest.param(["predictors"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_made_up_artifacts_give_every_measure_that_the_models_can_have(names, tmp_path):
    """All columns of the table: of those that a VAE, one scored epoch or so few images cannot give, the analysis says so."""
    for name in names:
        scaling_measures._write(str(tmp_path), scaling_measures.ANALYSES[name], 100, 20)
        assert scaling_measures._analyse(str(tmp_path), name) > 0
    assert scaling_measures._gather(str(tmp_path), names) > 0
    measures = artifacts.read(tmp_path / "measures.h5", "measures")
    lacking = json.loads(measures.attrs["lacking"])
    reasons = "predicts noise", "one epoch only", "needs 101 different training images"
    assert all(any(each in reason for each in reasons) for reason in lacking.values())
    declared = {name for analysis in names for name in catalogue.ANALYSES[analysis].measures}
    assert {name for name in declared if np.isfinite(measures[name].values).any()} == declared - {*lacking}


def test_the_spread_over_seeds_is_that_of_scores_made_with_it():
    """Scores of one true value each and errors of 2 nats: so much they must differ from seed to seed."""
    seeds, random = importlib.import_module("seeds"), np.random.default_rng(1)
    truth = random.normal(5, 3, 4000)
    tables = [
        pd.DataFrame({"score": truth + random.normal(0, 2, 4000), "standard_error": 2.0, "q_value": truth < 2})
        for _ in range(5)
    ]
    told = " ".join(seeds.spread(tables))
    assert re.search(r"over seeds (1\.9|2\.0)\d nats", told) and "stated standard error 2.00" in told
    # Spearman's correlation of two normal variables whose own correlation is 9 / 13 is 6 / pi arcsin(9 / 26).
    assert f"rank correlation of scores under two seeds: {6 / np.pi * np.arcsin(9 / 26):.2f}" in told
    assert f"found under all 5 seeds: {(truth >= 2).sum()} images" in told and "both find 100 %" in told


def test_the_benchmark_of_folders_reads_what_it_wrote(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["read_folder.py", "--images", "30", "--side", "4", "--classes", "3"])
    read_folder.main()
    assert capsys.readouterr().out.startswith("30 PNG files of 4 x 4: ")
