"""How far a memorization score can be trusted: standard errors, reliability, and what this budget can detect.

All but one come from the repeats, whose folds and trainings are independent of one another; or from the models, where their
training sets are (`repeat` is None). `standard_error_of_draws` comes from the draws of x and of its noise, which models share.
"""

import numpy as np
from scipy.stats import norm, spearmanr

from engram.designs.membership import scored
from engram.randomness import generator
from engram.scores import independent_models
from engram.scores.permutation import relabelled_standard_deviation
from engram.scores.statistics import memorization_scores, scores_of_draws

POWER = 0.8


def standard_error(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray | None, statistic: str
) -> np.ndarray:
    """Standard error of every image's score, (n,), nats: by jackknife over repeats, or in closed form where `repeat` is None.

    NaN where it cannot be had: with one repeat; for an image that has models of one kind only when some repeat is left out;
    without repeats, with a single model on one side, and by other statistics than mean_log.
    """
    if repeat is None:
        if statistic != "mean_log":
            return np.full(in_training.shape[1], np.nan)
        return independent_models.standard_error(log_px, in_training)
    defined = np.all([scored(in_training[repeat != number]) for number in np.unique(repeat)], axis=0)
    error = np.full(len(defined), np.nan)
    if defined.any():
        error[defined] = jackknife_standard_error(*_some(defined, log_px, in_training), repeat, statistic)
    return error


def standard_error_of_draws(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray | None, statistic: str
) -> np.ndarray:
    """What finite draws add to the error of every image's score, (n,), nats: sd over draws / sqrt(draws); NaN of one draw.

    Arguments as in memorization_scores. A score by any statistic is the mean of the scores within its draws, which are
    independent, so this is the standard error of that mean, given these models. The jackknife sees the models alone: what a
    draw adds to the score from every repeat alike is in none of its differences. The root of the sum of both squares is the
    error of both; it counts twice what a draw adds in one repeat and not in another, and so is rather too large. From two
    draws it is rough for a single image: average its square over images.
    """
    if log_px.ndim == 2 or log_px.shape[1] < 2:
        return np.full(in_training.shape[1], np.nan)
    of_draws = scores_of_draws(log_px, in_training, statistic, repeat)
    return of_draws.std(axis=0, ddof=1) / np.sqrt(len(of_draws))


def why_undefined(error: np.ndarray, repeat: np.ndarray | None, statistic: str) -> str | None:
    """Why some standard errors of `standard_error` are NaN; None if none is."""
    undefined = int(np.isnan(error).sum())
    if not undefined:
        return None
    if repeat is not None:
        reason = "they take two repeats, and models on both sides whichever repeat is left out"
    elif statistic != "mean_log":
        reason = "without repeats they are known for the statistic mean_log alone"
    else:
        reason = "they take two models on each side"
    return f"standard_error is NaN for {undefined} of {len(error)} images: {reason}"


def jackknife_standard_error(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray, statistic: str
) -> np.ndarray:
    """Standard error of every image's score from leaving out one repeat at a time: (n,), nats; NaN with one repeat.

    Arguments as in memorization_scores. It falls short with few repeats: score +- 1.96 errors covered the score's own
    mean in these shares (nominal 0.95; log p i.i.d. N(0, 4^2), K = 10; tests/test_uncertainty.py):

                       L = 2    L = 4    L = 10    L = 20
        mean_log        0.71     0.86      0.92      0.94
        size_matched    0.69     0.75      0.80      0.82
        log_mean_exp    0.68     0.76      0.83      0.86

    For mean_log, Student's t with L - 1 degrees of freedom in place of 1.96 covers 0.95 throughout. The true value 0,
    which log_mean_exp misses by its unequal-count bias, it covered in 0.56, 0.64, 0.70 and 0.73.
    """
    numbers = np.unique(repeat)
    if len(numbers) < 2:
        return np.full(in_training.shape[1], np.nan)
    without = np.array([_score_of(log_px, in_training, repeat, statistic, repeat != number) for number in numbers])
    return np.sqrt((len(numbers) - 1) * without.var(axis=0))


