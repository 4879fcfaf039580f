"""The models engram trains, and the way to bring your own.

`build("bernoulli_mlp_vae", (1, 32, 32), latent_dim=16)` makes one of ours. A name with a colon, "my_package.my_module:MyModel",
imports yours: a subclass of `LatentVariableModel`, or any module that offers what engram.models.protocols asks for.
"""

from typing import TYPE_CHECKING

from engram.lazy import lazy
from engram.models.known import known_models

if TYPE_CHECKING:
    from engram.models.base import LatentVariableModel
    from engram.models.building import build

__all__ = ["LatentVariableModel", "build", "known_models"]

# These need torch; the workflow asks for `known_models` alone.
__getattr__, __dir__ = lazy(__name__, {"build": "engram.models.building", "LatentVariableModel": "engram.models.base"})
