"""Exact tests of "training on this image made no difference", by relabelling models within repeats.

Without an effect of the image, the log p values of a repeat's models are exchangeable: which of them held the image out
is a label. So the share of relabellings whose statistic reaches the observed one is a p-value, exact at any number of
models (Phipson & Smyth 2010 for the random ones). The statistic is mean_log: linear in log p, it falls with the sum of
log p over the models labelled out and depends on nothing else that relabelling changes, so all relabellings of a block
of images are one matrix product.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from engram.conventions import FDR
from engram.randomness import generator
from engram.scores.statistics import blocks, memorization_scores

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
BATCH, WIDTH = 2**13, 2**8  # relabellings and images at once: 8 MB of float32 sums, which stay in cache


@dataclass(frozen=True)
class PermutationTest:
    """p_value: (n,), one-sided, small where the score is larger than relabelling explains.
    floors: (n,), the smallest value that p can take, 1 / number of distinct relabellings where all were used, else
    1 / (relabellings + 1). They differ where images were held out by different numbers of models.
    exact: whether all distinct relabellings were used, and not a random sample of them, for the images of largest floor.
    relabellings: how many were used for these.
    null_quantiles: of the mean_log score under relabelling, nats, at QUANTILES, pooled over images.
    """

    p_value: np.ndarray
    floors: np.ndarray
    exact: bool
    relabellings: int
    null_quantiles: np.ndarray

    @property
    def floor(self) -> float:
        """The smallest p-value that every image can reach."""
        return float(self.floors.max())

    def warning(self) -> str | None:
        """What the floors leave undiscoverable by Benjamini-Hochberg, or None while it can find any single image."""
        n, remedy = len(self.p_value), f"more {'repeats' if self.exact else 'permutations'} would help"
        fewest, never = self._fewest_at_once(), int((self.floors > FDR).sum())
        if self.floor * n <= FDR:
            return None
        if fewest is None:
            together = f", not even all {n} at once" if n > 1 else ""
            return (
                f"p-values cannot fall below {self.floors.min():.2g}: no memorized image can be found at FDR 5 %{together}; "
                f"{remedy}"
            )
        some = (
            f"; of {never} images p-values cannot fall to {FDR}, so that they cannot be found at all" if never else ""
        )
        if fewest == 1:
            return (
                f"p-values of {(self.floors * n > FDR).sum()} of {n} images cannot fall to {FDR}/{n}: alone, these cannot be "
                f"found at FDR 5 %{some}; {remedy}"
            )
        return (
            f"p-values cannot fall below {self.floors.min():.2g}, above {FDR}/{n}: a single memorized image cannot be found "
            f"at FDR 5 %, only {fewest} or more at once{some}; {remedy}"
        )

    def _fewest_at_once(self) -> int | None:
        """The smallest number of images that can be found together, each at its floor; None if no number can.

        Benjamini-Hochberg finds the k images of smallest p if the largest p of them is at most k FDR / n.
        """
        n, at_once = len(self.floors), np.arange(1, len(self.floors) + 1)
        can_be_found = np.sort(self.floors) * (n / at_once) <= FDR
        return int(at_once[can_be_found][0]) if can_be_found.any() else None


def permutation_test(
    log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray, permutations: int = 10_000, seed: int = 0
) -> PermutationTest:
    """Test every image, by all relabellings within repeats if they are at most `permutations`, else by that many drawn.

    log_px: (models, n) or (models, draws, n), nats, draws being averaged; in_training: (models, n) bool; repeat:
    (models,). A relabelling keeps, in each repeat, the number of models that held the image out. Ties count as reaching
    the observed statistic, so that images on which all models agree have p = 1. All images share the relabellings
    drawn.
    """
    p_value, floors = np.empty((2, in_training.shape[1]))
    tests = []
    for images, held_out in _by_numbers_held_out(in_training, repeat):
        rows = [np.flatnonzero(repeat == number) for number in np.unique(repeat)]
        distinct = math.prod(math.comb(len(row), out) for row, out in zip(rows, held_out, strict=True))
        if exact := distinct <= permutations:
            count, labels = distinct, all_labels(rows, held_out)
        else:
            count, labels = permutations, random_labels(rows, held_out, permutations, seed)
        reaching = _count_reaching(log_px[..., images], ~in_training[:, images], labels)
        p_value[images] = reaching / count if exact else (reaching + 1) / (count + 1)
        floors[images] = 1 / count if exact else 1 / (count + 1)
        tests.append((1 / count if exact else 1 / (count + 1), exact, count))
    _, exact, count = max(tests)
    relabelled = relabelled_scores(log_px, in_training, repeat, "mean_log", seed=seed)
    return PermutationTest(p_value, floors, exact, count, np.quantile(relabelled, QUANTILES))


def relabelled_scores(
    log_px: np.ndarray,
    in_training: np.ndarray,
    repeat: np.ndarray,
    statistic: str,
    count: int = 50,
    images: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Scores by any statistic after random relabelling: (count, at most `images`, spread over the data set), nats.

    This is what the statistic reports where the label means nothing. The spread between models is the observed one, to
    which memorization itself adds, so the quantiles err on the large side.
    """
    some = np.unique(np.linspace(0, in_training.shape[1] - 1, images).astype(int))
    log_px, in_training = log_px[..., some], in_training[:, some]
    rng = generator(seed, "null scores")
    order = np.argsort(repeat, kind="stable")
    scores = np.empty((count, len(some)))
    for row in scores:
        models = np.empty(len(repeat), dtype=int)
        models[order] = np.lexsort((rng.random(len(repeat)), repeat))
        row[:] = memorization_scores(log_px, in_training[models], statistic, repeat)
    return scores