def split_half_reliability(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray | None, statistic: str, seed: int = 0
) -> float:
    """Spearman correlation between the scores from the odd and from the even repeats.

    Where `repeat` is None, the models are cut into two halves once, at random by `seed`. An image that has models of one kind
    only in either half is left out. NaN with a single repeat, and where the scores of either half are all alike.
    Both halves share the data set and the draws of x, so this is the repeatability of training, not of the estimator.
    """
    unit = np.arange(len(log_px)) if repeat is None else repeat
    numbers = np.unique(unit)
    if len(numbers) < 2:
        return float("nan")
    if repeat is None:
        numbers = generator(seed, "split-half reliability").permutation(numbers)
    sets = [np.isin(unit, numbers[half::2]) for half in (0, 1)]
    defined = scored(in_training[sets[0]]) & scored(in_training[sets[1]])
    if not defined.any():
        return float("nan")
    halves = [_score_of(*_some(defined, log_px, in_training), repeat, statistic, models) for models in sets]
    return float("nan") if any(np.ptp(half) == 0 for half in halves) else float(spearmanr(*halves).statistic)


def standard_error_by_repeats(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray, statistic: str, pairs: int = 5, seed: int = 0
) -> np.ndarray:
    """Standard error of a score from 1, 2, ... L // 2 repeats, root mean square over images: (L // 2,), nats.

    Measured as the difference between scores of disjoint sets of repeats over sqrt(2), in `pairs` random pairs of sets;
    so it holds for any statistic, with no assumption about how errors fall. To choose L, carry the fall on as 1 /
    sqrt(L).
    """
    numbers, rng = np.unique(repeat), generator(seed, "standard error by repeats")
    return np.array(
        [
            np.sqrt(np.mean([_squared_error(log_px, in_training, repeat, statistic, size, rng) for _ in range(pairs)]))
            for size in range(1, len(numbers) // 2 + 1)
        ]
    )


def smallest_detectable_score(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray, p_limit: float, p_floor: float
) -> float:
    """The mean_log score that an image needs for a chance of 80 % to be found at FDR 5 %, nats.

    (z_{1 - p_limit} + z_0.8) s, with s the median over images of the score's standard deviation under relabelling, and
    p_limit the largest p-value that Benjamini-Hochberg accepts (0.05 / n if none). The usual sample-size formula: for
    an image of typical spread, with the null taken as normal. Infinite if no p-value can be that small.
    """
    if p_floor > p_limit:
        return float("inf")
    deviation = np.median(relabelled_standard_deviation(log_px, in_training, repeat))
    return float((norm.isf(p_limit) + norm.ppf(POWER)) * deviation)


def _some(images: np.ndarray, log_px: np.ndarray, in_training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the `images` (n,) bool; the very arrays if these are all, so that sums round as ever."""
    return (log_px, in_training) if images.all() else (log_px[..., images], in_training[:, images])


def _score_of(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray | None, statistic: str, models: np.ndarray
) -> np.ndarray:
    """Scores from some of the models only."""
    of_models = None if repeat is None else repeat[models]
    return memorization_scores(log_px[models], in_training[models], statistic, of_models)


def _squared_error(
    log_px: np.ndarray,
    in_training: np.ndarray,
    repeat: np.ndarray,
    statistic: str,
    size: int,
    rng: np.random.Generator,
) -> float:
    """Mean over images of the squared error of a score from `size` repeats, from one random pair of disjoint sets."""
    chosen = rng.permutation(np.unique(repeat))
    sets = np.isin(repeat, chosen[:size]), np.isin(repeat, chosen[size : 2 * size])
    first, second = (_score_of(log_px, in_training, repeat, statistic, models) for models in sets)
    return float(np.mean((first - second) ** 2) / 2)
