"""The workflow on a real SLURM cluster: one run through sbatch, in which a training is cancelled, against a local run."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import cluster
import workspace

pytestmark = pytest.mark.slurm

# Two trainings, two likelihoods, and one group of the scores and a figure: five jobs.
TARGETS = ["all_scores", "results/tiny/figures/quantiles.png"]
CANCELLED = "rule_train_wildcards_tiny_repeat-00"

# Snakemake, asking SLURM every three seconds and not ever more rarely: less is waited for, and more states are met.
ASKING_OFTEN = """
from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor
Executor.next_seconds_between_status_checks = property(lambda self: 3, lambda self, seconds: None)
main()
"""


@dataclass
class Runs:
    local: Path
    slurm: Path
    output: str
    returncode: int
    jobs: list[dict[str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The shrunk quickstart twice, on this machine and on the cluster, at one thread for each training and likelihood."""
    local, slurm = (small(tmp_path_factory.mktemp(name) / "engram") for name in ("local", "slurm"))
    with cluster.running():
        with started(slurm, "--profile", "profiles/slurm", *TARGETS) as process:
            wait_for(lambda: list(slurm.glob("results/tiny/models/repeat-00.state/state.npz")), process)
            cancelled = next(job["JobId"] for job in cluster.jobs() if job["Comment"] == CANCELLED)
            subprocess.run(["scancel", cancelled], check=True)
            run = workspace.snakemake(local, *TARGETS)
            assert run.returncode == 0, run.stdout
            process.wait(500)
        return Runs(local, slurm, (slurm / "output").read_text(), process.returncode, cluster.jobs())


def small(folder):
    """The tiny workflow with trainings of some seconds that save often, and scripts that note the GPU they were given."""
    workspace.create(folder)
    workspace.change(folder, "experiments", "tiny", "training", epochs=60)
    workspace.change(folder, "experiments", "tiny", scored_epochs=[60], estimators=["corrected"])
    edit(folder / "workflow/engram/training/training.py", "SAVE_EVERY = 30", "SAVE_EVERY = 0.2")
    for rule in ("train", "likelihood", "scores"):
        script = folder / f"workflow/scripts/{rule}.py"
        script.write_text(
            f'import os\nprint("GPUs:", os.environ.get("CUDA_VISIBLE_DEVICES", "none"))\n{script.read_text()}'
        )
    fill_in(folder / "profiles/slurm/profile.yaml")
    return folder


def fill_in(path):
    """The shipped profile with its CHANGE_ME replaced, as docs/slurm.md says for a site without accounts."""
    edit(path, "  slurm_account: CHANGE_ME\n", "")
    text = path.read_text().replace("slurm_partition: CHANGE_ME", "slurm_partition: cpu", 1)
    path.write_text(text.replace("slurm_partition: CHANGE_ME", "slurm_partition: gpu"))
    assert "gpu" not in yaml.safe_load(path.read_text())["default-resources"]["slurm_partition"]


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


class started:
    """Snakemake in the background, its output in the file `output`; interrupted, so that it cancels its jobs, if need be."""

    def __init__(self, folder, *arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        with (folder / "output").open("w") as output:
            command = [sys.executable, "-c", ASKING_OFTEN, *arguments]
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def __enter__(self):
        return self.process

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "Snakemake ended early"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def of_rule(jobs, rule):
    return [job for job in jobs if job["Comment"].startswith(f"rule_{rule}_")]


def test_without_an_accounting_daemon_the_run_ends(runs):
    assert shutil.which("sacct")
    assert runs.returncode == 0, runs.output
    assert {job["JobState"] for job in runs.jobs if job["Comment"] != CANCELLED} == {"COMPLETED"}


def test_scores_have_the_bits_of_the_local_run(runs):
    local, slurm = (
        xr.load_dataset(folder / "results/tiny/scores/corrected.h5", engine="h5netcdf")
        for folder in (runs.local, runs.slurm)
    )
    assert local.score.sel(epoch=60).std() > 0
    for name in local.data_vars:
        assert np.array_equal(local[name], slurm[name], equal_nan=local[name].dtype.kind == "f"), name


def test_a_cancelled_training_is_submitted_again_for_twice_the_time_and_goes_on(runs):
    first, second = sorted((job for job in runs.jobs if job["Comment"] == CANCELLED), key=lambda job: int(job["JobId"]))
    assert second["JobState"] == "COMPLETED" and first["JobState"] != "COMPLETED"
    assert (first["TimeLimit"], second["TimeLimit"]) == ("00:11:00", "00:22:00")
    assert "continuing tiny repeat-00 in epoch" in (runs.slurm / "logs/tiny/train/repeat-00.log").read_text()


def test_only_training_and_likelihood_ask_for_a_gpu_and_in_its_partition(runs):
    asked = {job["Comment"]: (job["Partition"], job.get("TresPerJob")) for job in runs.jobs}
    assert len(asked) == 5 and len(of_rule(runs.jobs, "likelihood")) == 2
    for comment, request in asked.items():
        on_a_gpu = comment.startswith(("rule_train_", "rule_likelihood_"))
        assert request == (("gpu", "gres:gpu:1") if on_a_gpu else ("cpu", None)), comment


def test_each_job_sees_the_gpu_it_was_given_and_the_others_none(runs):
    for rule in ("train", "likelihood"):
        for job in of_rule(runs.jobs, rule):
            if job["JobState"] == "COMPLETED":
                assert re.findall(r"^GPUs: (\S+)$", said(runs, job), re.MULTILINE)[-1] in ("0", "1")
    (group,) = [job for job in runs.jobs if job["Partition"] == "cpu"]
    assert set(re.findall(r"^GPUs: (\S+)$", said(runs, group), re.MULTILINE)) == {"none"}


def test_the_limit_of_one_gpu_on_this_machine_does_not_hold_back_the_cluster(runs):
    submitted = [int(job["JobId"]) for job in of_rule(runs.jobs, "train")]
    assert sorted(submitted)[:2] == [1, 2]
    first, second = (job for job in runs.jobs if job["JobId"] in ("1", "2"))
    assert first["StartTime"] < second["EndTime"] and second["StartTime"] < first["EndTime"]


def said(runs, job):
    (log,) = (runs.slurm / "logs/slurm").rglob(f"{job['JobId']}.log")
    return log.read_text()
