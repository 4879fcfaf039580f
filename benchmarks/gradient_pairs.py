"""How many pairs of gradients the fitted proposal needs, and along which directions: Hadamard's or random ones.

    uv run snakemake --cores all results/datasets/mnist5k.h5
    uv run python benchmarks/gradient_pairs.py [--data results/datasets/mnist5k.h5] [--epochs 12]

Each of the paper's models is trained here on the data's images (grey ones as three equal channels where the paper's had three).
Errors of log p, 16 samples and several seeds, are against a long run with twice the pairs that engram takes; processor time is of
the proposal alone. A model's first row is the published estimator: the encoder's proposal and 128 samples. Takes some five minutes.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from common import PAPERS_MODELS, print_table, trained_and_judged

from engram.files import artifacts
from engram.likelihood import laplace
from engram.likelihood.estimation import log_weights, propose
from engram.runtime.device import use_fastest_float32

SEEDS, STEPS, PROPOSAL_SCALE = 6, 2, 1.1
HADAMARD = laplace._directions


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("results/datasets/mnist5k.h5"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train", type=int, default=3000, help="images")
    parser.add_argument("--judged", type=int, default=48, help="of the images trained on")
    parser.add_argument("--reference-samples", type=int, default=4000)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    use_fastest_float32()
    stored = artifacts.read(options.data, "dataset")
    shape = tuple(int(size) for size in stored.attrs["image_shape"])
    images = stored.images.values[: options.train].reshape(-1, *shape)
    for name, (channels, latent_dim) in PAPERS_MODELS.items():
        model, x = trained_and_judged(name, channels, latent_dim, images, options.epochs, options.judged)
        print(f"\n{name}, latent dimension {latent_dim}\n")
        print_table(list(_rows(model, x, latent_dim, options.reference_samples)))


@torch.no_grad()
def _rows(model, x: torch.Tensor, latent_dim: int, reference_samples: int) -> Iterator[dict[str, object]]:
    usual = len(HADAMARD(latent_dim))
    with _along("Hadamard", 2 * usual):
        proposal = propose(model, x, "laplace", STEPS, PROPOSAL_SCALE)
        reference = _log_px(model, x, proposal, reference_samples, seed=SEEDS)
    yield _row("-", "encoder", 128, model, x, reference)
    for pairs in sorted({usual // 2, 20, usual, usual * 3 // 2}):
        for signs in ("Hadamard", "random"):
            with _along(signs, pairs):
                yield _row(signs, pairs, 16, model, x, reference)


def _row(signs: str, pairs: object, samples: int, model, x, reference: torch.Tensor) -> dict[str, object]:
    started = time.process_time()
    proposal = propose(model, x, "encoder" if pairs == "encoder" else "laplace", STEPS, PROPOSAL_SCALE)
    seconds = time.process_time() - started
    error = torch.stack([_log_px(model, x, proposal, samples, seed) for seed in range(SEEDS)]) - reference
    return {
        "pairs": pairs,
        "signs": signs,
        "bias, nats": f"{error.mean():.2f}",
        "rms": f"{error.square().mean().sqrt():.2f}",
        "median error": f"{error.abs().median():.2f}",
        "ms/image": f"{1e3 * seconds / len(x):.2f}",
    }


def _log_px(model, x: torch.Tensor, proposal, samples: int, seed: int) -> torch.Tensor:
    noise = torch.randn(len(x), samples, proposal.mean.shape[1], generator=torch.Generator().manual_seed(seed))
    return log_weights(model, x, proposal, noise).logsumexp(1) - torch.tensor(float(samples)).log()


def _along(signs: str, pairs: int):
    """The fit with so many pairs, along rows of a Hadamard matrix or random signs."""

    def directions(latent_dim: int) -> torch.Tensor:
        if signs == "random":
            generator = torch.Generator().manual_seed(0)
            return (torch.randint(2, (pairs, latent_dim), generator=generator) * 2 - 1).float()
        with mock.patch.object(laplace, "LEAST_PAIRS", max(pairs, laplace.LEAST_PAIRS)):
            return HADAMARD(latent_dim)[:pairs]

    return mock.patch.object(laplace, "_directions", directions)


if __name__ == "__main__":
    main()
