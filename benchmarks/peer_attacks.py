"""Membership inference beside privacy_meter's RMIA and the LiRA of its authors, on made-up log p of known separation.

Models come in pairs, each trained on a random half of the images and on the other half, which is what privacy_meter takes for
granted; the two models of the first pair are the targets, all others the shadows. log p of an image is its own level, plus
GAIN nats where the model was trained on it, plus noise.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np
from peer_programs import Comparison

from engram.analyses import attacks
from engram.analyses.attacks import Population, Shadows
from engram.analyses.roc import FALSE_POSITIVE_RATES, area_under_curve, roc

PAIRS, IMAGES, POPULATION = 16, 4000, 1000
LEVEL, SPREAD_OF_LEVEL = -90, 15  # nats, as the MLP has on MNIST
GAIN, NOISE_IN, NOISE_OUT = 2.0, 1.5, 1.0  # nats
ONE_PERCENT = int(np.abs(FALSE_POSITIVE_RATES - 0.01).argmin())
EXACT = 1e-9


class LogP(NamedTuple):
    """x and is_in (models, images), z and z_is_out (models, population); models 0 and 1 are the targets."""

    x: np.ndarray
    is_in: np.ndarray
    z: np.ndarray
    z_is_out: np.ndarray

    @classmethod
    def drawn(cls) -> "LogP":
        rng = np.random.default_rng(17)
        half = rng.permuted(np.tile(np.arange(IMAGES) % 2 == 0, (PAIRS, 1)), axis=1)
        is_in = np.stack([half, ~half], axis=1).reshape(2 * PAIRS, IMAGES)
        noise = np.where(is_in, NOISE_IN, NOISE_OUT) * rng.standard_normal(is_in.shape)
        x = rng.normal(LEVEL, SPREAD_OF_LEVEL, IMAGES) + GAIN * is_in + noise
        z = rng.normal(LEVEL, SPREAD_OF_LEVEL, POPULATION) + NOISE_OUT * rng.standard_normal((2 * PAIRS, POPULATION))
        return cls(x, is_in, z, ~is_in[:, :POPULATION])

    @property
    def shadows(self) -> Shadows:
        return Shadows.of(self.x[2:], self.is_in[2:])

    @property
    def population(self) -> Population:
        return Population(self.z[:1], attacks.log_mean_p(self.z[2:], self.z_is_out[2:]))

    def area(self, scores: np.ndarray) -> float:
        """Under the ROC curve of scores (2, images) of both targets."""
        return area_under_curve(scores, self.is_in[:2], ~self.is_in[:2])[0].estimate


def rmia(privacy_meter: ModuleType) -> Iterator[Comparison]:
    """Of the first target; privacy_meter's arrays are (images, models), of densities."""
    log_p = LogP.drawn()
    references = PAIRS - 1
    only_out = np.where(log_p.z_is_out, log_p.z, -np.inf)
    only_out[0] = log_p.z[0]
    density, density_of_z, only_out = (np.exp(of_models.T) for of_models in (log_p.x, log_p.z, only_out))

    def theirs(x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return privacy_meter.run_rmia(0, x, z, log_p.is_in.T, references, 1.0)

    def ours(given: LogP) -> np.ndarray:
        return attacks.rmia(given.x[:1], given.shadows, given.population)[0]

    yield Comparison(
        "RMIA, score",
        lambda: ours(log_p),
        lambda: theirs(density, only_out),
        EXACT,
        "gamma 1, a = 1; the peer gets density 0 of z under the models that shall not count as OUT",
    )
    largest = log_p.z >= np.sort(log_p.z[2:], axis=0)[-references]
    yield Comparison(
        "RMIA, score, the peer as it is",
        lambda: ours(log_p._replace(z_is_out=largest)),
        lambda: theirs(density, density_of_z),
        EXACT,
        "all models are OUT of z, of which the peer's sort keeps the half with the largest p(z); engram gets that half",
        timed=False,
    )
    yield Comparison(
        "RMIA, share of z below a member",
        lambda: ours(log_p)[log_p.is_in[0]].mean(),
        lambda: theirs(density, density_of_z)[log_p.is_in[0]].mean(),
        None,
        "fault: that half raises p(z), so that every image looks more like a member",
        timed=False,
    )
    yield Comparison(
        "RMIA, score, log p 1,000 nats lower",
        lambda: ours(log_p._replace(x=log_p.x - 1000, z=log_p.z - 1000)),
        lambda: theirs(density * np.exp(-1000), only_out * np.exp(-1000)),
        None,
        "the peer divides densities, which float64 rounds to 0 below -745 nats; every score is 0",
        timed=False,
    )
    yield from _out_signals(privacy_meter, log_p)
    yield Comparison(
        "likelihood threshold, score",
        lambda: attacks.likelihood_threshold(log_p.x[0], None, None),
        lambda: privacy_meter.run_loss(-log_p.x[0]),
        EXACT,
        "the peer gets the loss, -log p",
        timed=False,
    )


def _out_signals(privacy_meter: ModuleType, log_p: LogP) -> Iterator[Comparison]:
    """Of log p itself, as of a score that may be negative."""

    def theirs(signals: np.ndarray) -> np.ndarray:
        return privacy_meter.get_rmia_out_signals(signals.T, log_p.is_in.T, 0, PAIRS - 1).mean(axis=1)

    positive = log_p.x - log_p.x.min() + 1
    quantity, shift = "mean log p over OUT models", log_p.x.min() - 1
    yield Comparison(
        f"{quantity}, shifted",
        lambda: log_p.shadows.mean_out,
        lambda: theirs(positive) + shift,
        EXACT,
        "the peer gets log p shifted to positive signals, and its answer is shifted back",
        timed=False,
    )
    yield Comparison(
        quantity,
        lambda: log_p.shadows.mean_out,
        lambda: theirs(log_p.x),
        None,
        "fault: IN signals become 0, and the peer's sort keeps the largest, which are those where log p is negative",
        timed=False,
    )


def lira(plot: ModuleType) -> Iterator[Comparison]:
    """Of both targets; the peer's scores are higher for non-members, but for the offline ones' density."""
    log_p = LogP.drawn()
    target, keep, scores = log_p.x[:2], log_p.is_in, log_p.x[:, :, None]

    def theirs(attack, sign: int, **settings) -> np.ndarray:
        prediction, _ = attack(keep[2:], scores[2:], keep[:2], scores[:2], **settings)
        return sign * np.reshape(prediction, target.shape)

    def by_peers_convention(attack) -> np.ndarray:
        return attack(target, peers_shadows(log_p.x[2:], keep[2:]), None)

    def area(attack) -> float:
        return log_p.area(attack(target, log_p.shadows, None))

    def their_area(attack, **settings) -> float:
        return plot.sweep(-theirs(attack, -1, **settings).ravel(), keep[:2].ravel())[2]

    online, offline = plot.generate_ours, plot.generate_ours_offline
    medians = "engram's formula with the peer's medians and divisor m for its means and m - 1"
    yield Comparison(
        "LiRA online, score",
        lambda: by_peers_convention(attacks.lira_online),
        lambda: theirs(online, -1),
        EXACT,
        medians,
        timed=False,
    )
    yield Comparison(
        "LiRA online, area",
        lambda: area(attacks.lira_online),
        lambda: their_area(online),
        None,
        "means and divisor m - 1 against medians and divisor m",
    )
    yield Comparison(
        "LiRA online, fixed variance, score",
        lambda: by_peers_convention(attacks.lira_online_fixed),
        lambda: theirs(online, -1, fix_variance=True),
        EXACT,
        "the same, with the peer's `std_out = np.std(dat_in)` given to engram",
        timed=False,
    )
    yield Comparison(
        "LiRA online, fixed variance, area",
        lambda: area(attacks.lira_online_fixed),
        lambda: their_area(online, fix_variance=True),
        None,
        "fault: the peer's deviation of OUT is that of IN; that it spans all images changes no order",
    )
    yield Comparison(
        "LiRA offline, score",
        lambda: -two_sided(by_peers_convention(attacks.lira_offline), log_p),
        lambda: theirs(offline, 1),
        EXACT,
        f"{medians}; engram's z squared, as the peer takes the density N(phi), two-sided",
        timed=False,
    )
    yield Comparison(
        "LiRA offline, area",
        lambda: area(attacks.lira_offline),
        lambda: their_area(offline),
        None,
        "one-sided test against the peer's two-sided density, for which an unlikely image looks like a member",
    )
    yield from _curve(plot, log_p)


def peers_shadows(log_px: np.ndarray, is_in: np.ndarray) -> Shadows:
    """Shadows as the LiRA program sums them up: medians, divisor m, and the deviation of IN, over all images, for both."""

    def side(mask: np.ndarray) -> np.ndarray:
        return np.stack([log_px[mask[:, image], image] for image in range(mask.shape[1])])

    inside, outside = side(is_in), side(~is_in)
    median_in, median_out, sd_in, sd_out = (f(x, 1) for f in (np.median, np.std) for x in (inside, outside))
    return Shadows(median_in, median_out, sd_in, sd_out, np.empty(0), np.std(inside), np.std(inside))


def two_sided(z: np.ndarray, log_p: LogP) -> np.ndarray:
    """Minus the log density of N(median, sd^2) from z = (phi - median) / sd."""
    return z**2 / 2 + np.log(peers_shadows(log_p.x[2:], log_p.is_in[2:]).sd_out) + np.log(2 * np.pi) / 2


def _curve(plot: ModuleType, log_p: LogP) -> Iterator[Comparison]:
    """The ROC curve of the same scores, with ties."""
    scores = np.round(attacks.calibrated(log_p.x[:2], log_p.shadows, None), 1)
    is_in = log_p.is_in[:2]

    def below_one_percent() -> float:
        false, true, *_ = plot.sweep(-scores.ravel(), is_in.ravel())
        return true[np.where(false < 0.01)[0][-1]]

    yield Comparison(
        "area under the ROC curve",
        lambda: log_p.area(scores),
        lambda: plot.sweep(-scores.ravel(), is_in.ravel())[2],
        EXACT,
        "ties count half in both; of the peer also the accuracy is found",
    )
    yield Comparison(
        "true positive rate at 1 %",
        lambda: roc(scores, is_in, np.random.default_rng(0)).rates[ONE_PERCENT, 0],
        below_one_percent,
        None,
        "on the line between thresholds, and with an interval (400 resamples), against the last threshold below 1 %",
    )
