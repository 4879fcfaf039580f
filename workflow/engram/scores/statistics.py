"""Memorization scores: how much likelier is an image under models trained on it than under models that were not?

Three statistics of the same log p values, in nats, positive where training on the image made it likelier:

    log_mean_exp   log mean of p over "in" models minus log mean of p over "out" models (van den Burg & Williams 2021,
                   eq. 4). Biased upwards without any memorization, because there are more in models than out models.
    size_matched   the same with one in model and one out model from every repeat, averaged over all ways to choose
                   them: means over equally many densities, so the bias is gone.
    mean_log       mean of log p over in models minus mean over out models: linear, so that its mean without
                   memorization is exactly 0.

log_px is (model, sample), or (model, draw, sample) where an image has several draws of x: a draw is an observation of
its own, whose score is taken within the draw, and an image's score is the mean over its draws.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import logsumexp

from engram.errors import UserError
from engram.scores.size_matched import size_matched_difference

BLOCK = 2**19  # log p values at once: 4 MB in float64, so that memory stays bounded for any number of images


def memorization_scores(
    log_px: np.ndarray, in_training: np.ndarray, statistic: str = "log_mean_exp", repeat: np.ndarray | None = None
) -> np.ndarray:
    """The score of every image, (n,) float64, nats: the mean of `scores_of_draws`, whose arguments these are."""
    return scores_of_draws(log_px, in_training, statistic, repeat).mean(axis=0)


def scores_of_draws(
    log_px: np.ndarray, in_training: np.ndarray, statistic: str = "log_mean_exp", repeat: np.ndarray | None = None
) -> np.ndarray:
    """The score of every image within each draw, (draws, n) float64, nats; one draw where log_px has no such axis.

    log_px: (models, n) or (models, draws, n), nats; in_training: (models, n) bool, the models that count as trained on
    the image; repeat: (models,), each model's repeat, needed by size_matched only. Raises UserError for an unknown
    statistic, and where an image has no in model or no out model to compare.
    """
    if statistic not in STATISTICS:
        raise UserError(f"statistic: {statistic!r} is unknown; choose {', '.join(STATISTICS)}")
    if statistic == "size_matched" and repeat is None:
        raise UserError("statistic: size_matched compares within repeats and needs `repeat`")
    _require_both_sides(in_training)
    score = np.empty((1 if log_px.ndim == 2 else log_px.shape[1], in_training.shape[1]))
    for images, values in blocks(log_px):
        # The largest log p becomes 0: nothing overflows, and models that agree score exactly 0.
        values = values - values.max(axis=0)
        score[:, images] = STATISTICS[statistic](values, in_training[:, None, images], repeat)
    return score


def log_mean_exp(log_px: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Log of the mean density over the models in `mask` (models, n), averaged over draws: (n,), nats.

    With mask = in_training it is U of the paper (log_p_in), with its complement V (log_p_out).
    """
    log_mean = np.empty(mask.shape[1])
    for images, values in blocks(log_px):
        log_mean[images] = _log_mean_exp(values, mask[:, None, images]).mean(axis=0)
    return log_mean


def blocks(log_px: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of images with their log p, (models, draws, images) in float64; one draw where there is no draw axis."""
    if log_px.ndim == 2:
        log_px = log_px[:, None]
    models, draws, n = log_px.shape
    width = max(1, BLOCK // (models * draws))
    for start in range(0, n, width):
        images = slice(start, min(start + width, n))
        yield images, log_px[..., images].astype(np.float64)


def _require_both_sides(in_training: np.ndarray) -> None:
    one_sided = np.flatnonzero(in_training.all(axis=0) | ~in_training.any(axis=0))
    if len(one_sided):
        raise UserError(
            f"image {one_sided[0]} (and {len(one_sided) - 1} more) is in or out of all models; "
            "a score compares models of both kinds"
        )


def _log_mean_exp(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return logsumexp(np.where(mask, values, -np.inf), axis=0) - np.log(mask.sum(axis=0))


def _log_mean_exp_difference(values: np.ndarray, is_in: np.ndarray, _: np.ndarray | None) -> np.ndarray:
    return _log_mean_exp(values, is_in) - _log_mean_exp(values, ~is_in)


def _mean_log_difference(values: np.ndarray, is_in: np.ndarray, _: np.ndarray | None) -> np.ndarray:
    out_count = (~is_in).sum(axis=0)
    out_sum = np.multiply(values, ~is_in).sum(axis=0)  # several times as fast as numpy's mean(where=...)
    return (values.sum(axis=0) - out_sum) / (len(values) - out_count) - out_sum / out_count


STATISTICS = {
    "log_mean_exp": _log_mean_exp_difference,
    "size_matched": size_matched_difference,
    "mean_log": _mean_log_difference,
}