def unseen_scores(log_px: np.ndarray, repeat: np.ndarray, statistic: str, seed: int = 0) -> np.ndarray:
    """Scores by any statistic of images that no model saw, (n,), nats, from log_px as for `permutation_test`.

    In each repeat a random model counts as having held the image out. So these are scores where nothing is memorized, with
    all that is noise in the recipe, training another model included; for images that are as those trained on.
    """
    return memorization_scores(log_px, one_held_out_per_repeat(repeat, log_px.shape[-1], seed), statistic, repeat)


def one_held_out_per_repeat(repeat: np.ndarray, images: int, seed: int = 0) -> np.ndarray:
    """Labels that mean nothing, (models, images) bool: of the models of every repeat a random one counts as held out."""
    random = generator(seed, "unseen images")
    labels = np.ones((len(repeat), images), dtype=bool)
    for number in np.unique(repeat):
        rows = np.flatnonzero(repeat == number)
        labels[random.choice(rows, images), np.arange(images)] = False
    return labels


def relabelled_standard_deviation(log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray) -> np.ndarray:
    """Standard deviation of every image's mean_log score over all relabellings, in closed form: (n,), nats.

    The sum over h models drawn from a repeat's K without replacement has variance h (K - h) / K times their sample
    variance.
    """
    variance = np.zeros(in_training.shape[1])
    for images, values in blocks(log_px):
        for number in np.unique(repeat):
            row = repeat == number
            held_out, size = (~in_training[row, images]).sum(axis=0), row.sum()
            spread = values[row].mean(axis=1).var(axis=0, ddof=1) if size > 1 else 0.0
            variance[images] += held_out * (size - held_out) / size * spread
    return np.sqrt(variance) * (1 / in_training.sum(axis=0) + 1 / (~in_training).sum(axis=0))


def all_labels(rows: list[np.ndarray], held_out: np.ndarray) -> Iterator[np.ndarray]:
    """Batches (relabellings, models) of all ways to mark held_out[l] of each repeat's models rows[l] as out, by 1."""
    tables = [_combinations(len(row), out) for row, out in zip(rows, held_out, strict=True)]
    sizes = [len(table) for table in tables]
    for start in range(0, math.prod(sizes), BATCH):
        chosen = np.unravel_index(np.arange(start, min(start + BATCH, math.prod(sizes))), sizes)
        labels = np.empty((len(chosen[0]), sum(map(len, rows))), dtype=np.float32)
        for row, table, index in zip(rows, tables, chosen, strict=True):
            labels[:, row] = table[index]
        yield labels


def random_labels(rows: list[np.ndarray], held_out: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """The same for `count` random ways, each as likely as any other."""
    rng = generator(seed, "permutation test")
    for start in range(0, count, BATCH):
        labels = np.empty((min(BATCH, count - start), sum(map(len, rows))), dtype=np.float32)
        for row, out in zip(rows, held_out, strict=True):
            labels[:, row] = rng.random((len(labels), len(row))).argsort(axis=1) < out
        yield labels


def _combinations(models: int, out: int) -> np.ndarray:
    """All ways to mark `out` of some models, one a row."""
    return np.array([np.isin(np.arange(models), chosen) for chosen in itertools.combinations(range(models), out)])


def _by_numbers_held_out(in_training: np.ndarray, repeat: np.ndarray) -> list[tuple[np.ndarray | slice, np.ndarray]]:
    """Images with the same numbers of out models per repeat, and those numbers. One entry where folds are balanced."""
    held_out = np.array([(~in_training[repeat == number]).sum(axis=0) for number in np.unique(repeat)])
    distinct, which = np.unique(held_out, axis=1, return_inverse=True)
    if distinct.shape[1] == 1:
        return [(slice(None), distinct[:, 0])]
    return [(np.flatnonzero(which == number), column) for number, column in enumerate(distinct.T)]


def _count_reaching(log_px: np.ndarray, is_out: np.ndarray, batches: Iterable[np.ndarray]) -> np.ndarray:
    """How many relabellings of each image have a mean_log statistic at least the observed one: (n,)."""
    n = is_out.shape[1]
    centred, limit = np.empty(is_out.shape, dtype=np.float32), np.empty(n, dtype=np.float32)
    for images, values in blocks(log_px):
        values = values.mean(axis=1)
        # log p is stored in float32, and so are these sums: differences below that resolution are ties.
        resolution = 4 * np.finfo(np.float32).eps * abs(values).max(axis=0) * is_out[:, images].sum(axis=0)
        centred[:, images] = values - values.mean(axis=0)
        limit[images] = (centred[:, images] * is_out[:, images]).sum(axis=0, dtype=np.float64) + resolution
    count = np.zeros(n, dtype=int)
    for labels in batches:
        for start in range(0, n, WIDTH):
            images = slice(start, start + WIDTH)
            count[images] += (labels @ centred[:, images] <= limit[images]).sum(axis=0)
    return count
