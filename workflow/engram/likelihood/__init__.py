"""log p of images under trained models."""

from typing import TYPE_CHECKING

from engram.lazy import lazy

if TYPE_CHECKING:
    from engram.likelihood.public import estimate

__all__ = ["estimate"]

__getattr__, __dir__ = lazy(__name__, {"estimate": "engram.likelihood.public"})
