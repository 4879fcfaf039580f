"""The whole DAG on a toy data set: what it makes, what reruns what, and how it fails."""

import json
import os
import re
import shutil
import signal
import time

import h5py
import numpy as np
import pytest
import xarray as xr

import workspace
from engram.catalogue import ANALYSES, analyses_of, figures_of
from engram.config_given import has
from engram.files.artifacts import read
from faults import processes_in, start, wait_for
from workspace import edit, planned, snakemake

CONFIG = workspace.read(workspace.REPOSITORY)
ESTIMATORS = {name: CONFIG["estimators"][name] for name in workspace.TINY["estimators"]}
OF_TINY = ESTIMATORS, has(workspace.TINY, {}), workspace.ANALYSES
FIGURES, ITS_ANALYSES = figures_of(*OF_TINY), analyses_of(*OF_TINY)
BEFORE_TRAINING = [name for name in ITS_ANALYSES if ANALYSES[name].before_training]
SCORE_FIGURES = [name for name in FIGURES if name not in ("losses", *BEFORE_TRAINING)]
AFTER_SCORES = {"scores": 2, "measures": 1, "report": 1} | dict.fromkeys([*{*ITS_ANALYSES} - {*BEFORE_TRAINING}], 1)
AFTER_SCORES |= {f"figure_{name}": 1 for name in SCORE_FIGURES}
AFTER_TRAINING = AFTER_SCORES | {"likelihood": 8, "figure_losses": 1}


def artifacts(folder):
    return sorted((folder / "results").rglob("*.h5"))


def test_everything_finished_means_nothing_to_do(finished):
    assert planned(finished) == {}


def test_touched_sources_and_a_copy_elsewhere_rerun_nothing(copy):
    for path in copy.rglob("*"):
        if "results" not in path.parts and ".snakemake" not in path.parts:
            path.touch()
    assert planned(copy) == {}


def test_comments_and_docstrings_rerun_nothing(copy):
    edit(copy / "workflow/engram/training/lockstep.py", '"""Stacked models', '"""A pack of models')
    edit(copy / "workflow/engram/training/training.py", "SAVE_EVERY = 30", "# why\nSAVE_EVERY = 30")
    assert planned(copy) == {}


def test_deleted_scores_rerun_scores_and_what_follows_only(copy):
    shutil.rmtree(copy / "results/tiny/scores")
    assert planned(copy) == AFTER_SCORES


def test_one_deleted_likelihood_is_the_only_one_rebuilt(copy):
    (copy / "results/tiny/likelihood/corrected/repeat-01/epoch-4.h5").unlink()
    assert planned(copy)["likelihood"] == 1 and "train" not in planned(copy)


def test_another_learning_rate_reruns_training(copy):
    workspace.change(copy, "experiments", "tiny", "training", learning_rate=0.02)
    assert planned(copy) == AFTER_TRAINING | {"train": 3}


def test_another_number_of_samples_reruns_that_estimators_likelihoods_and_no_training(copy):
    workspace.change(copy, "estimators", "published", samples=9)
    assert planned(copy) == AFTER_SCORES | {"likelihood": 4, "scores": 1}


def test_another_statistic_reruns_only_scores(copy):
    workspace.change(copy, "estimators", "corrected", statistic="size_matched")
    assert planned(copy) == AFTER_SCORES | {"scores": 1}


@pytest.mark.slow
def test_changed_code_reruns_the_stages_that_use_it(copy):
    edit(copy / "workflow/engram/figures/quantiles.py", "0.95", "0.94")
    assert planned(copy) == {"figure_quantiles": 1, "report": 1}
    edit(copy / "workflow/engram/models/observations.py", "uniforms * 255", "uniforms * 256")
    assert planned(copy)["train"] == 3 and planned(copy)["likelihood"] == 8


