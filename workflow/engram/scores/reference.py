"""What to compare scores with: the quantiles that scores have where nothing is memorized, as variables of scores.h5.

Either after relabelling models within repeats (null), or of images that no model saw (unseen), by every statistic.
"""

from collections.abc import Callable, Iterable

import numpy as np

from engram.files.artifacts import variable
from engram.scores.permutation import QUANTILES, relabelled_scores, unseen_scores
from engram.scores.statistics import STATISTICS


def null_quantiles(
    log_px: np.ndarray,
    in_training: np.ndarray,
    repeat: np.ndarray,
    statistic: str,
    seed: int,
    statistics: Iterable[str] = STATISTICS,
) -> dict[str, tuple]:
    """After relabelling, pooled over images; arguments as in engram.scores.permutation.relabelled_scores.

    `statistics` are those to give, of which `statistic` is one.
    """
    variables = {"quantile": variable(("quantile",), QUANTILES, "1", "probability below the quantile")}
    return variables | _quantiles(
        "null",
        "under relabelling",
        lambda name: relabelled_scores(log_px, in_training, repeat, name, seed=seed),
        statistic,
        statistics,
    )


def unseen_quantiles(log_px: np.ndarray, repeat: np.ndarray, statistic: str, seed: int) -> dict[str, tuple]:
    """Over images that no model saw; log_px is theirs."""
    return _quantiles(
        "unseen", "of images that no model saw", lambda name: unseen_scores(log_px, repeat, name, seed), statistic
    )


def _quantiles(
    which: str,
    meaning: str,
    scores_by: Callable[[str], np.ndarray],
    statistic: str,
    statistics: Iterable[str] = STATISTICS,
) -> dict[str, tuple]:
    """Quantiles of the scores by every statistic, and once more those of the estimator's own, `statistic`."""
    values = {f"_{name}": _defined_quantiles(scores_by(name)) for name in statistics}
    values[""] = values[f"_{statistic}"]
    return {
        f"{which}_quantiles{name}": variable(
            ("quantile",), quantiles, "nats", f"quantiles of score{name} {meaning}", may_be_undefined=True
        )
        for name, quantiles in values.items()
    }


def _defined_quantiles(scores: np.ndarray) -> np.ndarray:
    """Scores at QUANTILES; undefined are those that not a single score of so many lies beyond."""
    beyond = np.round((1 - np.array(QUANTILES)) * scores.size, 6)
    return np.where(beyond < 1, np.nan, np.quantile(scores, QUANTILES))
