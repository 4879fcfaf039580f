"""Are highly memorized images the ones a model finds improbable? The split of log p by memorization.

"Highly memorized" means a score above its 0.95 quantile, "regular" the rest; U is `log_p_in`, log p under models that
were trained on the image (van den Burg & Williams 2021).
"""

from typing import NamedTuple

import numpy as np

from engram.analyses.bins import round_edges
from engram.analyses.inputs import Answer, Inputs
from engram.files.artifacts import variable
from engram.files.inputs import last
from engram.scores import intervals
from engram.scores.quantities import HIGH_QUANTILE, highly_memorized

MOST_BINS, IMAGES_PER_BIN = 20, 75
OUTER = 0.005  # share of images beyond the first and the last edge, counted in the outer bins
ORDINARY = 0.05, 0.95  # quantiles of U between which log p is called ordinary


class Bins(NamedTuple):
    """Images per bin of U: edges (bins + 1,), counts (bins,) of all and of highly memorized images."""

    edge: np.ndarray
    count: np.ndarray
    count_high: np.ndarray


def by_density(log_p_in: np.ndarray, high: np.ndarray, edge: np.ndarray) -> Bins:
    """Count images (n,) by U, nats; those beyond the edges are counted in the outer bins."""
    inside = np.clip(log_p_in, edge[0], edge[-1])
    return Bins(edge, np.histogram(inside, edge)[0], np.histogram(inside[high], edge)[0])


def edges(log_p_in: np.ndarray) -> np.ndarray:
    """Edges of bins of U that hold 0.99 of the images (estimators, n), at round numbers of nats.

    About 20 bins, but no fewer than 75 images to a bin on average.
    """
    bins = max(1, min(MOST_BINS, log_p_in.shape[-1] // IMAGES_PER_BIN))
    return round_edges(log_p_in.ravel(), bins, OUTER)


def ordinary(log_p_in: np.ndarray) -> np.ndarray:
    """Which images have an ordinary log p, (n,) bool: U between its 0.05 and 0.95 quantiles."""
    low, high = np.quantile(log_p_in, ORDINARY)
    return (log_p_in >= low) & (log_p_in <= high)


def analyse(given: Inputs) -> Answer:
    """The split at the last scored epoch, for each estimator."""
    pairs = [(last(scores), last(scores, "log_p_in")) for scores in given.scores.values()]
    high, as_published = (np.stack([highly_memorized(m, old) for m, _ in pairs]) for old in (False, True))
    edge = edges(np.stack([log_p_in for _, log_p_in in pairs]))
    bins = [by_density(log_p_in, split, edge) for (_, log_p_in), split in zip(pairs, high, strict=True)]
    inside = [split & ordinary(log_p_in) for (_, log_p_in), split in zip(pairs, high, strict=True)]
    inside_share = [intervals.share(i.sum(), h.sum()) for i, h in zip(inside, high, strict=True)]
    bin_share = [[intervals.share(*counts) for counts in zip(b.count_high, b.count, strict=True)] for b in bins]
    correlation = [intervals.spearman(log_p_in, split) for (_, log_p_in), split in zip(pairs, high, strict=True)]
    per_image, per_bin = ("estimator", "sample"), ("estimator", "bin")
    edge, count, count_high = (np.stack(values) for values in zip(*bins, strict=True))
    variables = {
        "sample": given.first["sample"].variable,
        "estimator": variable(("estimator",), list(given.scores), "1", "estimator of the memorization score"),
        "high": variable(per_image, high, "1", "highly memorized: score above its 0.95 quantile"),
        "high_as_published": variable(per_image, as_published, "1", "score above 0.95 nats, the reference code's slip"),
        "log_p_in_edge": variable(
            ("estimator", "edge"), edge, "nats", "edges of the bins of log_p_in, the same for all"
        ),
        "count": variable(per_bin, count, "1", "images in the bin; the outer bins hold what lies beyond"),
        "count_high": variable(per_bin, count_high, "1", "highly memorized images in the bin"),
        **intervals.variables("share_high", bin_share, "share of highly memorized images in the bin", per_bin),
        **intervals.variables("share_ordinary", inside_share, "share of highly memorized with ordinary log_p_in"),
        **intervals.variables("spearman", correlation, "rank correlation of log_p_in with being highly memorized"),
    }
    return Answer(variables, {"epoch": given.epoch, "high_quantile": HIGH_QUANTILE})