@pytest.mark.slow
def test_one_figure_or_analysis_is_its_own_rules_code_only(copy):
    edit(copy / "workflow/engram/analyses/neighbors.py", "HELD = 6", "HELD = 7")
    use_its_distances = {"neighbors", "mode_collapse"}
    their_figures = {f"figure_{name}" for name in (*use_its_distances, "agreement", "disagreement")}
    assert planned(copy).keys() - {"report"} == use_its_distances | their_figures | {"measures", "agreement"}
    edit(copy / "workflow/engram/analyses/neighbors.py", "HELD = 7", "HELD = 6")
    edit(copy / "workflow/engram/analyses/density_split.py", "IMAGES_PER_BIN = 20, 75", "IMAGES_PER_BIN = 20, 70")
    assert planned(copy) == {"density_split": 1, "figure_density_split": 1, "report": 1}


@pytest.mark.slow
def test_a_new_entry_in_the_catalogue_makes_its_own_rules_and_reruns_the_report_only(copy):
    text = (copy / "workflow/engram/analyses/density_split.py").read_text()
    (copy / "workflow/engram/analyses/trial.py").write_text(text)
    edit(
        copy / "workflow/engram/catalogue.py",
        '    "neighbors": Analysis(',
        '    "trial": Analysis("Trial", "A trial.", columns=("high",)),\n    "neighbors": Analysis(',
    )
    workspace.change(copy, "experiments", "tiny", analyses=[*workspace.ANALYSES, "trial"])
    assert planned(copy) == {"trial": 1, "report": 1}
    assert "trial (A trial.)" in snakemake(copy, "--list-rules").stdout


def test_an_analysis_that_the_estimators_do_not_allow_is_refused_with_what_it_needs(copy):
    run = snakemake(copy, "results/tiny/analyses/encoder_part.h5")
    fails(run, "experiments.tiny.estimators: Encoder part needs two estimators on the same fixed draws")


def test_another_root_seed_reruns_everything_but_the_data(copy):
    workspace.change(copy, "experiments", "tiny", seed=43)
    of_images = {"duplicates": 1, "figure_duplicates": 1}  # whose files name the seed
    assert planned(copy) == AFTER_TRAINING | {"train": 3, "membership": 1} | of_images


def test_a_single_artifact_can_be_asked_for(copy):
    target = "results/tiny/likelihood/published/repeat-00/epoch-2.h5"
    before = xr.load_dataset(copy / target, engine="h5netcdf").log_px
    (copy / target).unlink()
    run = snakemake(copy, target)
    assert run.returncode == 0 and "1 of 1 steps" in run.stdout
    assert before.equals(xr.load_dataset(copy / target, engine="h5netcdf").log_px)


def test_every_rule_explains_itself():
    run = snakemake(workspace.REPOSITORY, "--list-rules")
    rules = re.findall(r"^([a-z_]+) \((.+)\)$", run.stdout, flags=re.MULTILINE)
    assert {"dataset", "membership", "train", "likelihood", "scores", "report", "all"} <= dict(rules).keys()


ATTRIBUTES = {
    *("format_version", "kind", "experiment", "values", "seed", "dataset_sha256", "engram_version", "git_commit"),
    *("torch_version", "cuda_version", "device", "threads", "wall_seconds"),
}
AXES = {"model", "epoch", "draw", "sample", "pixel"}
EXPECTED = {
    "dataset": {"images": ("sample", "pixel"), "label": ("sample",), "split": ("sample",)},
    "membership": {"in_training": ("model", "sample"), "counted_as_in": ("model", "sample"), "repeat": ("model",)},
    "models": {"decoder.1.bias": ("epoch", "model", "decoder.1.bias.axis0"), "loss_train": ("epoch_trained", "model")},
    "likelihood": {
        name: ("model", "draw", "sample") for name in ("log_px", "elbo", "standard_error", "effective_samples")
    },
    "scores": {
        **{
            name: ("epoch", "sample")
            for name in ("score", "score_log_mean_exp", "score_size_matched", "score_mean_log")
        },
        **{name: ("epoch", "sample") for name in ("log_p_in", "log_p_out", "standard_error")},
        **{name: ("sample",) for name in ("p_value", "q_value")},
    },
    **{name: {} for name in ITS_ANALYSES},
    "measures": {name: ("sample",) for name in ("score", "standard_error", "p_value", "q_value")},
}


