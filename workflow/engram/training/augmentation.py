"""Changing training images by chance, each time they are seen."""

import torch
from torch import Tensor


def flip_horizontally(images: Tensor, mirrored: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Images (n, pixels), those that `mirrored` (n,) bool names with left and right exchanged.

    Pixels are in the order (channel, row, column) of `image_shape`.
    """
    return torch.where(mirrored[:, None], images.reshape(-1, *image_shape).flip(-1).flatten(1), images)
