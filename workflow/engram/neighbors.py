"""The nearest-neighbour test as others call it: images of any framework, checked once, then engram.analyses.neighbors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from engram.analyses import neighbors
from engram.errors import UserError
from engram.tensors import tensor

__all__ = ["distance_ratio", "nearest"]


def distance_ratio(train: Any, validation: Any, samples: Any, as_published: bool = False) -> np.ndarray:
    """How much nearer each training image has a sample of the model than a held-out image: rho, (n,).

    rho_i = min over held-out images of their distance to image i / min over samples of theirs, Euclidean; above 1 the
    model's samples come nearer than fresh real images do. train: (n, ...), validation: (v, ...), samples: (s, ...), images of
    one shape and scale, such as 0 to 1, and with v = s to be fair; arrays or tensors, compared on the GPU where one is there.
    Infinite where the samples contain the image and `validation` does not; 1 where both do. `as_published` repeats the
    reference code's slip (van den Burg & Williams 2021), which is noise.

    Raises UserError, naming the image, for values that are not finite, and for shapes or scales that differ.

        >>> import engram
        >>> engram.neighbors.distance_ratio([[0.0, 0.0]], [[0.0, 4.0]], [[0.0, 1.0]])
        array([4.])
    """
    sets = _images(train=train, validation=validation, samples=samples)
    return neighbors.distance_ratio(*sets, as_published=as_published)


def nearest(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest of y (m, ...) to each of x (n, ...), the lowest among equals, and its distance: (n,), (n,).

    Images and errors as in `distance_ratio`.

        >>> import engram
        >>> engram.neighbors.nearest([[0.0, 0.0]], [[9.0, 9.0], [3.0, 4.0]])
        (array([1]), array([5.]))
    """
    return neighbors.nearest(*_images(x=x, y=y))


def _images(**given: Any) -> list[Tensor]:
    """Sets of images as float32 tensors (n, ...) of one shape, scale and device."""
    levels = {name: _tensor(images, name) for name, images in given.items()}
    sets = {name: images.float() for name, images in levels.items()}
    first, shape = next((name, images.shape[1:]) for name, images in sets.items())
    for name, images in sets.items():
        if images.shape[1:] != shape:
            raise UserError(
                f"{name}: has images of {tuple(images.shape[1:])}, {first} of {tuple(shape)}; they must agree"
            )
        wrong = ~images.flatten(1).isfinite().all(1)
        if wrong.any():
            raise UserError(f"{name}: image {int(wrong.int().argmax())} has values that are not finite float32 numbers")
    _require_one_scale(levels)
    on_gpu = [images.device for images in sets.values() if images.device.type != "cpu"]
    return [images.to(on_gpu[0]) if on_gpu else images for images in sets.values()]


def _tensor(images: Any, name: str) -> Tensor:
    levels = tensor(images, name)
    if levels.ndim < 2 or not levels.numel():
        raise UserError(f"{name}: has the shape {tuple(levels.shape)}, must be (images, ...) with at least one image")
    return levels


def _require_one_scale(sets: dict[str, Tensor]) -> None:
    """Raise UserError for grey levels up to 255 beside floats up to 1, whose distances mean nothing."""
    of_levels = [name for name, images in sets.items() if images.dtype == torch.uint8 and images.max() > 1]
    of_unit = [name for name, images in sets.items() if images.is_floating_point() and images.max() <= 1]
    if of_levels and of_unit:
        raise UserError(f"{of_levels[0]}: holds grey levels up to 255 beside {of_unit[0]} up to 1; divide it by 255")
