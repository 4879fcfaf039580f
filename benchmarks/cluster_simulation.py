"""Time to finish the paper's four experiments on 1, 8 and 64 GPUs: list scheduling of the workflow's jobs.

    uv run python benchmarks/cluster_simulation.py [--speed 40] [--overhead 8] [--poll 10] [--jobs 100]

Work is counted at the measured rates of one CPU core (engram.runtime.requests) and in multiples of the fully connected model's
operations per image; that a GPU does the work of `--speed` cores is an assumption. Overhead per job and time until
Snakemake notices its end were measured on a one-node SLURM cluster (docs/slurm.md).
"""

import argparse
import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from engram.runtime import requests

CONFIG = Path(__file__).parents[1] / "config.yaml"
PAPER = ["mnist_lr1e-3", "mnist_lr1e-4", "cifar10", "celeba"]
IMAGES = {"mnist": (60_000, 70_000), "cifar10": (50_000, 60_000), "celeba": (162_770, 202_599)}  # training, all
# Operations per image relative to the fully connected model (torch's FlopCounterMode, encoder and decoder).
WORK = {"bernoulli_mlp_vae": 1.0, "gaussian_conv_vae": 10.5, "gaussian_conv_vae_scalar_variance": 10.2}
RESULTS = 600  # seconds of scores, analyses and figures of an experiment, grouped in one job without a GPU
LOSSES_AND_REPORT = 60


@dataclass(frozen=True)
class Job:
    name: str
    after: tuple[str, ...]
    seconds: float  # of one core; of the job itself where there is no GPU in it
    gpu: bool = True


def jobs_of(name: str, config: dict) -> Iterator[Job]:
    """The SLURM jobs of one experiment; data set and membership run beside Snakemake, in seconds."""
    experiment = config["experiments"][name]
    training, everything = IMAGES[experiment["dataset"]]
    folds, repeats = experiment["membership"]["folds"], experiment["membership"]["repeats"]
    work = WORK[experiment["model"]["name"]]
    passes = training * experiment["training"]["epochs"] / requests.TRAINED * work
    trainings = [f"{name} train {repeat}" for repeat in range(repeats)]
    for train in trainings:
        yield Job(train, (), passes * (folds - 1))
    yield Job(f"{name} train full", (), passes)
    likelihoods = []
    for key in experiment["estimators"]:
        settings = config["estimators"][key] | experiment.get("overrides", {}).get(key, {})
        seconds = requests.decodings(experiment, settings) / requests.DECODED
        for train in trainings:
            for epoch in experiment["scored_epochs"]:
                likelihoods.append(f"{name} {key} {train} {epoch}")
                yield Job(likelihoods[-1], (train,), everything * folds * settings.get("draws", 1) * seconds * work)
    everything_before = (*likelihoods, f"{name} train full")
    yield Job(f"{name} losses", (*trainings, f"{name} train full"), LOSSES_AND_REPORT, gpu=False)
    yield Job(f"{name} results", everything_before, RESULTS, gpu=False)


def simulate(jobs: list[Job], gpus: int, speed: float, overhead: float, poll: float, at_once: int) -> float:
    """Seconds until the last job is done. Jobs start in the order of `jobs` as soon as they may; CPU jobs never wait.

    A job occupies its GPU for `overhead` and its work; what depends on it is submitted `poll` seconds after its end.
    """
    waiting_for = {job.name: len(job.after) for job in jobs}
    followers = defaultdict(list)
    for position, job in enumerate(jobs):
        for name in job.after:
            followers[name].append((position, job))
    ready = [(position, job) for position, job in enumerate(jobs) if not job.after]
    heapq.heapify(ready)
    events: list[tuple[float, int, str, Job]] = []
    now, free, held = 0.0, gpus, 0
    while ready or events:
        postponed = []
        while ready and held < at_once:
            position, job = heapq.heappop(ready)
            if job.gpu and not free:
                postponed.append((position, job))
                break
            free, held = free - job.gpu, held + 1
            end = now + overhead + job.seconds / (speed if job.gpu else 1)
            heapq.heappush(events, (end, position, "ended", job))
        for entry in postponed:
            heapq.heappush(ready, entry)
        now, position, what, job = heapq.heappop(events)
        if what == "ended":
            free += job.gpu
            heapq.heappush(events, (now + poll, position, "noticed", job))
            continue
        held -= 1
        for later, follower in followers[job.name]:
            waiting_for[follower.name] -= 1
            if not waiting_for[follower.name]:
                heapq.heappush(ready, (later, follower))
    return now


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--speed", type=float, default=40, help="cores whose work one GPU does (assumed)")
    parser.add_argument("--overhead", type=float, default=8, help="seconds a job holds its place before it computes")
    parser.add_argument("--poll", type=float, default=10, help="seconds until Snakemake notices that a job has ended")
    parser.add_argument("--jobs", type=int, default=100, help="`jobs:` of the profile")
    options = parser.parse_args()

    config = yaml.safe_load(CONFIG.read_text())
    jobs = [job for name in PAPER for job in jobs_of(name, config)]
    jobs.append(Job("report", tuple(job.name for job in jobs if not job.gpu), LOSSES_AND_REPORT, gpu=False))
    # The longest training first: what is left at the end should be short.
    jobs.sort(key=lambda job: -job.seconds if not job.after else 0)
    work = sum(job.seconds for job in jobs if job.gpu) / options.speed
    print(f"{len(jobs)} jobs, {sum(job.gpu for job in jobs)} on a GPU; {work / 3600:.1f} GPU hours of work")
    settings = options.speed, options.overhead, options.poll, options.jobs
    for gpus in (1, 8, 64):
        seconds = simulate(jobs, gpus, *settings)
        print(f"{gpus:3d} GPUs: {seconds / 3600:6.1f} h, efficiency {work / gpus / seconds:.0%}")
    bound = simulate(jobs, len(jobs), *settings[:-1], len(jobs))
    print(f"longest chain of jobs, which no number of GPUs shortens: {bound / 3600:.1f} h")


if __name__ == "__main__":
    main()
