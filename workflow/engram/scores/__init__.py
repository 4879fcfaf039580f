"""Memorization scores and how far they can be trusted."""

from typing import TYPE_CHECKING

from engram.lazy import lazy

if TYPE_CHECKING:
    from engram.scores.public import memorization_scores, permutation_test, score

__all__ = ["memorization_scores", "permutation_test", "score"]

__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, "engram.scores.public"))
