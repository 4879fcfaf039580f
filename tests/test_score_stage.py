"""The scores stage on a made-up experiment, against the functions it calls."""

import csv
import json

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

from engram.designs.membership import design
from engram.designs.repeats import repeat_name
from engram.errors import UserError
from engram.files import artifacts, inputs, provenance
from engram.files.artifacts import variable
from engram.scores import stage
from engram.scores.permutation import permutation_test
from engram.scores.statistics import STATISTICS, memorization_scores
from engram.scores.summary import is_bound

TRAIN, TEST, FOLDS, REPEATS = 60, 15, 5, 4
EPOCHS = [20, 40, 100]


@pytest.fixture
def experiment(tmp_path, rng):
    """Files of log p, in float32 as the likelihood stage writes it, and log p in float64; the first five images are memorized,
    more so with every epoch.
    """
    split = np.repeat([0, 1], [TRAIN, TEST])
    settings = {"design": "k_fold", "folds": FOLDS, "repeats": REPEATS}
    membership = design(settings, split, np.full(len(split), -1), 42, "made up")
    artifacts.write(
        tmp_path / "membership.h5",
        "membership",
        membership.variables(split, np.arange(75) % 10),
        {"dataset_sha256": "0" * 64},
    )
    gain = 20 * (np.arange(TRAIN + TEST) < 5) * membership.in_training
    log_px = {epoch: rng.normal(-90, 3, gain.shape) + gain * epoch / 100 for epoch in EPOCHS}
    paths = []
    for epoch in EPOCHS:
        for number in reversed(range(REPEATS)):
            mine = np.flatnonzero(membership.repeat == number)[::-1]
            paths.append(tmp_path / repeat_name(number) / f"epoch-{epoch}.h5")
            variables = {
                "log_px": variable(
                    ("model", "draw", "sample"), log_px[epoch][mine][:, None].astype(np.float32), "nats", "log p"
                ),
                "repeat": variable(("model",), membership.repeat[mine], "1", "repeat"),
                "fold": variable(("model",), membership.fold[mine], "1", "fold"),
            }
            artifacts.write(paths[-1], "likelihood", variables, {"values": json.dumps({"epoch": epoch})})
    return membership, log_px, [str(path) for path in paths], tmp_path


def compute(experiment, statistic="mean_log", paths=None):
    _, _, all_paths, folder = experiment
    membership = artifacts.read(folder / "membership.h5", "membership")
    return stage.compute(paths or all_paths, membership, statistic, EPOCHS, 10_000, 42)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_models_are_matched_by_repeat_and_fold_whatever_the_order_of_files(experiment, statistic):
    membership, log_px, _, _ = experiment
    variables, _, _ = compute(experiment, statistic)
    is_in = membership.in_training[:, :TRAIN]
    for index, epoch in enumerate(EPOCHS):
        expected = memorization_scores(log_px[epoch][:, :TRAIN], is_in, statistic, membership.repeat)
        np.testing.assert_allclose(variables["score"][1][index], expected, atol=1e-4)
        np.testing.assert_array_equal(variables["score"][1], variables[f"score_{statistic}"][1])
    expected = permutation_test(log_px[100][:, :TRAIN], is_in, membership.repeat).p_value
    np.testing.assert_allclose(variables["p_value"][1], expected)


def test_memorized_images_are_found_and_counted(experiment):
    variables, attributes, warnings = compute(experiment)
    found = np.flatnonzero(variables["q_value"][1] <= 0.05)
    assert found[:5].tolist() == [0, 1, 2, 3, 4]
    assert attributes["number_memorized_fdr05"] == len(found) <= 6  # one in twenty may be false
    assert attributes["p_value_floor"] == 1 / 625 and attributes["relabellings_are_all"] == 1
    assert len(warnings) == 1 and "2 or more at once; more repeats" in warnings[0]
    assert 0 < attributes["smallest_detectable_score"] < 20


