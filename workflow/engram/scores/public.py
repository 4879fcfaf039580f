"""Scores and their test as others call them: arguments of any framework, checked once, then the pure functions."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import false_discovery_control

from engram.arrays import whole_number
from engram.errors import UserError
from engram.scores import independent_models, permutation, statistics
from engram.scores.checks import Matrices, matrices
from engram.scores.permutation import QUANTILES, PermutationTest
from engram.scores.uncertainty import standard_error, standard_error_of_draws, why_undefined

if TYPE_CHECKING:
    import pandas as pd

STATISTIC = "mean_log"
JACKKNIFE, BOOTSTRAP = "jackknife over repeats", "bootstrap over models, in closed form"


def score(
    log_px: Any, in_training: Any, repeat: Any = None, *, permutations: int = 10_000, seed: int = 0
) -> "pd.DataFrame":
    """Memorization scores of n images with their errors and p-values: a table with one row an image.

    log_px: (models, n), or (models, draws, n) whose draws of x are averaged; log p in nats. in_training: (models, n), 1 or
    true where the model was trained on the image. repeat: (models,), the number or name of the split of the data that a
    model belongs to, such as all K models of one K-fold; None where every model's training set was drawn independently of
    the others, as random subsets are. Lists, NumPy arrays, tensors, pandas and xarray objects are taken.

    Columns, with the images' labels (else 0 to n - 1) as index:
        score            mean log p of the models trained on the image minus that of the others, nats ("mean_log")
        standard_error   of score, nats: jackknife over repeats; without repeats, bootstrap over models, in closed form
        standard_error_of_draws  what finite draws add to it, nats, where log_px has two or more: sd over draws / sqrt(draws)
        p_value          of "training on this image made no difference", one-sided, by relabelling models
        q_value          Benjamini-Hochberg: images with q_value <= 0.05 hold 5 % false ones at most, on average
    In `.attrs`: null_quantiles (nats, by probability: the score where labels mean nothing), p_value_floor (the
    smallest p-value that every image can reach), relabellings (how many were used), relabellings_are_all, statistic,
    standard_error_by.

    With repeats, models are relabelled within them only: the models of a split share what their split and their run have in
    common. Without, among all: where training sets are drawn independently and alike, an image's labels are exchangeable
    given how many models were trained on it, so the test is exact, too. Where the sets' sizes or overlaps show that they were
    not, errors and p-values would be wrong and are NaN. If you know better, give all models one repeat.

    What cannot be had is NaN, with one warning saying why. Raises UserError, naming model and image, for values that are no
    log p or no 0 and 1, shapes that do not fit, and images that all models or none were trained on.

        >>> import engram
        >>> log_px = [[-10.0], [-14.0], [-11.0], [-13.0]] * 3
        >>> engram.score(log_px, [[1], [0], [1], [0]] * 3, repeat=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]).round(3)
               score  standard_error  p_value  q_value
        image
        0        3.0           0.447    0.016    0.016
    """
    given = matrices(log_px, in_training, repeat)
    permutations, seed = whole_number(permutations, "permutations", 1), whole_number(seed, "seed", 0)
    n = given.in_training.shape[1]
    columns = {
        "score": statistics.memorization_scores(given.log_px, given.in_training, STATISTIC),
        **{name: np.full(n, np.nan) for name in ("standard_error", "p_value", "q_value")},
    }
    of_draws = standard_error_of_draws(given.log_px, given.in_training, given.repeat, STATISTIC)
    if np.isfinite(of_draws).all():
        columns["standard_error_of_draws"] = of_draws
    attributes = {"statistic": STATISTIC, "standard_error_by": BOOTSTRAP if given.repeat is None else JACKKNIFE}
    reason = independent_models.why_not_exchangeable(given.in_training) if given.repeat is None else None
    if reason:
        _warn(
            f"standard_error, p_value and q_value are NaN: the models' training sets were not drawn alike, {reason}; give "
            "`repeat`, the split that each model belongs to"
        )
    else:
        columns["standard_error"] = standard_error(given.log_px, given.in_training, given.repeat, STATISTIC)
        test = _test(given, permutations, seed)
        columns |= {"p_value": test.p_value, "q_value": false_discovery_control(test.p_value)}
        attributes |= _described(test)
        for reason in (why_undefined(columns["standard_error"], given.repeat, STATISTIC), test.warning()):
            if reason:
                _warn(reason)
    return _table(columns, given.images, attributes)


def memorization_scores(
    log_px: Any, in_training: Any, statistic: str = "log_mean_exp", repeat: Any = None
) -> np.ndarray:
    """The score of every image by one of the three statistics of engram.scores.statistics: (n,) float64, nats.

    log_px, in_training and repeat as in `score`; `statistic` is "log_mean_exp" (as published), "size_matched" (needs
    `repeat`) or "mean_log". Raises UserError as `score` does, and for an unknown statistic.

        >>> import engram
        >>> engram.scores.memorization_scores([[-10.0], [-14.0], [-12.0]], [[1], [0], [1]], "mean_log")
        array([3.])
    """
    given = matrices(log_px, in_training, repeat)
    return statistics.memorization_scores(given.log_px, given.in_training, statistic, given.repeat)


def permutation_test(
    log_px: Any, in_training: Any, repeat: Any, permutations: int = 10_000, seed: int = 0
) -> PermutationTest:
    """Exact test of "training on this image made no difference", of every image, by relabelling models within repeats.

    log_px, in_training and repeat as in `score`. All relabellings are used if there are at most `permutations`, else so
    many random ones from `seed`. Gives `p_value` (n,), `floor`, `exact`, `relabellings`, and `null_quantiles` (nats) at
    engram.scores.permutation.QUANTILES. Raises UserError as `score` does.

        >>> import engram
        >>> log_px = [[-10.0], [-14.0], [-12.0], [-13.0]]
        >>> engram.permutation_test(log_px, [[1], [0], [1], [1]], repeat=[0, 0, 0, 0]).p_value
        array([0.25])
    """
    if repeat is None:
        raise UserError("repeat: is None; give each model's split, or one number for all if any relabelling is as good")
    given = matrices(log_px, in_training, repeat)
    return _test(given, whole_number(permutations, "permutations", 1), whole_number(seed, "seed", 0))


def _test(given: Matrices, permutations: int, seed: int) -> PermutationTest:
    """Without repeats all models are one block: relabelling keeps the number of models trained on each image."""
    repeat = np.zeros(len(given.log_px), dtype=int) if given.repeat is None else given.repeat
    return permutation.permutation_test(given.log_px, given.in_training, repeat, permutations, seed)


def _described(test: PermutationTest) -> dict[str, Any]:
    return {
        "null_quantiles": dict(zip(QUANTILES, test.null_quantiles.tolist(), strict=True)),
        "p_value_floor": test.floor,
        "relabellings": test.relabellings,
        "relabellings_are_all": test.exact,
    }


def _table(columns: dict[str, np.ndarray], images: np.ndarray, attributes: dict[str, Any]) -> "pd.DataFrame":
    import pandas as pd  # here, because the test alone does not need it

    table = pd.DataFrame(columns, index=pd.Index(images, name="image"))
    table.attrs = attributes
    return table


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=3)
