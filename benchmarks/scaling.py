"""Seconds and peak memory of what comes after the likelihoods, at the sizes of the paper, and of Snakemake itself.

    uv run python benchmarks/scaling.py [--share 1.0] [--only scores neighbors ...] [--analyses copy_tests ...]

Every measurement has a process of its own, so that its peak memory is its own; files it reads are made up beforehand. `--share`
scales the number of images. Peak memory of finished stages is read from the artifacts under --results.
"""

import argparse
import json
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from common import print_table
from scaling_measures import ANALYSES, measurements

from engram.analyses.neighbors import nearest
from engram.designs.membership import Membership, design
from engram.designs.repeats import repeat_name
from engram.files import artifacts, inputs, provenance
from engram.files.artifacts import variable
from engram.runtime.machine import peak_memory
from engram.scores import stage
from engram.scores.permutation import permutation_test

FOLDS = REPEATS = 10
MNIST, CELEBA = 60_000, 162_770
REPOSITORY = Path(__file__).parents[1]
TRIVIAL = {
    "nothing": "",
    "imports of scores": "from engram.scores import stage\n",
    "imports of train": "from engram.training import stage\n",
}


def main(arguments: list[str] | None = None) -> None:
    parts = {"scores": _scores, "permutations": _permutations, "neighbors": _neighbors}
    parts |= {"paper": _dry_run, "overhead": _overhead, "memory": _memory_of_stages}
    parts |= {"measures": _measures}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the images")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument(
        "--analyses", nargs="+", choices=ANALYSES, default=list(ANALYSES), help="of the part `measures`"
    )
    parser.add_argument("--results", type=Path, nargs="+", default=[REPOSITORY / "results"])
    options = parser.parse_args(arguments)
    rows = []
    for part in options.only:
        for row in parts[part](options):
            print(*row.values(), sep="; ", file=sys.stderr, flush=True)
            rows.append(row)
    print_table(rows)


def _row(what: str, seconds: float | None, peak: float | None, target: str = "") -> dict[str, object]:
    """Peak memory in bytes."""
    return {
        "what": what,
        "seconds": "" if seconds is None else f"{seconds:.1f}",
        "peak GB": "" if peak is None else f"{peak / 1e9:.2f}",
        "target": target,
    }


def _measured(what: str, target: str, function: Callable, *arguments: object) -> dict[str, object]:
    """Run `function`, which returns its seconds, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return _row(what, *pool.apply(_run, (function, arguments)), target)


def _run(function: Callable, arguments: tuple) -> tuple[float, int]:
    return function(*arguments), peak_memory()


def _scores(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    for name, images, epochs, target in (("MNIST", MNIST, 20, "< 30 s"), ("CelebA", CELEBA, 2, "")):
        n = int(images * options.share)
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.get_context("spawn").Pool(1).apply(_write_experiment, (folder, n, epochs))
            what = f"scores, {name}: {epochs} epochs x 100 models x {n} images, no test"
            yield _measured(what, target, _score, folder, 1)
            if epochs == 2:
                yield _measured(f"{what[:-9]}, with 10,000 relabellings", "", _score, folder, 10_000)


def _made_up(images: int) -> tuple[Membership, np.ndarray]:
    """A k-fold membership without test images and log p (models, images), nats."""
    settings = {"design": "k_fold", "folds": FOLDS, "repeats": REPEATS}
    membership = design(settings, np.zeros(images), np.full(images, -1), 42, "benchmark")
    log_px = np.random.default_rng(0).normal(-94, 5, membership.in_training.shape).astype(np.float32)
    log_px[:, ::20] += 10 * membership.in_training[:, ::20]
    return membership, log_px


def _write_experiment(folder: str, images: int, epochs: int) -> None:
    """membership.h5 and the likelihood files of an experiment whose epochs are alike."""
    membership, log_px = _made_up(images)
    zeros = np.zeros(images, dtype=np.int16)
    artifacts.write(f"{folder}/membership.h5", "membership", membership.variables(zeros, zeros), {})
    for repeat in range(REPEATS):
        mine = membership.repeat == repeat
        values = log_px[mine][:, None].astype(np.float64)
        variables = {"log_px": variable(("model", "draw", "sample"), values, "nats", "log p")}
        for axis in ("repeat", "fold"):
            variables[axis] = variable(("model",), getattr(membership, axis)[mine], "1", axis)
        for epoch in range(1, epochs + 1):
            path = f"{folder}/likelihood/corrected/{repeat_name(repeat)}/epoch-{epoch}.h5"
            artifacts.write(path, "likelihood", variables, {"values": json.dumps({"epoch": epoch})})


def _score(folder: str, permutations: int) -> float:
    """The score stage, from files to the variables of its artifact."""
    paths = sorted(map(str, Path(folder).glob("likelihood/corrected/*/*.h5")))
    epochs = sorted({inputs.epoch_of(path) for path in paths})
    started = time.perf_counter()
    membership = artifacts.read(f"{folder}/membership.h5", "membership")
    variables, *_ = stage.compute(paths, membership, "mean_log", epochs, permutations, 42, threads=2)
    stage.table(variables).to_csv(f"{folder}/corrected.csv", index=False)
    return time.perf_counter() - started


def _permutations(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    n = int(MNIST * options.share)
    what = f"permutation test: {n} images x 100 models x 10,000 relabellings"
    yield _measured(what, "< 120 s, < 2 GB", _permute, n)


def _permute(images: int) -> float:
    membership, log_px = _made_up(images)
    started = time.perf_counter()
    permutation_test(log_px, membership.in_training, membership.repeat, 10_000)
    return time.perf_counter() - started


def _neighbors(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    n, others = int(MNIST * options.share), int(10_000 * options.share)
    yield _measured(
        f"nearest of {others} to each of {n} images of 1,024 pixels, exact", "< 60 s", _find_nearest, n, others
    )


def _find_nearest(n: int, others: int) -> float:
    rng = np.random.default_rng(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = (torch.from_numpy(rng.random((rows, 1024), dtype=np.float32)).to(device) for rows in (n, others))
    started = time.perf_counter()
    nearest(x, y)
    return time.perf_counter() - started


def _measures(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Seconds of processor time: `measurements` says of what."""
    for measurement in measurements(options):
        yield _measured(*measurement)


