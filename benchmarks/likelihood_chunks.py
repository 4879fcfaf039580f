"""Which chunk sizes are fastest for the likelihood stage on this machine?

    uv run python benchmarks/likelihood_chunks.py --model results/mnist5k/models/full.h5

Times both proposals of the shipped estimators on one thread for a range of SAMPLES_CHUNK and JACOBIAN_CHUNK of
engram.likelihood, in turns, and prints the least CPU milliseconds per image of five. Takes some three minutes.
"""

import argparse
import time
from pathlib import Path

import torch

from engram.files.artifacts import read
from engram.likelihood import estimation
from engram.models import observations
from engram.runtime.device import keep_freed_memory, use_fastest_float32
from engram.training import trained

SAMPLES = {"encoder": 256, "laplace": 16}
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("results/mnist5k/models/full.h5"))
    parser.add_argument("--dataset", type=Path, default=Path("results/datasets/mnist5k.h5"))
    parser.add_argument("--images", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    use_fastest_float32()
    keep_freed_memory()
    epoch = int(read(arguments.model, "models").epoch[-1])
    model = trained.load_model(arguments.model, epoch)
    grey = torch.from_numpy(read(arguments.dataset, "dataset").images.values[: arguments.images])
    uniforms = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0))
    x = observations.draw(grey, uniforms, model.observation).reshape(-1, *model.image_shape)
    sizes = [(samples, jacobian) for samples in range(18, 23) for jacobian in (19, 22)]
    best = {}
    for _ in range(ROUNDS):
        for size in sizes:
            estimation.SAMPLES_CHUNK, estimation.JACOBIAN_CHUNK = (2**power for power in size)
            for proposal, samples in SAMPLES.items():
                start = time.thread_time()
                estimation.estimate(model, x, proposal, samples=samples)
                seconds = time.thread_time() - start
                best[size, proposal] = min(seconds, best.get((size, proposal), seconds))
    print("SAMPLES_CHUNK  JACOBIAN_CHUNK  encoder, 256 samples  laplace, 16 samples   (CPU ms an image)")
    for size in sizes:
        times = [1000 * best[size, proposal] / len(x) for proposal in SAMPLES]
        print(f"2**{size[0]:<10d} 2**{size[1]:<11d} {times[0]:21.2f} {times[1]:20.2f}")


if __name__ == "__main__":
    main()
