"""Copy tests beside the programs of data-copying, dgm-eval and FLD, on samples of kernel density estimates.

Training, fresh and sampled points are few-dimensional: two moons for C_T, a normal in eight dimensions for the others. A sample is
a training point plus noise, whose size, the bandwidth, says how much is copied.
"""

import functools
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from peer_programs import Comparison
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons

from engram.analyses import copying, data_copying, generalization_gap
from engram.analyses.generalization_gap import Mixture

POINTS, CELLS, DIMENSIONS = 1000, 3, 8
NOISE_OF_MOONS = 0.1
BANDWIDTHS = {"copying": 0.01, "at the best likelihood": 0.065, "under-fitting": 0.4}
ROUNDING = 1e-4  # of a percentage in float32, where one sample is 0.1
FLOAT32 = 1e-3  # of the FLD gap, a hundred times a difference of log densities from products in float32


def smoothed(training: np.ndarray, bandwidth: float) -> np.ndarray:
    """As many samples of a kernel density estimate as it has training points."""
    rng = np.random.default_rng(17)
    return rng.permutation(training) + bandwidth * rng.standard_normal(training.shape)


def moons() -> tuple[np.ndarray, np.ndarray]:
    """Training and fresh points, (POINTS, 2) each."""
    return tuple(make_moons(POINTS, noise=NOISE_OF_MOONS, random_state=seed)[0] for seed in (17, 18))


def statistic(data_copying_tests: ModuleType) -> Iterator[Comparison]:
    """C_T with the cells of engram in both."""
    training, fresh = moons()
    for said, bandwidth in BANDWIDTHS.items():
        samples = smoothed(training, bandwidth)
        cells = data_copying.cells_of(training, fresh, samples, rng=np.random.default_rng(17))
        yield Comparison(
            f"C_T, {said}",
            functools.partial(_c_t, training, fresh, samples, cells),
            functools.partial(_their_c_t, data_copying_tests, training, fresh, samples, cells),
            ROUNDING,
            "cells are given to both; the peer's z-score is taken out of its array, at which NumPy 2.4 stops the peer",
        )


def _c_t(training: np.ndarray, fresh: np.ndarray, samples: np.ndarray, cells: list[np.ndarray]) -> float:
    return data_copying.data_copying(*zip((fresh, samples, training), (*cells[1:], cells[0]), strict=True)).c_t


def _their_c_t(peer: ModuleType, training: np.ndarray, fresh: np.ndarray, samples: np.ndarray, cells) -> float:
    with one_number(peer):
        return peer.C_T(fresh, cells[1], samples, cells[2], training, cells[0], tau=data_copying.FEWEST / POINTS)


def one_number(peer: ModuleType):
    """Let Zu answer a number: NumPy 2.4 no longer takes an array of one for it."""
    z_score = peer.Zu
    return mock.patch.object(peer, "Zu", lambda *given: float(np.squeeze(z_score(*given))))


def statistic_of_dgm_eval(ct: ModuleType) -> Iterator[Comparison]:
    """C_T with the cells of the peer in both, which come from NumPy's global state."""
    training, fresh = moons()
    samples = smoothed(training, BANDWIDTHS["copying"])

    def theirs(seed: int) -> float:
        np.random.seed(seed)
        with one_number(ct):
            return ct.compute_CTscore(training, fresh, samples)

    def ours() -> float:
        np.random.seed(17)
        clusters = KMeans(n_clusters=CELLS, n_init=10).fit(training)
        return _c_t(training, fresh, samples, [clusters.predict(rows) for rows in (training, fresh, samples)])

    yield Comparison(
        "C_T, the peer's cells", ours, lambda: theirs(17), ROUNDING, "engram gets the peer's k-means", timed=False
    )
    yield Comparison(
        "C_T, cells and all",
        lambda: _c_t(training, fresh, samples, _cells(training, fresh, samples)),
        lambda: theirs(17),
        None,
        "k-means of SciPy from a named seed against scikit-learn's, the best of ten starts",
    )


def _cells(*points: np.ndarray) -> list[np.ndarray]:
    return data_copying.cells_of(*points, rng=np.random.default_rng(17))


def authenticity(authpct: ModuleType) -> Iterator[Comparison]:
    """Percent of samples that are authentic, of fresh points, of copies, and where all training points are there twice."""
    rng = np.random.default_rng(17)
    training, fresh = rng.standard_normal((2, POINTS, DIMENSIONS)).astype(np.float32)
    copies = smoothed(training, 0.1).astype(np.float32)
    alone = np.arange(POINTS)
    twice, pairs = np.concatenate([training, training]), np.concatenate([alone, alone])
    cases = [
        ("fresh points", training, fresh, alone, ROUNDING, "as a percentage"),
        ("copies", training, copies, alone, ROUNDING, "as a percentage"),
        (
            "copies, training points twice",
            twice,
            copies,
            pairs,
            None,
            "fault F5 of the measure as published: every point lies at distance 0 from its twin",
        ),
    ]
    for said, points, samples, unit, within, remark in cases:
        yield Comparison(
            f"authenticity, {said}",
            functools.partial(_authentic_percent, points, samples, unit),
            functools.partial(authpct.compute_authpct, points, samples),
            within,
            remark,
        )


def _authentic_percent(training: np.ndarray, samples: np.ndarray, unit: np.ndarray) -> float:
    nearest = copying.nearest_different(samples, training, unit, 2)
    return 100 * copying.authentic(nearest, training, unit).mean()


def gap(fld: ModuleType) -> Iterator[Comparison]:
    """FLD's generalization gap of fresh points and of copies."""
    rng = np.random.default_rng(17)
    training, held_out, fresh = rng.standard_normal((3, POINTS, DIMENSIONS)).astype(np.float32)
    for said, samples in (("fresh points", fresh), ("copies", smoothed(training, 0.1).astype(np.float32))):
        given = [torch.from_numpy(rows) for rows in (training, held_out, samples)]
        yield Comparison(
            f"FLD gap, {said}, the peer's widths",
            functools.partial(_gap_at_their_widths, fld, *given),
            functools.partial(fld.FLD("gap").compute_metric, *given),
            FLOAT32,
            "engram gets the mixture that the peer fitted, in float32",
            timed=False,
        )
        yield Comparison(
            f"FLD gap, {said}",
            functools.partial(_gap, training, held_out, samples),
            functools.partial(fld.FLD("gap").compute_metric, *given),
            None,
            "widths by expectation maximization, least 0.001, against at most 50 steps of Adam",
        )


def _gap_at_their_widths(fld: ModuleType, *given: torch.Tensor) -> float:
    training, held_out, samples = fld.preprocess_feat(*given)
    peer = fld.MoG(samples)
    peer.fit(training)
    mixture = Mixture(samples.double(), peer.log_sigmas.double(), 0)
    return _gap_of(mixture, training.numpy(), held_out.numpy())


def _gap(training: np.ndarray, held_out: np.ndarray, samples: np.ndarray) -> float:
    held_out, training, samples = generalization_gap.standardized(held_out, training, samples)
    return _gap_of(generalization_gap.fitted(samples, training), training, held_out)


def _gap_of(mixture: Mixture, training: np.ndarray, held_out: np.ndarray) -> float:
    densities = (generalization_gap.log_density(rows, mixture) for rows in (training, held_out))
    return generalization_gap.gap(*densities).estimate
