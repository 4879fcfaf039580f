"""The paper's claims C1 to C9, each tested on an experiment's artifacts by a stated rule.

The numbers behind a verdict interest readers of any experiment: `measured` gives them without it.

A claim *holds* or *does not hold* where a 95 % interval (or a p-value below 0.01) settles it, and otherwise *cannot be
told here*. Claims about the score are judged for each estimator; C4 and C5 need experiments at two learning rates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from engram.conventions import FDR
from engram.files.experiment import Experiment
from engram.files.inputs import in_parts, last
from engram.randomness import generator
from engram.scores import intervals
from engram.scores.intervals import Interval
from engram.scores.quantities import HIGH_QUANTILE, highly_memorized
from engram.scores.summary import number_memorized

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told here"
WEAK = 0.2  # a rank correlation that explains 4 % of the variance of ranks
SMALL_GAP = 0.01  # of the training loss
SIGNIFICANT = 0.01
OF_TWO_RATES = ("C4", "C5")
OF_HIGHLY_MEMORIZED = ("C1", "C2", "C3", "C7", "C9")
LOSSES, IMAGES = (
    "losses",
    "images",
)  # what a claim needs that is no analysis: losses of every repeat's models; a data set


@dataclass(frozen=True)
class Finding:
    """A verdict on a claim, by one estimator ("" where none is involved), with the numbers behind it as a sentence."""

    claim: str
    estimator: str
    verdict: str
    numbers: str


@dataclass(frozen=True)
class Claim:
    """What the paper says, the rule by which an experiment decides it, and what beside scores it `needs`.

    `topic` is what the numbers are of, for readers who do not ask for the paper.
    """

    statement: str
    rule: str
    topic: str
    needs: str = ""


CLAIMS = {
    "C1": Claim(
        "Highly memorized images need not look odd.",
        "A proxy for looks: an image is ordinary if it lies nearer to the mean image of its class than the farthest "
        "5 % of the class. Holds if more than half of the highly memorized images are ordinary. Look at them, too.",
        topic="Looks: images nearer to the mean image of their class than its farthest 5 %",
        needs=IMAGES,
    ),
    "C2": Claim(
        "Most highly memorized images have an ordinary log p.",
        "Holds if more than half of them have a U between the 0.05 and 0.95 quantiles of all images.",
        topic="Ordinary log p: images with a U between the 0.05 and 0.95 quantiles",
        needs="density_split",
    ),
    "C3": Claim(
        "Images of low log p are more often highly memorized.",
        "Holds if the rank correlation of U with being highly memorized is below 0.",
        topic="Log p U against being among the highest scores",
        needs="density_split",
    ),
    "C4": Claim(
        "A learning rate of 1e-3 shows a generalization gap, 1e-4 shows none.",
        "Holds if held-out loss exceeds training loss by over 1 % at the higher rate and by less at the lower one.",
        topic="Generalization gap",
        needs=LOSSES,
    ),
    "C5": Claim(
        "A lower learning rate lowers M, but high values remain.",
        "Holds if the 0.95 quantile of M is lower at the lower rate, and images are memorized at FDR 5 % there.",
        topic="Learning rate",
    ),
    "C6": Claim(
        "The quantiles of M grow during training and are large before the generalization gap appears.",
        "Holds if the 0.95 quantile grows from the first to the last scored epoch, and has half of its final value by "
        "the last scored epoch whose gap is below 1 % of the loss. Without such an epoch this cannot be told.",
        topic="Growth of the score during training, beside the generalization gap",
        needs=LOSSES,
    ),
    "C7": Claim(
        "The nearest-neighbour ratio rho does not track M.",
        "Holds if the rank correlation lies within -0.2 to 0.2 (under 4 % of the variance of ranks); not if outside.",
        topic="Nearest-neighbour ratio rho against the score",
        needs="neighbors",
    ),
    "C8": Claim(
        "The distribution of M differs between classes.",
        "Kruskal-Wallis test: holds if p < 0.01; does not if p is larger and classes explain under 1 % of the variance "
        "of ranks.",
        topic="Classes: does the score differ between them? (Kruskal-Wallis test)",
    ),
    "C9": Claim(
        "Memorization is not mode collapse: samples do not crowd around the highly memorized images.",
        "Holds if the rank correlation of M with the share of samples nearest to the image is below 0.2.",
        topic="Mode collapse: the share of samples nearest to an image, against its score",
        needs="mode_collapse",
    ),
}


def test(experiment: Experiment, compared: Sequence[Finding] = ()) -> list[Finding]:
    """Findings on one experiment, in the order of the claims.

    `compared` are those of `compare`, where this experiment is one of the two; without them C4 and C5 cannot be told.
    """
    alone = [
        Finding(claim, estimator, *(_lacking(claim, experiment, estimator) or judge(experiment, estimator)))
        for claim, judge in _JUDGES.items()
        if not (compared and claim in OF_TWO_RATES)
        for estimator in ([""] if claim in OF_TWO_RATES else experiment.scores)
    ]
    return sorted([*alone, *compared], key=lambda finding: finding.claim)


def measured(experiment: Experiment) -> list[Finding]:
    """Findings on one experiment as far as it has what they need, but for those that compare two learning rates."""
    return [
        Finding(claim, estimator, *judge(experiment, estimator))
        for claim, judge in _JUDGES.items()
        if claim not in OF_TWO_RATES
        for estimator in experiment.scores
        if not _lacking(claim, experiment, estimator)
    ]


def compare(higher: Experiment, lower: Experiment) -> list[Finding]:
    """Findings on C4 and C5 from two experiments that differ only in learning rate: `higher` and `lower`."""
    lacking = _lacking("C4", higher) or _lacking("C4", lower)
    return [Finding("C4", "", *(lacking or _gaps(higher, lower)))] + [
        Finding("C5", estimator, *_lower_scores(higher, lower, estimator))
        for estimator in higher.scores
        if estimator in lower.scores
    ]


def _lacking(claim: str, experiment: Experiment, estimator: str = "") -> tuple[str, str] | None:
    """Why a claim cannot be told of an experiment that lacks an artifact, or, by an estimator, images that stand out.

    None if it has what the claim needs.
    """
    needs = CLAIMS[claim].needs
    there = {
        *experiment.analyses,
        *([LOSSES] if experiment.folds else []),
        *([] if experiment.dataset is None else [IMAGES]),
    }
    if needs and needs not in there:
        what = {LOSSES: "losses of its models", IMAGES: "images"}.get(needs, f"analysis {needs}")
        return OPEN, f"{experiment.name} has no {what}."
    if claim in OF_HIGHLY_MEMORIZED and not highly_memorized(last(experiment.scores[estimator])).any():
        return OPEN, "No image is highly memorized: none has an M above the 0.95 quantile."
    return None


def _above(interval: Interval, limit: float) -> str:
    return HOLDS if interval.low > limit else FAILS if interval.high < limit else OPEN


def _below(interval: Interval, limit: float) -> str:
    return HOLDS if interval.high < limit else FAILS if interval.low > limit else OPEN


def _ordinary_looks(experiment: Experiment, estimator: str) -> tuple[str, str]:
    scores = experiment.scores[estimator]
    labels, high = scores["label"].values, highly_memorized(last(scores))
    ordinary = np.empty(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = labels == label
        pixels = experiment.dataset["images"].values[scores["sample"].values[members]]
        mean = pixels.mean(axis=0)
        distance = np.concatenate([np.linalg.norm(part - mean, axis=1) for part in in_parts(pixels)])
        ordinary[members] = distance <= np.quantile(distance, 0.95)
    share = intervals.share((ordinary & high).sum(), high.sum())
    return _above(share, 0.5), f"{share.text()} of {high.sum()} highly memorized images are ordinary, 0.95 of all."


def _ordinary_density(experiment: Experiment, estimator: str) -> tuple[str, str]:
    split = experiment.analyses["density_split"].sel(estimator=estimator)
    share = intervals.read(split, "share_ordinary")
    return _above(share, 0.5), f"{share.text()} of the highly memorized images lie where 0.90 of all images lie."


def _low_density(experiment: Experiment, estimator: str) -> tuple[str, str]:
    correlation = intervals.read(experiment.analyses["density_split"].sel(estimator=estimator), "spearman")
    score, log_p_in = (last(experiment.scores[estimator], name) for name in ("score", "log_p_in"))
    low = log_p_in <= np.quantile(log_p_in, 0.1)
    share = intervals.share((highly_memorized(score) & low).sum(), low.sum())
    return _below(correlation, 0), (
        f"Rank correlation {correlation.text()}; among the tenth of lowest U, {share.text()} are highly memorized, "
        f"{1 - HIGH_QUANTILE:.2f} of all."
    )


def _needs_two_rates(experiment: Experiment, estimator: str) -> tuple[str, str]:
    return OPEN, "Needs a second experiment that differs only in learning rate."


def _gap(experiment: Experiment, epoch: int) -> Interval:
    """Held-out minus training loss after an epoch, as a share of the training loss: mean over the fold models."""
    at = [fold.sel(epoch_trained=epoch) for fold in experiment.folds]
    train, held_out = (np.concatenate([fold[name].values for fold in at]) for name in ("loss_train", "loss_held_out"))
    return intervals.mean((held_out - train) / np.abs(train))


def _last_epoch(experiment: Experiment) -> int:
    return int(experiment.folds[0]["epoch_trained"][-1])


def _one_gap(experiment: Experiment, estimator: str) -> tuple[str, str]:
    gap = _gap(experiment, _last_epoch(experiment))
    return OPEN, f"Gap at the last epoch {gap.text('.1%')} of the loss; needs a second learning rate."


def _growth(experiment: Experiment, estimator: str) -> tuple[str, str]:
    scores = experiment.scores[estimator]
    epochs = scores["epoch"].values
    if len(epochs) < 2:
        return OPEN, "Needs two scored epochs."
    first, final = scores["score"].values[0], scores["score"].values[-1]
    growth = intervals.quantile_change(first, final, 0.95, generator(0, "claims", experiment.name, estimator))
    gaps = [_gap(experiment, int(epoch)) for epoch in epochs]
    quantile = np.quantile(scores["score"], 0.95, axis=1)
    numbers = (
        f"0.95 quantile {_sequence(quantile, '.1f')} nats at epochs {_sequence(epochs, 'd')}, growth "
        f"{growth.text('.1f')}; gap {_sequence([gap.estimate for gap in gaps], '.1%')} of the loss."
    )
    early = [q for q, gap in zip(quantile, gaps, strict=True) if gap.high < SMALL_GAP]
    verdict = _above(growth, 0)
    if verdict == HOLDS:
        verdict = OPEN if not early else HOLDS if early[-1] >= quantile[-1] / 2 else FAILS
    return verdict, numbers if early else f"{numbers} No scored epoch precedes the gap."


def _sequence(values, form: str) -> str:
    """Numbers for a sentence; the first and the last where there are many."""
    values = list(values)
    return (
        ", ".join(f"{value:{form}}" for value in values)
        if len(values) < 5
        else f"{values[0]:{form}} to {values[-1]:{form}}"
    )


def _distance_ratio(experiment: Experiment, estimator: str) -> tuple[str, str]:
    here = experiment.analyses["neighbors"].sel(estimator=estimator)
    correlation, published = (intervals.read(here, name) for name in ("spearman", "spearman_as_published"))
    inside = correlation.low > -WEAK and correlation.high < WEAK
    outside = correlation.low > WEAK or correlation.high < -WEAK
    high = highly_memorized(last(experiment.scores[estimator]))
    medians = (np.median(here["rho"].values[members]) for members in (high, ~high))
    return HOLDS if inside else FAILS if outside else OPEN, (
        f"Rank correlation {correlation.text()} (with the published slip {published.text()}); median rho of highly memorized "
        f"and regular images {_sequence(medians, '.2f')}."
    )


def _classes(experiment: Experiment, estimator: str) -> tuple[str, str]:
    scores = experiment.scores[estimator]
    score, labels = last(scores), scores["label"].values
    groups = [score[labels == label] for label in np.unique(labels[labels >= 0])]
    if len(groups) < 2 or np.ptp(score) == 0:
        return OPEN, "Needs images of two classes and scores that differ."
    statistic, p_value = stats.kruskal(*groups)
    explained = statistic / (len(score) - 1)
    medians = [np.median(group) for group in groups]
    verdict = HOLDS if p_value < SIGNIFICANT else FAILS if explained < 0.01 else OPEN
    return verdict, (
        f"p = {p_value:.2g}, classes explain {explained:.1%} of the variance of ranks; class medians from "
        f"{min(medians):.1f} to {max(medians):.1f} nats."
    )


def _crowding(experiment: Experiment, estimator: str) -> tuple[str, str]:
    correlation = intervals.read(experiment.analyses["mode_collapse"].sel(estimator=estimator), "spearman")
    share, high = (
        experiment.analyses["mode_collapse"]["share"].values,
        highly_memorized(last(experiment.scores[estimator])),
    )
    crowded = share > np.quantile(share, HIGH_QUANTILE)
    overlap = intervals.share((high & crowded).sum(), crowded.sum())
    return _below(correlation, WEAK), (
        f"Rank correlation {correlation.text()}; of the 5 % most crowded images {overlap.text()} are highly memorized, 0.05 "
        "by chance."
    )


def _gaps(higher: Experiment, lower: Experiment) -> tuple[str, str]:
    at_higher, at_lower = (_gap(part, _last_epoch(part)) for part in (higher, lower))
    verdicts = {_above(at_higher, SMALL_GAP), _below(at_lower, SMALL_GAP)}
    verdict = FAILS if FAILS in verdicts else OPEN if OPEN in verdicts else HOLDS
    return (
        verdict,
        f"Gap at the last epoch {at_higher.text('.1%')} of the loss in {higher.name}, {at_lower.text('.1%')} in "
        f"{lower.name}.",
    )


def _lower_scores(higher: Experiment, lower: Experiment, estimator: str) -> tuple[str, str]:
    scores = [part.scores[estimator] for part in (higher, lower)]
    change = intervals.quantile_change(
        *map(last, scores), 0.95, generator(0, "claims", higher.name, lower.name, estimator)
    )
    memorized = number_memorized(scores[1])
    verdict = _below(change, 0)
    if verdict == HOLDS and not memorized:
        verdict = OPEN
    quantiles = _sequence([np.quantile(last(part), 0.95) for part in scores], ".1f")
    return verdict, (
        f"0.95 quantile of M in {higher.name} and {lower.name} {quantiles} nats, change {change.text('.1f')}; {memorized} "
        f"images memorized at FDR {FDR:.0%} at the lower rate."
    )


_JUDGES: dict[str, Callable[[Experiment, str], tuple[str, str]]] = {
    "C1": _ordinary_looks,
    "C2": _ordinary_density,
    "C3": _low_density,
    "C4": _one_gap,
    "C5": _needs_two_rates,
    "C6": _growth,
    "C7": _distance_ratio,
    "C8": _classes,
    "C9": _crowding,
}