def test_the_artifact_has_its_names_dimensions_and_units_and_the_table_its_columns(experiment):
    variables, attributes, _ = compute(experiment)
    folder = experiment[3]
    artifacts.write(folder / "scores.h5", "scores", variables, provenance.attributes("made up", 42, {}) | attributes)
    stored = artifacts.read(folder / "scores.h5", "scores")
    for name in ["score", *(f"score_{name}" for name in STATISTICS), "log_p_in", "log_p_out", "standard_error"]:
        assert stored[name].dims == ("epoch", "sample") and stored[name].units == "nats"
    assert stored.p_value.dims == stored.q_value.dims == stored.label.dims == ("sample",)
    assert stored.sample.values.tolist() == list(range(TRAIN)) and stored.epoch.values.tolist() == EPOCHS
    assert stored.null_quantiles.dims == stored.unseen_quantiles.dims == ("quantile",)
    assert stored.standard_error_by_repeats.dims == ("repeats",)
    assert all({"units", "long_name"} <= set(stored[name].attrs) for name in stored.variables)
    with h5py.File(folder / "scores.h5") as file:
        assert all(file[name].dims[0].keys() for name in file if file[name].ndim and not file[name].is_scale)
    with xr.open_dataset(folder / "scores.h5", engine="h5netcdf") as dataset:
        np.testing.assert_allclose(dataset.score_log_mean_exp, dataset.log_p_in - dataset.log_p_out, atol=1e-9)
    stage.table(variables).to_csv(folder / "scores.csv", index=False)
    with open(folder / "scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["index", "split", "label", "score"] and len(rows) == TRAIN
    assert float(rows[3]["score"]) == pytest.approx(variables["score"][1][-1, 3])


def test_quantiles_of_images_that_no_model_saw_are_those_of_noise(tmp_path, rng):
    split = np.repeat([0, 1], [50, 20_000])
    membership = design({"design": "k_fold", "folds": 5, "repeats": 2}, split, np.full(len(split), -1), 42, "noise")
    artifacts.write(tmp_path / "membership.h5", "membership", membership.variables(split, split), {})
    values = rng.normal(-90, 3, membership.in_training.shape) + 20 * membership.in_training
    variables = {"log_px": variable(("model", "draw", "sample"), values[:, None], "nats", "log p")}
    variables |= {name: variable(("model",), getattr(membership, name), "1", name) for name in ("repeat", "fold")}
    artifacts.write(tmp_path / "epoch-1.h5", "likelihood", variables, {"values": '{"epoch": 1}'})
    stored = artifacts.read(tmp_path / "membership.h5", "membership")
    found, *_ = stage.compute([str(tmp_path / "epoch-1.h5")], stored, "mean_log", [1], 100, 42)
    # Means of 8 and of 2 normal values, whatever the training images got.
    expected = norm.ppf(found["quantile"][1]) * 3 * (1 / 8 + 1 / 2) ** 0.5
    np.testing.assert_allclose(found["unseen_quantiles"][1], expected, atol=0.15, rtol=0.05)
    np.testing.assert_array_equal(found["unseen_quantiles"][1], found["unseen_quantiles_mean_log"][1])
    assert found["unseen_quantiles_log_mean_exp"][1][0] > 0.5, "the published statistic has a bias"


def test_a_quantile_beyond_which_no_score_lies_is_undefined(experiment):
    variables, *_ = compute(experiment)
    levels, unseen = variables["quantile"][1], variables["unseen_quantiles"][1]
    # 15 test images: one is beyond 0.9, none beyond 0.95.
    np.testing.assert_array_equal(np.isnan(unseen), levels > 0.9)
    assert np.isfinite(variables["null_quantiles"][1]).all(), "many relabellings of 60 images"
    stored = xr.Dataset({name: ("quantile", variables[name][1]) for name in ("unseen_quantiles", "quantile")})
    assert (
        inputs.null_quantile(stored, 0.5, "unseen") == unseen[0]
        and inputs.null_quantile(stored, 0.95, "unseen") is None
    )


def test_without_test_images_there_are_no_unseen_quantiles(tmp_path):
    membership = design({"design": "k_fold", "folds": 5, "repeats": 2}, np.zeros(50), np.full(50, -1), 42, "none")
    zeros = np.zeros(50, dtype=int)
    artifacts.write(tmp_path / "membership.h5", "membership", membership.variables(zeros, zeros), {})
    comparison = stage.Comparison.of(artifacts.read(tmp_path / "membership.h5", "membership"))
    assert len(comparison.images) == 50 and not len(comparison.unseen)


def test_a_missing_repeat_is_said(experiment):
    paths = [path for path in experiment[2] if "repeat-02" not in path]
    with pytest.raises(UserError, match="repeat-02, fold 0"):
        compute(experiment, paths=paths)


def test_null_experiments_score_only_what_was_set_aside(tmp_path, rng):
    split = np.zeros(200, dtype=int)
    membership = design({"design": "null", "folds": 5, "repeats": 4}, split, np.full(200, -1), 42, "null")
    artifacts.write(tmp_path / "membership.h5", "membership", membership.variables(split, split), {})
    comparison = stage.Comparison.of(artifacts.read(tmp_path / "membership.h5", "membership"))
    assert len(comparison.images) == 100 and not len(comparison.unseen)
    assert not membership.in_training[:, comparison.images].any()
    assert (comparison.is_in == membership.counted_as_in[:, comparison.images]).all()


def test_a_files_epoch_is_what_it_says_whatever_its_name(experiment):
    folder = experiment[-1]
    renamed = folder / "epoch-999.h5"
    (folder / repeat_name(0) / f"epoch-{EPOCHS[1]}.h5").rename(renamed)
    assert inputs.epoch_of(renamed) == EPOCHS[1]
    artifacts.write(renamed, "likelihood", {}, {"values": "{}"})
    with pytest.raises(UserError, match=r"epoch-999\.h5: does not say which epoch it is of"):
        inputs.epoch_of(renamed)


def test_of_likelihoods_of_several_estimators_one_can_be_picked(tmp_path):
    for name, epoch in (("mine", 2), ("mine", 1), ("other", 1)):
        attributes = {"estimator": name, "values": json.dumps({"epoch": epoch})}
        artifacts.write(tmp_path / f"{name}-{epoch}.h5", "likelihood", {}, attributes)
    files = sorted(tmp_path.iterdir())
    assert inputs.likelihoods_by_epoch(files, "mine") == {1: [tmp_path / "mine-1.h5"], 2: [tmp_path / "mine-2.h5"]}
    assert [len(paths) for paths in inputs.likelihoods_by_epoch(files).values()] == [2, 1]


def test_scores_of_several_draws_have_the_error_of_draws_and_those_of_a_bound_say_so(experiment):
    membership, _, paths, folder = experiment
    variables, *_ = compute(experiment)
    assert "standard_error_of_draws" not in variables and "standard_error_of_draws" not in stage.table(variables)
    for path in paths:
        stored = artifacts.read(path, "likelihood")
        mine = np.flatnonzero(membership.repeat == stored["repeat"].values[0])[::-1]
        first = stored["log_px"].values
        second = first + 3 * membership.in_training[mine][:, None]  # a draw that makes every score 3 nats larger
        both = np.concatenate([first, second.astype(np.float32)], axis=1)
        again = {"log_px": variable(("model", "draw", "sample"), both, "nats", "log p")}
        again |= {name: variable(("model",), stored[name].values, "1", name) for name in ("repeat", "fold")}
        artifacts.write(path, "likelihood", again, {"values": stored.attrs["values"], "log_px_is_bound": 1})
    h5, table = folder / "scores.h5", folder / "scores.csv"
    settings = {"statistic": "mean_log", "scored_epochs": EPOCHS, "permutations": 100, "seed": 42, "threads": 1}
    stage.run(h5, table, paths, folder / "membership.h5", None, experiment="e", estimator="given", **settings)
    scores = artifacts.read(h5, "scores")
    assert scores["standard_error_of_draws"].dims == ("epoch", "sample") and is_bound(scores)
    np.testing.assert_allclose(scores["standard_error_of_draws"], 1.5, atol=1e-4)
    np.testing.assert_allclose(pd.read_csv(table)["standard_error_of_draws"], 1.5, atol=1e-4)
