"""Membership-inference attacks that need nothing but log p: was this image in the training set of this model, the target?

phi is log p of an image under the target, nats; other models whose training sets are known, its shadows, say how large phi is
where the image was trained on and where it was not. Every attack gives a number for each image, higher for a member:

    likelihood_threshold   phi
    calibrated             phi - mean of phi over out shadows (Watson et al. 2022)
    lira_online            log N(phi; mean, sd of in shadows) - log N(phi; mean, sd of out shadows) (Carlini et al. 2022)
    lira_online_fixed      the same with one sd of each side for all images
    lira_offline           (phi - mean) / sd of out shadows: the one-sided test against them, which rises with it
    rmia                   share of population images z whose phi - log p(z) lies below that of x; log p is the log of the mean
                           density over out shadows (Zarifzadeh et al. 2024, offline, gamma = 1, a = 1)

Offline LiRA with one sd for all images has no line: it orders a target's images as `calibrated` does.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from engram.scores.statistics import blocks, log_mean_exp

RESOLUTION = np.finfo(np.float32).eps  # of log p as it is stored, relative to its size


class Shadows(NamedTuple):
    """What shadow models say of n images, nats. All but the last two are (n,), NaN where an image has too few shadows.

    mean_in, mean_out: mean log p of the shadows trained on the image, and of the others.
    sd_in, sd_out: their sample standard deviations (divisor m - 1), which two models or more have.
    log_mean_p_out: log of the mean density over the out shadows.
    fixed_sd_in, fixed_sd_out: roots of the variances within images, pooled over all images.
    """

    mean_in: np.ndarray
    mean_out: np.ndarray
    sd_in: np.ndarray
    sd_out: np.ndarray
    log_mean_p_out: np.ndarray
    fixed_sd_in: float
    fixed_sd_out: float

    @classmethod
    def of(cls, log_px: np.ndarray, is_in: np.ndarray) -> "Shadows":
        """From log_px (shadows, n), nats, and is_in (shadows, n) bool, the shadows that are trained on each image.

        >>> Shadows.of(np.array([[-3.0], [-5.0], [-9.0]]), np.array([[True], [True], [False]])).mean_in
        array([-4.])
        """
        mean_in, sd_in, fixed_sd_in = _spread(log_px, is_in)
        mean_out, sd_out, fixed_sd_out = _spread(log_px, ~is_in)
        return cls(mean_in, mean_out, sd_in, sd_out, log_mean_p(log_px, ~is_in), fixed_sd_in, fixed_sd_out)


class Population(NamedTuple):
    """Images z that no model saw: their log p under the targets, (targets, z), and log_mean_p_out of the shadows, (z,)."""

    log_px: np.ndarray
    log_mean_p_out: np.ndarray


def _spread(log_px: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and standard deviation of log p over the models in `side`, (n,) each, and the latter pooled over images.

    No deviation is below what float32, in which log p is stored, can tell apart.
    """
    count = side.sum(axis=0)
    mean, variance = np.full((2, len(count)), np.nan)
    freedom = np.maximum(count - 1, 0)
    for images, values in blocks(log_px) if len(log_px) else ():
        values, of_side = values[:, 0], side[:, images]
        total = (values * of_side).sum(axis=0)
        np.divide(total, count[images], out=mean[images], where=count[images] > 0)
        squares = np.square(np.where(of_side, values - mean[images], 0)).sum(axis=0)
        np.divide(squares, freedom[images], out=variance[images], where=freedom[images] > 0)
    variance = np.maximum(variance, np.square(RESOLUTION * np.maximum(np.abs(mean), 1)))
    several = freedom > 0
    pooled = np.average(variance[several], weights=freedom[several]) if several.any() else np.nan
    return mean, np.sqrt(variance), float(np.sqrt(pooled))