def test_every_artifact_has_named_axes_units_and_attributes(finished):
    kinds = set()
    for path in artifacts(finished):
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            kind = stored.attrs["kind"]
            kinds.add(kind)
            assert set(stored.attrs) >= ATTRIBUTES, (path, ATTRIBUTES - set(stored.attrs))
            json.loads(stored.attrs["values"])
            for name, values in stored.variables.items():
                assert values.attrs.get("units") and values.attrs.get("long_name"), (path, name)
            for name, dims in EXPECTED[kind].items():
                assert stored[name].dims == dims, (path, name)
            for name in ANALYSES[kind].columns if kind in ANALYSES else ():
                assert stored[name].dims in [("sample",), ("estimator", "sample")], (path, name)
            assert set(stored.sizes) & AXES == set(stored.sizes) & AXES & set(stored.variables), path
            for name in ("log_px", "log_p_in", "score", "loss_train"):
                assert name not in stored or stored[name].attrs["units"] == "nats"
    assert kinds == set(EXPECTED)


def test_every_artifact_passes_the_checks_of_engrams_own_reader(finished):
    for path in artifacts(finished):
        with xr.open_dataset(path, engine="h5netcdf") as stored:
            kind = stored.attrs["kind"]
        assert read(path, kind).sizes


def test_every_artifact_opens_in_h5py_with_a_scale_on_each_axis(finished):
    for path in artifacts(finished):
        with h5py.File(path) as file:
            for name, values in file.items():
                if not values.is_scale:
                    assert all(len(axis) == 1 for axis in values.dims), (path, name)


