"""Faults made on purpose. `python tests/faults.py --kills 24` kills runs at random moments and prints what came of it."""

import argparse
import base64
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import xarray as xr

import workspace
from engram.catalogue import ANALYSES
from workspace import snakemake

STAGES = ["dataset", "membership", "train", "likelihood", "scores", "analyses", "figures", "report"]
SCORES = "results/tiny/scores/corrected.h5"


def small_workspace(folder: Path) -> Path:
    """The tiny experiment cut to one estimator, with a training that saves its state five times a second."""
    workspace.create(folder)
    workspace.change(folder, "experiments", "tiny", "training", epochs=60)
    workspace.change(folder, "experiments", "tiny", scored_epochs=[20, 60], estimators=["corrected"])
    source = folder / "workflow/engram/training/training.py"
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
        time.sleep(0.02)


def processes_in(folder: Path) -> dict[int, str]:
    """Processes whose working folder is `folder`, and their command lines."""
    found, place = {}, str(folder.resolve())
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.readlink(entry / "cwd") == place:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def stages_of(command_lines: Iterable[str]) -> set[str]:
    """Stages whose scripts are among these; the rules of all analyses share one script, and so do those of the figures."""
    scripts = (re.search(r"\.snakemake/scripts/\S*\.(\w+)\.py", line) for line in command_lines)
    return {{"analysis": "analyses", "figure": "figures"}.get(script[1], script[1]) for script in scripts if script}


def stage_of(rule: str) -> str:
    return "analyses" if rule in ANALYSES else "figures" if rule.startswith("figure_") else rule


def kill_all(folder: Path) -> set[str]:
    """kill -9 of Snakemake and of every job of the workspace; the stages that were hit."""
    found = processes_in(folder)
    hit = stages_of(found.values())
    while any(found.values()):  # what is dead and not yet waited for has no command line
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        found = processes_in(folder)
    return hit


def jobs_behind(folder: Path) -> dict[str, tuple[str, float]]:
    """Of each result, the rule that made it and how many seconds that took, by Snakemake's notes."""
    behind = {}
    for path in (folder / ".snakemake/metadata").iterdir():
        note = json.loads(path.read_text())
        behind[base64.b64decode(path.name).decode()] = note["rule"], note["endtime"] - note["starttime"]
    return behind


def kill_at_random(folder: Path, stage: str, rng: random.Random, jobs: dict[str, tuple[str, float]]) -> set[str]:
    """Start the workflow, kill all of it at a random moment of a job of `stage`, and unlock the folder; the stages hit.

    The job is the first of the stage, and the moment within the time of one of those left; `jobs` are those behind an
    undisturbed run.
    """
    left = [jobs[path] for path in set(jobs) - set(finished(folder, set(jobs)))]
    _, seconds = rng.choice(sorted(job for job in left if stage_of(job[0]) == stage))
    main = start(folder)
    wait_for(lambda: stage in stages_of(processes_in(folder).values()) or main.poll() is not None)
    time.sleep(rng.uniform(0, seconds))
    hit = kill_all(folder)
    main.wait()
    unlocked = snakemake(folder, "--unlock")
    assert unlocked.returncode == 0, unlocked.stdout
    return hit


def results(folder: Path) -> set[str]:
    """Every file under results/, hidden ones too."""
    return {str(path.relative_to(folder)) for path in (folder / "results").rglob("*") if path.is_file()}


def finished(folder: Path, among: set[str]) -> dict[str, tuple[int, int]]:
    """Inode and time stamp of the results that Snakemake does not hold for half-made: a file made again has others."""
    half_made = {base64.b64decode(path.name).decode() for path in (folder / ".snakemake/incomplete").glob("*")}
    found = {path: (folder / path).stat() for path in (results(folder) & among) - half_made}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def different(whole: Path, folder: Path) -> list[str]:
    """Results that two workspaces have in common, and that are not the same in both."""
    return sorted(path for path in results(whole) & results(folder) if not same(whole / path, folder / path))


def same(a: Path, b: Path) -> bool:
    """Whether two results are the same: artifacts by their numbers, figures and tables by their bytes, and the report
    by all but its seconds of work."""
    if a.suffix == ".h5":
        return same_numbers(a, b)
    work = rb"\d[\d.,]* (seconds|minutes|hours)" if a.suffix == ".html" else rb"$^"
    return re.sub(work, b"", a.read_bytes()) == re.sub(work, b"", b.read_bytes())


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


def killed_in(stages: Sequence[str], folder: Path, whole: Path, rng: random.Random) -> tuple[list[set[str]], list[str]]:
    """Kill the run of a workspace once in each of `stages`, then let it end. The stages that each kill hit, and every
    breach: a file half-written, made again, missing, left behind, or not the same as that of the undisturbed run."""
    hits, breaches, kept, jobs = [], [], {}, jobs_behind(whole)
    for stage in [*stages, None]:
        if stage:
            hits.append(kill_at_random(folder, stage, rng, jobs))
        else:
            again = snakemake(folder)
            breaches += [] if again.returncode == 0 else [again.stdout]
            breaches += [f"missing or left behind: {path}" for path in results(whole) ^ results(folder)]
        now = finished(folder, results(whole))
        breaches += [f"made again: {path}" for path, status in kept.items() if now.get(path) != status]
        breaches += [f"half-written or different: {path}" for path in different(whole, folder)]
        kept = now
    return hits, breaches


def main() -> None:
    """Runs of the small workspace up to its report, each killed once in every stage, and compared with one that was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    rng, hit, aimed, kills, sound, runs = random.Random(arguments.seed), Counter(), Counter(), 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        fresh = small_workspace(Path(temporary, "fresh"))
        whole = shutil.copytree(fresh, Path(temporary, "whole"))
        assert snakemake(whole, timeout=1500).returncode == 0
        while kills < arguments.kills:
            folder, stages = Path(temporary, f"killed-{runs}"), STAGES[: arguments.kills - kills]
            hits, breaches = killed_in(stages, shutil.copytree(fresh, folder), whole, rng)
            for stage, stages_hit in zip(stages, hits, strict=True):
                hit.update(stages_hit or ["between jobs"])
                aimed[stage] += stage in stages_hit
            kills, runs, sound = kills + len(stages), runs + 1, sound + (not breaches)
            print(f"{kills} kills, {sound} of {runs} runs without a breach, stages hit: {dict(hit)}", flush=True)
            print(f"  of the stages aimed at: {dict(aimed)}", *breaches, sep="\n  ", flush=True)
    sys.exit(sound != runs)


if __name__ == "__main__":
    main()
