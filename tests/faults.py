"""Faults made on purpose. `python tests/faults.py --kills 20` kills runs at random moments and prints what came of it."""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import xarray as xr

import workspace
from workspace import snakemake

STAGES = ["dataset", "membership", "train", "likelihood", "scores"]
SCORES = "results/tiny/scores/corrected.h5"
LATEST = 4.0  # seconds from the first sight of a stage's job to the kill, at most


def small_workspace(folder: Path) -> Path:
    """The tiny experiment cut to one estimator, with a training that saves its state five times a second."""
    workspace.create(folder)
    workspace.change(folder, "experiments", "tiny", "training", epochs=60)
    workspace.change(folder, "experiments", "tiny", scored_epochs=[20, 60], estimators=["corrected"])
    source = folder / "workflow/engram/training.py"
    text = source.read_text()
    assert "SAVE_EVERY = 30" in text
    source.write_text(text.replace("SAVE_EVERY = 30", "SAVE_EVERY = 0.2"))
    return folder


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def processes_in(folder: Path) -> dict[int, str]:
    """Processes whose working folder is `folder`, and their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").resolve() == folder.resolve():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def kill_all(folder: Path) -> list[str]:
    """kill -9 of Snakemake and of every job of the workspace; the names of the rules that ran."""
    running = []
    while found := {pid: line for pid, line in processes_in(folder).items() if line}:
        for pid, line in found.items():
            running += [stage for stage in STAGES if _runs(line, stage)]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return sorted(set(running))


def _runs(command_line: str, stage: str) -> bool:
    return f".{stage}.py" in command_line and ".snakemake/scripts" in command_line


def kill_at_random(folder: Path, stage: str, rng: random.Random) -> list[str]:
    """Start the workflow, kill all of it at a random moment after a job of `stage` began, and unlock the folder."""
    main = start(folder, SCORES)
    wait_for(lambda: any(_runs(line, stage) for line in processes_in(folder).values()) or main.poll() is not None)
    time.sleep(rng.uniform(0, LATEST))
    killed = kill_all(folder)
    main.wait()
    unlocked = snakemake(folder, "--unlock")
    assert unlocked.returncode == 0, unlocked.stdout
    return killed


def same_numbers(a: Path, b: Path) -> bool:
    """Whether two artifacts hold the same variables with the same bits."""
    first, second = (xr.load_dataset(path, engine="h5netcdf") for path in (a, b))
    return set(first.variables) == set(second.variables) and all(
        first[name].dtype == second[name].dtype and first[name].values.tobytes() == second[name].values.tobytes()
        for name in first.variables
    )


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system at `folder` while the block runs: mount's own `options`, such as -t tmpfs -o size=1m none."""
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def main() -> None:
    """Runs of the small workspace, each killed once in every stage, and compared with one that was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    rng, hit, kills, identical, runs = random.Random(arguments.seed), Counter(), 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        fresh = small_workspace(Path(temporary, "fresh"))
        whole = shutil.copytree(fresh, Path(temporary, "whole"))
        assert snakemake(whole, SCORES).returncode == 0
        while kills < arguments.kills:
            folder = shutil.copytree(fresh, Path(temporary, f"killed-{runs}"))
            for stage in STAGES[: arguments.kills - kills]:
                hit.update(kill_at_random(folder, stage, rng) or ["between jobs"])
                kills += 1
            again = snakemake(folder, SCORES)
            runs += 1
            identical += again.returncode == 0 and same_numbers(whole / SCORES, folder / SCORES)
            print(f"{kills} kills, {identical} of {runs} runs with the same bits, jobs hit: {dict(hit)}", flush=True)
    sys.exit(identical != runs)


if __name__ == "__main__":
    main()
