"""Features that images are compared by: rows of numbers, by default the pixels, else by a function or a file of the user's.

A function embeds any image. A file has a row for each image of the data set, and so none for a sample of a model.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from engram.arrays import array
from engram.errors import UserError, about, first_line, in_users_code
from engram.files import inputs, matrices
from engram.files.own_features import is_function

PIXELS = "pixels"


@dataclass(frozen=True)
class Features:
    """`name`: as in config.yaml, or "pixels". Rows come from `embed` or, where that is None, from `of_file`, (images, d)."""

    name: str
    embed: Callable[[torch.Tensor], Any] | None = None
    of_file: np.ndarray | None = None

    def of_dataset(self, dataset: xr.Dataset, sample: np.ndarray) -> np.ndarray:
        """Features of the data set's images by index: (n, d), float32."""
        if self.of_file is not None:
            return self.of_file[sample]
        return np.concatenate([self.of_images(inputs.images(dataset, part)) for part in inputs.in_parts(sample)])

    def of_images(self, images: np.ndarray | torch.Tensor) -> np.ndarray:
        """Features (n, d), float32, of any images (n, channels, height, width) in [0, 1]; not of a file's.

        Raises UserError where the user's function fails, or returns no finite rows, one for each image.
        """
        images = torch.as_tensor(images, dtype=torch.float32)
        if self.name == PIXELS:
            return images.flatten(1).numpy()
        with about(f"features {self.name}"):
            return _rows(self._embedded(images), len(images))

    def _embedded(self, images: torch.Tensor) -> Any:
        try:
            with torch.no_grad():
                return self.embed(images)
        except Exception as error:  # whatever a user's own function raises
            said = in_users_code(error) or f"{type(error).__name__}: {first_line(error)}"
            raise UserError(f"failed on images of the shape {tuple(images.shape)}: {said}") from error


def load(features: str | None, images: int) -> Features:
    """What an experiment's key `features` names, for a data set of so many images; its pixels if it names nothing.

    Raises UserError for a function that cannot be imported, and for a file that holds no finite rows, one for each image.
    """
    if features is None:
        return Features(PIXELS)
    if is_function(features):
        return Features(features, embed=_imported(features))
    with about("features"):
        values = matrices.read(features)
    with about(f"features {features}"):
        return Features(features, of_file=_rows(values, images))


def _imported(features: str) -> Callable[[torch.Tensor], Any]:
    module, _, name = features.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a user's own module does when it is imported
        said = in_users_code(error) or first_line(error)
        raise UserError(f"features {features!r} could not be imported: {said}") from error
    if not callable(function):
        raise UserError(f"features {features!r} is a {type(function).__name__}, must be a function of images")
    return function


def _rows(values: Any, images: int) -> np.ndarray:
    """`values` as finite float32, one row for each image. Raises UserError where they are not."""
    values = array(values, "it")
    if values.ndim != 2 or len(values) != images or not values.shape[1]:
        raise UserError(f"has the shape {values.shape} for {images} images, must be ({images}, d)")
    values = values.astype(np.float32)
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any():
        raise UserError(
            f"has values that are no finite float32 numbers, first for image {int(wrong.argmax())} of {images}"
        )
    return values
