"""The models engram trains, and the way to bring your own.

`build("bernoulli_mlp_vae", (1, 32, 32), latent_dim=16)` makes one of ours. A name with a colon, "my_package.my_module:MyModel",
imports yours: a subclass of `LatentVariableModel`. (engram.likelihood also takes an exact model, with `log_prob(x)` alone, but
training does not: it maximizes the evidence lower bound.)
"""

import importlib
from typing import Any

from engram.models.known import known_models

__all__ = ["LatentVariableModel", "build", "known_models"]

_HOMES = {"build": "engram.models.building", "LatentVariableModel": "engram.models.base"}


def __getattr__(name: str) -> Any:
    """Public names that need torch, loaded on first use: the workflow asks for `known_models` alone."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
