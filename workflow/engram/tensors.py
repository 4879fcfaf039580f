"""Images of any framework as one tensor, left on the device where they are."""

from typing import Any

import torch
from torch import Tensor

from engram.arrays import array
from engram.errors import UserError


def tensor(values: Any, name: str) -> Tensor:
    """A dense tensor of real numbers, without gradient. Raises UserError where `values` holds none."""
    if not isinstance(values, Tensor):
        return torch.from_numpy(array(values, name).copy())
    if values.layout != torch.strided or values.is_meta or values.is_quantized or values.is_complex():
        raise UserError(
            f"{name}: is a {values.layout} tensor of {values.dtype} on {values.device}; give real, dense values"
        )
    return values.detach()