def test_the_table_of_scores_says_the_same_as_the_artifact(finished):
    table = np.genfromtxt(
        finished / "results/tiny/scores/corrected.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    stored = xr.load_dataset(finished / "results/tiny/scores/corrected.h5", engine="h5netcdf")
    np.testing.assert_allclose(table["score"], stored.score.sel(epoch=4), rtol=1e-6)
    assert list(table["index"]) == list(stored["sample"]) and set(table["split"]) == {"train"}
    dataset = xr.load_dataset(finished / "results/datasets/toy.h5", engine="h5netcdf")
    assert list(map(str, table["path"])) == list(dataset.path.values[stored["sample"].values])
    assert list(map(str, table["class_name"])) == list(dataset.class_name.values[stored["sample"].values])
    assert stored.attrs["share_fell_back"] == 0


def test_scores_can_be_had_from_the_likelihood_files_by_hand(finished):
    stored = xr.load_dataset(finished / "results/tiny/scores/published.h5", engine="h5netcdf")
    membership = xr.load_dataset(finished / "results/tiny/membership.h5", engine="h5netcdf")
    files = [finished / f"results/tiny/likelihood/published/repeat-{r:02d}/epoch-4.h5" for r in range(2)]
    log_px = np.concatenate([xr.load_dataset(file, engine="h5netcdf").log_px.values[:, 0] for file in files]).astype(
        float
    )
    image = 5
    inside = membership.in_training.values[:, image].astype(bool)
    by_hand = np.log(np.exp(log_px[inside, image]).mean()) - np.log(np.exp(log_px[~inside, image]).mean())
    assert stored.score.sel(epoch=4).values[image] == pytest.approx(by_hand, abs=1e-4)


def test_the_report_needs_no_network(finished):
    page = (finished / "results/report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page) and "url(http" not in page
    assert page.count("data:image/png;base64") >= len(SCORE_FIGURES) + 1


def fails(run, *words):
    assert run.returncode != 0
    for word in words:
        assert word in run.stdout, run.stdout
    assert "Traceback (most recent call last)" not in run.stdout, run.stdout


def test_an_epoch_that_was_not_kept_is_named(copy):
    run = snakemake(copy, "results/tiny/likelihood/published/repeat-00/epoch-3.h5")
    fails(run, "epoch 3 is not kept; experiments.tiny.scored_epochs is [2, 4]")


def test_a_mistake_in_the_config_stops_before_anything_runs(copy):
    workspace.change(copy, "experiments", "tiny", "training", learning_rate="1e-3")
    fails(snakemake(copy), "experiments.tiny.training.learning_rate is '1e-3', not a number; write 0.001")


def test_an_unusable_data_set_is_named_and_leaves_nothing(copy):
    (copy / "empty").mkdir()
    workspace.change(copy, "datasets", empty={"folder": "empty"})
    run = snakemake(copy, "results/datasets/empty.h5")
    fails(run, "engram: error: ", "empty")
    assert not list((copy / "results/datasets").glob("*empty*"))


@pytest.mark.slow
def test_a_corrupt_artifact_is_named_and_finished_work_is_kept(copy):
    shutil.rmtree(copy / "results/tiny/scores")
    bad = copy / "results/tiny/likelihood/corrected/repeat-01/epoch-4.h5"
    stamp = bad.stat().st_mtime
    bad.write_bytes(bad.read_bytes()[:5000])
    os.utime(bad, (stamp, stamp))
    fails(
        snakemake(copy, "all_scores", "--keep-going"), "corrected/repeat-01/epoch-4.h5: is damaged", "delete it and run"
    )
    assert (copy / "results/tiny/scores/published.h5").exists()
    bad.unlink()
    assert snakemake(copy, "all_scores").returncode == 0


@pytest.mark.slow
def test_a_kill_in_the_middle_of_training_costs_no_bit(finished, tmp_path):
    target = "results/tiny/scores/corrected.h5"
    folders = {name: workspace.create(tmp_path / name) for name in ("whole", "killed")}
    for folder in folders.values():
        workspace.change(folder, "experiments", "tiny", "training", epochs=400)
        workspace.change(folder, "experiments", "tiny", scored_epochs=[200, 400])
        edit(folder / "workflow/engram/training/training.py", "SAVE_EVERY = 30", "SAVE_EVERY = 0.2")
    assert snakemake(folders["whole"], target).returncode == 0
    killed = folders["killed"]
    first = start(killed, target)
    wait_for(lambda: list(killed.glob("results/tiny/models/repeat-0?.state/state.npz")))
    time.sleep(1)
    for pid in processes_in(killed):
        os.kill(pid, signal.SIGKILL)
    first.wait()
    assert not (killed / target).exists() and list(killed.glob("results/tiny/models/*.state"))
    assert snakemake(killed, "--unlock").returncode == 0
    again = snakemake(killed, target)
    assert again.returncode == 0 and "continuing tiny repeat-" in again.stdout, again.stdout
    a, b = (xr.load_dataset(folder / target, engine="h5netcdf") for folder in folders.values())
    assert all(a[name].equals(b[name]) for name in a.data_vars)


@pytest.mark.slow
def test_a_second_start_while_a_training_lives_says_so_and_stops(tmp_path):
    folder = workspace.create(tmp_path / "busy")
    workspace.change(folder, "experiments", "tiny", "training", epochs=100000)
    target = "results/tiny/models/repeat-00.h5"
    first = start(folder, target)
    try:
        wait_for(lambda: list(folder.glob("results/tiny/models/repeat-00.state/lock")))
        time.sleep(1)
        # Snakemake dies, its script lives on: the lock that protects the models is the script's own.
        first.kill()
        first.wait()
        assert snakemake(folder, "--unlock").returncode == 0
        fails(snakemake(folder, target), "is still training these models; wait for it or stop it")
    finally:
        for pid in processes_in(folder):
            os.kill(pid, signal.SIGKILL)
