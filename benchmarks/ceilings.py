"""What the machine can do at best, to judge a measurement by: matrix products of the MLP VAE's shapes, and memory.

    uv run python benchmarks/ceilings.py

GFLOP/s of float32 by torch's default and by oneDNN (engram.runtime.device; on a GPU that setting means TensorFloat-32), and of
bfloat16; GB/s of copying more than the cache holds.
"""

import argparse
import time
from collections.abc import Callable

import torch
from common import print_table

SHAPES = {
    "training: 64 x 1024 x 512": (64, 1024, 512),
    "log p: 512 x 512 x 1024": (512, 512, 1024),
    "square: 2048": (2048, 2048, 2048),
}
KINDS = {
    "float32, default": ("highest", torch.float32),
    "float32, oneDNN (on a GPU TensorFloat-32)": ("medium", torch.float32),
    "bfloat16": ("medium", torch.bfloat16),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, torch.get_num_threads()}))
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        rows += [_row(name, shape, threads, device, options.seconds) for name, shape in SHAPES.items()]
        rows.append(_copy(threads, device, options.seconds))
    print_table(rows)


def _row(name: str, shape: tuple[int, int, int], threads: int, device: str, seconds: float) -> dict[str, object]:
    row = {"GFLOP/s of (m x k x n)": name, "threads": threads}
    m, k, n = shape
    for kind, (precision, dtype) in KINDS.items():
        torch.set_float32_matmul_precision(precision)
        a, b = torch.randn(m, k, device=device).to(dtype), torch.randn(k, n, device=device).to(dtype)
        out = torch.empty(m, n, dtype=dtype, device=device)
        row[kind] = f"{2e-9 * m * k * n * per_second(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), seconds):.0f}"
    return row


def _copy(threads: int, device: str, seconds: float) -> dict[str, object]:
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    rate = 2e-9 * 4 * len(source) * per_second(lambda: target.copy_(source), seconds)
    return {
        "GFLOP/s of (m x k x n)": "copy, GB/s read and written",
        "threads": threads,
        **dict.fromkeys(KINDS, f"{rate:.0f}"),
    }


def per_second(action: Callable[[], object], seconds: float) -> float:
    """How often the action can be done in a second, at its best among tenths of the time."""
    best, times = 0.0, 1
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        started = time.perf_counter()
        for _ in range(times):
            action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        wall = time.perf_counter() - started
        best = max(best, times / wall)
        times = max(times, int(times * 0.1 * seconds / wall))
    return best


if __name__ == "__main__":
    main()
