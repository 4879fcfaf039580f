"""engram: which training examples has a generative model memorized, how surely, and does the usual test see it?

    engram.score(log_px, in_training, repeat)      scores of every image, with errors and p-values
    engram.permutation_test(...)                   the test behind the p-values
    engram.estimate(model, images)                 log p of images under a trained model
    engram.load("results/quickstart")              what the workflow made of one experiment

Each is loaded on first use: `import engram` itself costs neither torch nor pandas. docs/python.md explains them.
"""

from typing import TYPE_CHECKING

from engram.lazy import lazy

if TYPE_CHECKING:
    from engram import datasets, likelihood, models, neighbors, scores
    from engram.likelihood.public import estimate
    from engram.results import load
    from engram.scores.public import permutation_test, score

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "datasets",
    "estimate",
    "likelihood",
    "load",
    "models",
    "neighbors",
    "permutation_test",
    "score",
    "scores",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "estimate": "engram.likelihood.public",
        "load": "engram.results",
        "permutation_test": "engram.scores.public",
        "score": "engram.scores.public",
        **{package: f"engram.{package}" for package in ("datasets", "likelihood", "models", "neighbors", "scores")},
    },
)
