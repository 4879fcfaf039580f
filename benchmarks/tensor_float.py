"""What TensorFloat-32 would do to log p: a GPU's faster products of float32, torch's default in convolutions.

    uv run snakemake --cores all results/datasets/mnist5k.h5
    uv run python benchmarks/tensor_float.py [--data results/datasets/mnist5k.h5] [--epochs 12]

No GPU is needed: the arguments of every matrix product and convolution are rounded to the 10 bits of mantissa that a tensor core
reads, and summed in float32 as there. Each of the paper's models is trained here on the data's images (grey ones as three equal
channels where the paper's had three); then importance weights of fixed samples of the encoder are computed in float32, in
TensorFloat-32 and in float64. Prints what the first two change in log p, nats. Takes some two minutes.
"""

import argparse
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from common import PAPERS_MODELS, print_table, trained_and_judged
from torch.utils._python_dispatch import TorchDispatchMode

from engram.files import artifacts
from engram.likelihood.estimation import log_weights, propose
from engram.likelihood.proposals import Proposal
from engram.runtime.device import use_fastest_float32

PRODUCTS = {
    "mm": (0, 1),
    "bmm": (0, 1),
    "addmm": (1, 2),
    "baddbmm": (1, 2),
    "mv": (0, 1),
    "convolution": (0, 1),
}  # factors
DROPPED = 13  # of float32's 23 bits of mantissa


class TensorFloat(TorchDispatchMode):
    """Rounds the factors of every product."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        places = PRODUCTS.get(function._schema.name.removeprefix("aten::"), ())
        rounded = [tensor_float(value) if place in places else value for place, value in enumerate(args)]
        return function(*rounded, **(kwargs or {}))


def tensor_float(values: torch.Tensor) -> torch.Tensor:
    """float32 values with 10 bits of mantissa, rounded to the nearest, of two equally near to the even one."""
    bits = values.contiguous().view(torch.int32)
    bits = bits + (2 ** (DROPPED - 1) - 1) + (bits >> DROPPED & 1)
    return (bits >> DROPPED << DROPPED).view(torch.float32)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("results/datasets/mnist5k.h5"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train", type=int, default=3000, help="images")
    parser.add_argument("--judged", type=int, default=64, help="images")
    options = parser.parse_args(arguments)
    use_fastest_float32()
    stored = artifacts.read(options.data, "dataset")
    shape = tuple(int(size) for size in stored.attrs["image_shape"])
    images = stored.images.values[: options.train].reshape(-1, *shape)
    print_table([row for name, size in PAPERS_MODELS.items() for row in _rows(name, *size, images, options)])


def _rows(name: str, channels: int, latent_dim: int, images: np.ndarray, options) -> Iterator[dict[str, object]]:
    model, x = trained_and_judged(name, channels, latent_dim, images, options.epochs, options.judged)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(x), 128, latent_dim, generator=generator)
    with torch.no_grad():
        proposal = propose(model, x, "encoder", 1, 1.0)
        exact = _log_px(model.double(), x, proposal, noise)
        model.float()
        found = {"float32": _log_px(model, x, proposal, noise)}
        with TensorFloat():
            found["TensorFloat-32"] = _log_px(model, x, proposal, noise)
    for product, values in found.items():
        change = (values - exact).numpy()
        yield {
            "model": name,
            "products": product,
            "rms change, nats": f"{np.sqrt((change**2).mean()):.5f}",
            "mean": f"{change.mean():.5f}",
            "largest": f"{np.abs(change).max():.5f}",
        }


def _log_px(model, x: torch.Tensor, proposal: Proposal, noise: torch.Tensor) -> torch.Tensor:
    """log of the summed weights, (n,) float64, computed in the model's own precision."""
    dtype = next(model.parameters()).dtype
    values = (getattr(proposal, field.name) for field in fields(proposal))
    same = Proposal(*(value.to(dtype) if value.is_floating_point() else value for value in values))
    return log_weights(model, x.to(dtype), same, noise.to(dtype)).double().logsumexp(1)


if __name__ == "__main__":
    main()
