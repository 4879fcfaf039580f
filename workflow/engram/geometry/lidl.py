"""LIDL: the dimension of a density from how its log falls as the density is blurred (Tempczyk et al. 2022).

About a point of a d-dimensional manifold among D numbers, log p_w ~ (d - D) log w + constant, where p_w is the density under
normal noise of width w. The noise that a model has itself blurs it, too: w is the width of both (engram.geometry.smoothing).
"""

import torch
from torch import Tensor

from engram.geometry.flipd import Dimension


def lidl(log_p: Tensor, log_width: Tensor, pixels: int) -> Dimension:
    """D + the slope of log p on log width by least squares, (n,), from log_p (widths, n) in nats, at three widths or more.

    log_width: (widths,), or (widths, n) where each image has its own. The standard error is that of the slope by what the line
    leaves over, and so also tells of a curve.

        >>> log_width = torch.tensor([0.1, 0.2, 0.4]).log()
        >>> lidl((1 - 3) * log_width[:, None], log_width, pixels=3).value  # a curve in space
        tensor([1.0000])
    """
    log_width = log_width.reshape(len(log_p), -1).expand_as(log_p)
    across = log_width - log_width.mean(0)
    spread = across.square().sum(0)
    slope = (across * log_p).sum(0) / spread
    left_over = log_p - log_p.mean(0) - slope * across
    variance = left_over.square().sum(0) / (len(log_p) - 2)
    return Dimension(pixels + slope, (variance / spread).sqrt())


def local_dimensions(log_p: Tensor, log_width: Tensor, pixels: int) -> Tensor:
    """D + the slope between every two neighbouring widths, (widths - 1, n): how the dimension depends on the scale."""
    log_width = log_width.reshape(len(log_p), -1)
    return pixels + torch.diff(log_p, dim=0) / torch.diff(log_width, dim=0)
