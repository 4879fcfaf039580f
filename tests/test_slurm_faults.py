"""Trainings through the faults of a real SLURM cluster: a node that fails, preemption, requeue, the end of a job's time.

The cluster is a site without GPUs whose accounting daemon is configured but away. Two trainings run, slowed so that they
cannot end before they are released; each fault strikes both, and the next one comes when both have gone on.
"""

import re
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cluster
import workspace
from test_slurm import edit, started, wait_for

pytestmark = pytest.mark.slurm

REPEATS = ["repeat-00", "repeat-01"]
TARGETS = [f"results/tiny/models/{repeat}.h5" for repeat in REPEATS]
EPOCHS = 90
LAST_TURN = "            self.block, self.turn = self.block + 1, 0\n"
SLOWED = f"""{LAST_TURN}            if not os.path.exists("released"):
                time.sleep(2)
"""

# repeat-00 runs in the partition cpu, where preempted jobs are put back at once, repeat-01 in the partition grace.
WITHOUT_GPUS = """\
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=cpu Nodes=n1 Default=YES MaxTime=10-0 PriorityTier=1
PartitionName=grace Nodes=n1 MaxTime=10-0 PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=n1 MaxTime=10-0 PriorityTier=10
"""


@dataclass
class Runs:
    local: Path
    slurm: Path
    lost: dict[str, list[float]]  # by fault, seconds of work of each training
    output: str
    returncode: int
    accounting: str
    jobs: list[dict[str, str]]

    def of(self, repeat):
        """The jobs in which a repeat was trained, in the order in which they were submitted."""
        jobs = [job for job in self.jobs if job.get("Comment") == f"rule_train_wildcards_tiny_{repeat}"]
        return sorted(jobs, key=lambda job: int(job["JobId"]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same two trainings undisturbed on this machine, and through every fault on the cluster."""
    local, slurm = (small(tmp_path_factory.mktemp(name) / "engram") for name in ("local", "slurm"))
    (local / "released").touch()
    with cluster.running(WITHOUT_GPUS, accounting="slurmdbd") as node:
        accounting = subprocess.run(["sacct"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        with started(slurm, "--profile", "profiles/slurm", *TARGETS) as process:
            run = workspace.snakemake(local, *TARGETS)
            assert run.returncode == 0, run.stdout
            wait_for(lambda: all(5 < time.time() - last_saved(slurm, repeat) < 25 for repeat in REPEATS), process)
            lost = {
                "power failure": strike(lambda: power_failure(node), slurm, process),
                "preemption": strike(preemption, slurm, process),
                "requeue, end of time": strike(requeue_and_end_of_time, slurm, process),
            }
            (slurm / "released").touch()
            process.wait(300)
        return Runs(local, slurm, lost, (slurm / "output").read_text(), process.returncode, accounting, cluster.jobs())


def small(folder):
    """The tiny workflow with two trainings that can be held back, and the profile as for a site without GPUs."""
    workspace.create(folder)
    workspace.change(folder, "experiments", "tiny", "training", epochs=EPOCHS)
    workspace.change(folder, "experiments", "tiny", scored_epochs=[EPOCHS])
    edit(folder / "workflow/engram/training/training.py", "import time\n", "import os\nimport time\n")
    edit(folder / "workflow/engram/training/training.py", LAST_TURN, SLOWED)
    profile = folder / "profiles/slurm/profile.yaml"
    edit(profile, "slurm_account: CHANGE_ME", "slurm_account: team")
    edit(profile, "    gpu: 1\n", "    gpu: 0\n")
    edit(profile, "slurm_partition: CHANGE_ME", "slurm_partition: cpu")
    by_repeat = "\"'cpu' if wildcards.repeat == 'repeat-00' else 'grace'\""
    edit(profile, "  train:\n    slurm_partition: cpu", f"  train:\n    slurm_partition: {by_repeat}")
    return folder


def strike(fault, folder, process):
    """Seconds of work that each training loses by a fault: since its last save, if it could not save once more."""
    struck = time.time()
    fault()
    wait_for(lambda: all(went_on(folder, repeat) > struck for repeat in REPEATS), process)
    return [max(0, struck - last_saved(folder, repeat)) for repeat in REPEATS]


def power_failure(node):
    node.fail()
    slurm("scontrol", "update", "NodeName=n1", "State=DOWN", "Reason=power")
    node.start()


def preemption():
    slurm("srun", "--partition=urgent", "--exclusive", "true")


def requeue_and_end_of_time():
    first, second = (running(repeat) for repeat in REPEATS)
    slurm("scontrol", "requeue", first)
    slurm("scontrol", "update", f"JobId={second}", "EndTime=now+1")


def slurm(*command):
    subprocess.run(command, check=True, timeout=120)


def running(repeat):
    (job,) = [job for job in cluster.jobs() if job["JobState"] == "RUNNING" and job.get("Comment", "").endswith(repeat)]
    return job["JobId"]


def last_saved(folder, repeat):
    """When a training saved its state, in seconds since 1970; 0 if it has not."""
    state = folder / f"results/tiny/models/{repeat}.state/state.npz"
    return state.stat().st_mtime if state.exists() else 0


def went_on(folder, repeat):
    """When a training last went on from its state, in seconds since 1970; 0 if it never did."""
    log = folder / f"logs/tiny/train/{repeat}.log"  # which Snakemake removes before each start
    with suppress(FileNotFoundError):
        if said := re.search(r"^(.{23}) continuing ", log.read_text(), re.MULTILINE):
            return datetime.strptime(said[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()
    return 0


def epochs(runs, job, saying):
    """The epoch which the log of a job names in what a training says."""
    (log,) = (runs.slurm / "logs/slurm").rglob(f"{job['JobId']}.log")
    return re.findall(rf"{saying} (\d+)", log.read_text())


def test_a_training_on_a_node_that_fails_is_put_back_and_loses_at_most_a_minute(runs):
    for seconds in runs.lost["power failure"]:
        assert 5 <= seconds <= 60
    assert all(int(runs.of(repeat)[0]["Restarts"]) >= 1 for repeat in REPEATS)


def test_a_training_that_is_preempted_or_requeued_goes_on_in_the_same_job_and_loses_nothing(runs):
    (job,) = runs.of("repeat-00")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "3")
    assert runs.lost["preemption"][0] == runs.lost["requeue, end of time"][0] == 0


def test_with_time_of_grace_and_at_the_end_of_its_time_a_training_stops_and_is_submitted_again(runs):
    jobs = runs.of("repeat-01")
    assert [job["JobState"] for job in jobs] == ["FAILED", "TIMEOUT", "COMPLETED"]
    assert [job["TimeLimit"] for job in jobs[::2]] == ["00:11:00", "00:33:00"]
    assert runs.output.count("Trying to restart job") == 2
    for before, after in pairwise(jobs):
        (stopped,) = epochs(runs, before, "stopped on SIGTERM, in epoch")
        assert epochs(runs, after, "continuing tiny repeat-01 in epoch") == [stopped]


def test_after_all_of_it_the_models_have_the_bits_of_an_undisturbed_run(runs):
    for target in TARGETS:
        local, slurm = (xr.load_dataset(folder / target, engine="h5netcdf") for folder in (runs.local, runs.slurm))
        assert np.isfinite(local.loss_train).all()
        for name in local.data_vars:
            assert np.array_equal(local[name], slurm[name], equal_nan=local[name].dtype.kind == "f"), name


def test_at_a_site_without_gpus_no_job_asks_for_one(runs):
    jobs = [job for repeat in REPEATS for job in runs.of(repeat)]
    assert jobs
    for job in jobs:
        assert not any("gpu" in value for name, value in job.items() if "TRES" in name.upper()), job


def test_an_accounting_daemon_that_is_configured_but_away_does_not_hold_back_the_run(runs):
    assert "Connection refused" in runs.accounting
    assert runs.returncode == 0, runs.output
    assert {job["Account"] for repeat in REPEATS for job in runs.of(repeat)} == {"team"}
