"""Influence beside TRAK's own program and dattri: the same features, attributions and trainings, drawn at random."""

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import torch
from peer_programs import Comparison

from engram.analyses import attribution, linear_datamodeling

TRAIN, TEST, FEATURES = 2000, 200, 256
PAIRS_OF_HALVES = 60
SINGLE_PRECISION = 1e-4


def trak(score_computers: ModuleType) -> Iterator[Comparison]:
    """TRAK scores of one model from its projected gradients."""
    generator = torch.Generator().manual_seed(17)
    train, test = (torch.randn(size, FEATURES, generator=generator) for size in (TRAIN, TEST))

    def theirs(damping: float) -> np.ndarray:
        computer = score_computers.BasicScoreComputer(torch.float32, torch.device("cpu"), lambda_reg=damping)
        scores = torch.zeros(TRAIN, TEST)
        computer.get_scores(computer.get_x_xtx_inv(train, computer.get_xtx(train)), test, scores)
        return scores.numpy()

    def ours() -> np.ndarray:
        return attribution.trak(train, test).numpy()

    damping = attribution.DAMPING * float((train**2).sum() / FEATURES)
    scale = "both scaled to root mean square 1, as the peer divides the inverse by the mean size of its entries"
    yield Comparison(
        "TRAK, score",
        lambda: _scaled(ours()),
        lambda: _scaled(theirs(damping)),
        SINGLE_PRECISION,
        f"{scale}; it gets engram's damping, 0.1 of the mean eigenvalue, as lambda_reg",
    )
    yield Comparison(
        "TRAK, score, by the peer's default",
        lambda: _scaled(ours()),
        lambda: _scaled(theirs(0.0)),
        None,
        "convention: the peer does not damp unless told to",
        timed=False,
    )


def _scaled(scores: np.ndarray) -> np.ndarray:
    return scores / np.sqrt((scores**2).mean())


def linear_datamodeling_score(metric: ModuleType) -> Iterator[Comparison]:
    """Of an attribution with noise, over pairs of complementary halves."""
    rng = np.random.default_rng(17)
    half = rng.permuted(np.tile(np.arange(TRAIN) % 2 == 0, (PAIRS_OF_HALVES, 1)), axis=1)
    in_training = np.concatenate([half, ~half])
    influence = rng.standard_normal((TRAIN, TEST))
    log_px = in_training @ influence + 20 * rng.standard_normal((len(in_training), TEST))
    scores = (influence + rng.standard_normal(influence.shape)).astype(np.float32)
    subsets = torch.from_numpy(np.stack([np.flatnonzero(row) for row in in_training]))
    once = np.ones((1, len(in_training)), dtype=np.float32)

    def ours() -> np.ndarray:
        foretold = linear_datamodeling.forecast(scores, in_training)
        return linear_datamodeling.correlations(foretold, log_px, once)[0]

    yield Comparison(
        "LDS, of each test image",
        ours,
        lambda: metric.lds(torch.from_numpy(scores), (torch.from_numpy(log_px), subsets))[0].numpy(),
        SINGLE_PRECISION,
        "the peer also finds p-values, which take the halves for independent",
    )
