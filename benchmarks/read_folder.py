"""Time and peak memory of making a data set from a folder of PNG files.

    uv run python benchmarks/read_folder.py [--images 60000] [--side 32] [--classes 10]

The aim: 60,000 files of 32 x 32 in under a minute on two cores.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from engram import datasets
from engram.runtime.machine import peak_memory


def write(folder: Path, images: int, side: int, classes: int) -> None:
    """RGB noise around a bright corner, as PNG files in one folder a class."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class-{label}").mkdir()
    for number in range(images):
        pixels = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"class-{number % classes}" / f"{number:06d}.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary), options.images, options.side, options.classes)
        before, started = peak_memory(), time.perf_counter()
        image_set = datasets.make("mine", {"folder": temporary})
        read = time.perf_counter() - started
        datasets.write(Path(temporary, "mine.h5"), "mine", {"folder": temporary}, image_set)
        wall, peak = time.perf_counter() - started, peak_memory()
    size = f"{options.images} PNG files of {options.side} x {options.side}"
    print(
        f"{size}: {read:.1f} s read, {wall:.1f} s with summary and file, peak {peak / 2**20:.0f} MB ({before / 2**20:.0f} before)"
    )


if __name__ == "__main__":
    main()