def log_mean_p(log_px: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Log of the mean density over the models in `mask`, (n,), nats; NaN where there are none. Arguments as for `shadows`."""
    log_mean, some = np.full(mask.shape[1], np.nan), mask.any(axis=0)
    if some.any():
        log_mean[some] = log_mean_exp(log_px[:, some], mask[:, some])
    return log_mean


def shadows_of(repeat: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Targets and their shadows, two masks (models,), repeat by repeat: the shadows are the models of all other repeats.

    The other models of a target's own repeat are none, because folds of one split tell on one another: what a fold holds out,
    all others were trained on.
    """
    for number in np.unique(repeat):
        yield repeat == number, repeat != number


def minus_out_shadows(scores: np.ndarray, is_in: np.ndarray, repeat: np.ndarray) -> np.ndarray:
    """Any attack's scores (models, n) minus their mean over the target's out shadows: the difficulty-calibrated attack.

    is_in (models, n) bool, repeat (models,). float32, NaN where an image has no out shadow.

    >>> minus_out_shadows(np.array([[3.0], [1.0], [0.0]]), np.array([[True], [False], [False]]), np.array([0, 1, 1]))
    array([[2.5],
           [nan],
           [nan]], dtype=float32)
    """
    calibrated = np.empty(scores.shape, dtype=np.float32)
    for targets, others in shadows_of(repeat):
        mean, _, _ = _spread(scores[others], ~is_in[others])
        calibrated[targets] = scores[targets] - mean
    return calibrated


def likelihood_threshold(log_px: np.ndarray, shadows: Shadows, population: Population) -> np.ndarray:
    """No shadows: images that are likely under every model look like members."""
    return log_px


def calibrated(log_px: np.ndarray, shadows: Shadows, population: Population) -> np.ndarray:
    """How much likelier the image is than under models that were not trained on it; the score M of a single target."""
    return log_px - shadows.mean_out


def lira_online(log_px: np.ndarray, shadows: Shadows, population: Population) -> np.ndarray:
    """Log of the likelihood ratio of two normal distributions fitted to each image; two shadows a side or more."""
    return _log_normal(log_px, shadows.mean_in, shadows.sd_in) - _log_normal(log_px, shadows.mean_out, shadows.sd_out)


def lira_online_fixed(log_px: np.ndarray, shadows: Shadows, population: Population) -> np.ndarray:
    """The same with one standard deviation of each side for all images, for few shadows."""
    log_in = _log_normal(log_px, shadows.mean_in, shadows.fixed_sd_in)
    return log_in - _log_normal(log_px, shadows.mean_out, shadows.fixed_sd_out)


def lira_offline(log_px: np.ndarray, shadows: Shadows, population: Population) -> np.ndarray:
    """Standard deviations above the out shadows: rises with the one-sided test's Phi, which rounds to 1 beyond 8."""
    return (log_px - shadows.mean_out) / shadows.sd_out


def rmia(log_px: np.ndarray, shadows: Shadows, population: Population) -> np.ndarray:
    """Share of population images whose likelihood ratio is smaller, between 0 and 1; NaN without such images."""
    if not population.log_px.size:
        return np.full(log_px.shape, np.nan)
    ratio = log_px - shadows.log_mean_p_out
    ratio_of_z = np.sort(population.log_px - population.log_mean_p_out)
    share = [np.searchsorted(z, x) / len(z) for x, z in zip(ratio, ratio_of_z, strict=True)]
    return np.where(np.isnan(ratio), np.nan, share)


def _log_normal(x: np.ndarray, mean: np.ndarray, sd: np.ndarray | float) -> np.ndarray:
    """Log density of N(mean, sd^2) at x, but for the constant, which every difference of two of them is free of."""
    return -(((x - mean) / sd) ** 2) / 2 - np.log(sd)


Attack = Callable[[np.ndarray, Shadows, Population], np.ndarray]  # of log_px (targets, n); (targets, n), members higher
ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (likelihood_threshold, calibrated, lira_offline, lira_online, lira_online_fixed, rmia)
}


def attack(
    log_px: np.ndarray, is_in: np.ndarray, repeat: np.ndarray, log_pz: np.ndarray, z_is_out: np.ndarray
) -> dict[str, np.ndarray]:
    """Every attack on every model as the target: by name (models, n) float32, NaN where shadows are too few for the attack.

    log_px (models, n), nats; is_in (models, n) bool; repeat (models,). Of population images, for rmia: log_pz (models, z),
    and z_is_out (models, z) bool, the models that stand for their out shadows; z may be 0.
    """
    scores = {name: np.empty(log_px.shape, dtype=np.float32) for name in ATTACKS}
    for targets, others in shadows_of(repeat):
        shadows = Shadows.of(log_px[others], is_in[others])
        log_mean_pz = log_mean_p(log_pz[others], z_is_out[others])
        usable = ~np.isnan(log_mean_pz)
        population = Population(log_pz[targets][:, usable], log_mean_pz[usable])
        for name, of_targets in ATTACKS.items():
            scores[name][targets] = of_targets(log_px[targets], shadows, population)
    return scores
