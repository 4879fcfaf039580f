"""Time and peak memory of one epoch's permutation p-values at the size of full MNIST.

    uv run python benchmarks/permutation_test.py [--images 60000] [--models 100] [--permutations 10000]

The aim: under two minutes on two cores within 2 GB.
"""

import argparse
import resource
import time

import numpy as np

from engram.designs.membership import design
from engram.scores.permutation import permutation_test

FOLDS = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--permutations", type=int, default=10_000)
    options = parser.parse_args()

    settings = {"design": "k_fold", "folds": FOLDS, "repeats": options.models // FOLDS}
    started = time.perf_counter()
    membership = design(settings, np.zeros(options.images), np.full(options.images, -1), 42, "benchmark")
    print(f"membership: {time.perf_counter() - started:.2f} s")
    log_px = np.random.default_rng(0).normal(-94, 5, membership.in_training.shape).astype(np.float32)
    log_px[:, ::20] += 10 * membership.in_training[:, ::20]

    started = time.perf_counter()
    test = permutation_test(log_px, membership.in_training, membership.repeat, options.permutations)
    wall = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = f"{options.images} images x {options.models} models x {test.relabellings} relabellings"
    print(f"{size}: {wall:.1f} s, peak {peak:.2f} GB")
    unaffected = np.delete(test.p_value, np.s_[::20])
    print(f"median p of unaffected images {np.median(unaffected):.3f}, floor {test.floor:.1e}")


if __name__ == "__main__":
    main()