def _dry_run(_: argparse.Namespace) -> Iterator[dict[str, object]]:
    started = time.perf_counter()
    run = _snakemake(REPOSITORY, "--dry-run", "paper", "--quiet", "rules")
    if run.returncode:
        reason = next((line for line in run.stdout.splitlines() if "Error" in line), "no reason given")
        yield _row(f"dry run of `paper` failed: {reason.strip()}", None, None, "< 15 s")
        return
    jobs = re.search(r"^total +(\d+)$", run.stdout, flags=re.MULTILINE)
    yield _row(f"dry run of `paper`, {jobs[1] if jobs else 0} jobs", time.perf_counter() - started, None, "< 15 s")


def _overhead(_: argparse.Namespace, jobs: int = 8) -> Iterator[dict[str, object]]:
    """Seconds that each further job takes, one after the other, and those of the first with all of Snakemake."""
    for name, code in TRIVIAL.items():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "trivial.py").write_text(f"{code}open(snakemake.output[0], 'w').close()\n")
            Path(folder, "Snakefile").write_text(
                'rule trivial:\n    output: "done/{number}"\n    script: "trivial.py"\n'
            )
            first, rest = ["done/0"], [f"done/{number}" for number in range(1, jobs + 1)]
            walls = []
            for targets in (first, rest):
                started = time.perf_counter()
                run = _snakemake(Path(folder), *targets)
                if run.returncode:
                    raise SystemExit(run.stdout)
                walls.append(time.perf_counter() - started)
        yield _row(f"a job of Snakemake, script: {name}", (walls[1] - walls[0]) / (jobs - 1), None)
    yield _row("one run of Snakemake with one such job", walls[0], None)


def _snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    provenance.importable_by_scripts()
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _memory_of_stages(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """The largest peak that the artifacts of each stage record."""
    peaks: dict[str, tuple[int, str]] = {}
    for path in (path for folder in options.results for path in sorted(folder.rglob("*.h5"))):
        with h5py.File(path) as file:
            if "peak_memory_bytes" in file.attrs:
                found = int(np.max(file.attrs["peak_memory_bytes"])), str(file.attrs["experiment"])
                peaks[file.attrs["kind"]] = max(peaks.get(file.attrs["kind"], found), found)
    for kind, (peak, experiment) in sorted(peaks.items()):
        yield _row(
            f"most of all {kind}: {experiment}, as recorded" if experiment else f"most of all {kind}", None, peak
        )


if __name__ == "__main__":
    main()
