"""How much of a memorization score is the encoder's generalization gap, and not the decoder's memory?

Importance sampling from the encoder falls short of log p, and by more where the encoder was not fitted to the image; the
difference goes straight into M. The Laplace proposal is fitted to every image alike. So, from the same models, draws of
x and statistic, the score has two parts:

    decoder part = M by the Laplace proposal
    encoder part = M by the encoder's proposal - M by the Laplace proposal

Both contain the error of the importance samples, with opposite signs: some negative correlation between them is noise.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from engram.analyses.inputs import Answer, Inputs
from engram.errors import UserError
from engram.files.artifacts import AXES, variable
from engram.scores import intervals
from engram.scores.intervals import Interval

MUCH = 1.0  # nats


class Parts(NamedTuple):
    """Four arrays of one shape, nats: the parts of M, and by how much the encoder's U and V lie below Laplace's."""

    encoder_part: np.ndarray
    decoder_part: np.ndarray
    shortfall_in: np.ndarray
    shortfall_out: np.ndarray


LONG_NAME = Parts(
    encoder_part="score by the encoder's proposal minus score by the Laplace proposal",
    decoder_part="score by the Laplace proposal",
    shortfall_in="log_p_in (U) by the Laplace proposal minus log_p_in by the encoder's",
    shortfall_out="log_p_out (V) by the Laplace proposal minus log_p_out by the encoder's",
)


def decompose(encoder: Mapping[str, np.ndarray], laplace: Mapping[str, np.ndarray]) -> Parts:
    """The parts of the scores by two estimators that differ in proposal alone.

    Each maps score, log_p_in and log_p_out to arrays of one shape, nats. U and V are logs of mean densities, so the
    difference of the shortfalls is the encoder part of log_mean_exp scores, and near that of others.
    """
    return Parts(
        encoder_part=encoder["score"] - laplace["score"],
        decoder_part=laplace["score"],
        shortfall_in=laplace["log_p_in"] - encoder["log_p_in"],
        shortfall_out=laplace["log_p_out"] - encoder["log_p_out"],
    )


def summarize(parts: Parts) -> dict[str, Interval]:
    """Means over images (n,), share of images whose encoder part exceeds 1 nat, its rank correlation with M, by name.

    The intervals are those of a sample of images, for these models: they do not cover training other models.
    """
    much = parts.encoder_part > MUCH
    return {
        "mean": intervals.mean(parts.encoder_part),
        "mean_shortfall_in": intervals.mean(parts.shortfall_in),
        "mean_shortfall_out": intervals.mean(parts.shortfall_out),
        "share_above_1_nat": intervals.share(much.sum(), much.size),
        "spearman": intervals.spearman(parts.encoder_part, parts.decoder_part),
    }


def read_interval(analysis: xr.Dataset, name: str) -> Interval:
    """An entry of `summarize`, from the attributes of the artifact."""
    return Interval(*(analysis.attrs[f"{name}{ending}"] for ending in ("", "_low", "_high")))


def analyse(given: Inputs) -> Answer:
    """The parts at every scored epoch; their summary is of the last. Scores are by the encoder's estimator, then Laplace's."""
    _require_comparable(given.scores)
    encoder, laplace = given.scores.values()
    parts = decompose(*({name: scores[name].values for name in _USED} for scores in (encoder, laplace)))
    variables = {axis: variable((axis,), laplace[axis].values, "1", AXES[axis]) for axis in ("epoch", "sample")}
    for name, values, long_name in zip(Parts._fields, parts, LONG_NAME, strict=True):
        variables[name] = variable(("epoch", "sample"), values, "nats", long_name)
    settings = dict(zip(("encoder_estimator", "laplace_estimator"), given.scores, strict=True))
    summary = {
        f"{name}{ending}": value
        for name, interval in summarize(Parts(*(part[-1] for part in parts))).items()
        for ending, value in zip(("", "_low", "_high"), interval, strict=True)
    }
    return Answer(variables, settings, settings | summary)


_USED = ("score", "log_p_in", "log_p_out")


def _require_comparable(scores: Mapping[str, xr.Dataset]) -> None:
    (one, encoder), (other, laplace) = scores.items()
    for key in ("statistic", "dataset_sha256"):
        if encoder.attrs[key] != laplace.attrs[key]:
            raise UserError(
                f"encoder_part: {key} of the scores by {one} is {encoder.attrs[key]}, of those by {other} "
                f"{laplace.attrs[key]}; it compares scores that differ in nothing but the proposal"
            )
    for axis in ("epoch", "sample"):
        if not np.array_equal(encoder[axis], laplace[axis]):
            raise UserError(
                f"encoder_part: axis {axis} of the scores by {one} differs from that by {other}; score both at the same "
                "epochs and images"
            )
