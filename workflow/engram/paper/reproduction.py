"""results/{reproduction}/reproduction.csv: what the paper printed, beside what our models give, as published and corrected.

One row for each printed number and each claim, of the last scored epoch. `as_published` is by the estimator `published`
(the paper's recipe), `corrected` by the estimator of that name, from the same models.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from engram.conventions import AS_PUBLISHED_AND_CORRECTED
from engram.files import artifacts
from engram.files.experiment import Experiment
from engram.files.inputs import likelihoods_by_epoch
from engram.paper import claims, published
from engram.paper.published import TWO_RATES
from engram.scores.bits import bits_per_dimension, dimensions
from engram.scores.intervals import Interval
from engram.scores.quantities import QUANTITIES, estimate
from engram.scores.stage import Comparison, read_log_px

REPRODUCED, DIFFERS, OPEN, NOT_PRINTED = "reproduced", "differs", "cannot tell", "not printed"
NOT_COMPARABLE = "not comparable: "
OF_CLAIMS = {claims.HOLDS: REPRODUCED, claims.FAILS: DIFFERS, claims.OPEN: OPEN}
LOG_P = ["mean log p, images in training (U)", "mean log p, images held out (V)"]
LOSS = "loss of the full model, {} images"

COLUMNS = ["experiment", "ours", "quantity", "epoch", "published"]
COLUMNS += [f"{column}{end}" for column in AS_PUBLISHED_AND_CORRECTED for end in ("", "_low", "_high")]
COLUMNS += ["unit", "verdict", "verdict_corrected", "rule", "source"]

Row = dict[str, Any]
ByColumn = dict[str, Interval]  # as_published and corrected


def table(experiments: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The rows, with COLUMNS, in the paper's order.

    `experiments` by the paper's names, each in the form that engram.report.write takes. Where settings of an experiment
    are not the paper's, its verdicts are "not comparable: " and what differs.
    """
    described = {name: experiments[name] for name in published.SETTINGS if name in experiments}
    ours = {name: Experiment.read(paths) for name, paths in described.items()}
    differ = {name: differences(name, described[name], experiment) for name, experiment in ours.items()}
    rows = []
    for name, experiment in ours.items():
        findings = [finding for finding in claims.test(experiment) if finding.claim not in claims.OF_TWO_RATES]
        here = [*_numbers(name, described[name], experiment), *_claims(findings)]
        epoch = described[name]["settings"]["scored_epochs"][-1]
        rows += _placed(here, {"experiment": name, "ours": experiment.name, "epoch": epoch}, differ[name])
    if set(TWO_RATES) <= set(ours):
        pair = [ours[name] for name in TWO_RATES]
        epoch = described[TWO_RATES[0]]["settings"]["training"]["epochs"]
        place = {"experiment": " / ".join(TWO_RATES), "ours": " / ".join(each.name for each in pair), "epoch": epoch}
        differ_both = [*dict.fromkeys(fact for name in TWO_RATES for fact in differ[name])]
        rows += _placed(_claims(claims.compare(*pair)), place, differ_both)
    return pd.DataFrame(rows, columns=COLUMNS)


def verdict(printed: float, ours: Interval, tolerance: float, one_run: bool = False) -> str:
    """Does `ours` agree with the printed value, by `rule`? It cannot tell without a value, or without an interval.

    What comes of `one_run` has no interval, and its tolerance allows for another run.
    """
    distance, half_width = abs(printed - ours.estimate), (ours.high - ours.low) / 2
    if distance <= tolerance or distance <= math.sqrt(2) * half_width:
        return REPRODUCED
    return OPEN if math.isnan(distance) or (math.isnan(half_width) and not one_run) else DIFFERS


def rule(tolerance: float, one_run: bool = False) -> str:
    """The rule of `verdict`, for the reader of a row."""
    if one_run:
        return f"reproduced if the printed value is within {tolerance:g} of ours, which allows for another training"
    return (
        f"reproduced if the printed value is within {tolerance:g} of ours, or within sqrt(2) half widths of its 95 % "
        "interval (jackknife over repeats): the paper's is another such run; cannot tell if there is no interval"
    )


def differences(name: str, described: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """What sets our experiment apart from the paper's of that name, as in ["L = 4"]."""
    settings = published.SETTINGS[name]
    scored = next(iter(experiment.scores.values())).sizes["sample"]
    ours = _facts(described["settings"], scored, described["estimators"]["published"]["samples"])
    theirs = _facts(settings, published.IMAGES[settings["dataset"]], published.SAMPLES[name])
    return [fact for fact, printed in zip(ours, theirs, strict=True) if fact != printed]


def _facts(settings: Mapping[str, Any], images: int, samples: int) -> list[str]:
    training, membership, model = (settings[part] for part in ("training", "membership", "model"))
    of_model = [f"{key} {value}" for key, value in sorted(model.items()) if key != "name"]
    return [
        f"{images:,} images of {settings['dataset']}",
        f"design {membership['design']}",
        f"K = {membership.get('folds', 'not given')}",
        f"L = {membership['repeats']}",
        f"epoch {settings['scored_epochs'][-1]}",
        f"learning rate {training['learning_rate']:g}",
        f"batches of {training['batch_size']}",
        f"augmentation {training.get('augmentation', 'none')}",
        f"model {', '.join([model['name'], *of_model])}",
        f"{samples} importance samples",
    ]


def _placed(rows: Iterable[Row], place: Row, differ: list[str]) -> list[Row]:
    """The rows with the experiment they are of, and with no verdict where that is not the paper's."""
    not_comparable = dict.fromkeys(("verdict", "verdict_corrected"), NOT_COMPARABLE + ", ".join(differ))
    return [place | row | (not_comparable if differ and row["verdict"] != NOT_PRINTED else {}) for row in rows]


def _numbers(name: str, described: Mapping[str, Any], experiment: Experiment) -> Iterator[Row]:
    """Rows of the printed numbers, and of mean log p, which the paper did not print."""
    values = published.VALUES[name]
    wanted = [value.quantity for value in values if value.quantity in QUANTITIES] + LOG_P
    ours = _from_scores(described, wanted) | _losses(described, experiment)
    for value in values:
        here, one_run = ours[value.quantity], value.quantity not in QUANTITIES
        verdicts = [
            verdict(value.value, here[column], value.tolerance, one_run) for column in AS_PUBLISHED_AND_CORRECTED
        ]
        yield _number(value.quantity, here, value.unit, value.value, verdicts) | {
            "rule": rule(value.tolerance, one_run),
            "source": value.source,
        }
    size = dimensions(experiment.trained)
    for quantity in LOG_P:
        yield _number(quantity, ours[quantity], "nats")
        if size:
            in_bits = {column: _in_bits(interval, size) for column, interval in ours[quantity].items()}
            yield _number(quantity, in_bits, "bits per dimension")


def _number(quantity: str, ours: ByColumn, unit: str, printed: float = math.nan, verdicts: Iterable[str] = ()) -> Row:
    row = {"quantity": quantity, "unit": unit, "published": printed, "verdict": NOT_PRINTED}
    for column, interval in ours.items():
        row |= {f"{column}{end}": _digits(value) for end, value in zip(("", "_low", "_high"), interval, strict=True)}
    return row | dict(zip(("verdict", "verdict_corrected"), verdicts, strict=False))


def _digits(value: float) -> float:
    """Six significant digits: more than any interval here allows."""
    return float(f"{value:.6g}")


def _in_bits(interval: Interval, size: int) -> Interval:
    """An interval of log p, nats, in bits per dimension, whose ends change places."""
    return Interval(*(bits_per_dimension(interval[end], size) for end in (0, 2, 1)))


def _from_scores(described: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, ByColumn]:
    """Quantities by either estimator at the last scored epoch, from the likelihoods of every repeat."""
    comparison = Comparison.of(artifacts.read(described["membership"], "membership"))
    quantities = {quantity: QUANTITIES[quantity] for quantity in wanted}
    epoch = described["settings"]["scored_epochs"][-1]
    by_column = {}
    for column, estimator in AS_PUBLISHED_AND_CORRECTED.items():
        files = likelihoods_by_epoch(described["likelihoods"], estimator)
        log_px = read_log_px(files.get(epoch, []), comparison)
        statistic = described["estimators"][estimator]["statistic"]
        by_column[column] = estimate(log_px, comparison.is_in, comparison.repeat, statistic, quantities)
    return {name: {column: intervals[name] for column, intervals in by_column.items()} for name in quantities}


def _losses(described: Mapping[str, Any], experiment: Experiment) -> dict[str, ByColumn]:
    """Losses of the full model, one training without an interval, which no estimator enters; NaN if there is no full model.

    The printed training loss is a running mean over the last epoch, which we do not keep: as published, the mean of our
    losses before and after that epoch stands in for it. The corrected one is the loss after it.
    """
    epoch = described["settings"]["scored_epochs"][-1]
    train = test = np.full(2, math.nan)
    if experiment.full is not None:
        full = experiment.full.sel(epoch_trained=[max(1, epoch - 1), epoch])
        train, test = (full[kind].values[:, 0] for kind in ("loss_train", "loss_held_out"))
    losses = {"training": (train.mean(), train[-1]), "test": (test[-1], test[-1])}
    return {
        LOSS.format(kind): {
            column: Interval(float(loss), math.nan, math.nan)
            for column, loss in zip(AS_PUBLISHED_AND_CORRECTED, pair, strict=True)
        }
        for kind, pair in losses.items()
    }


def _claims(findings: Iterable[claims.Finding]) -> Iterator[Row]:
    """One row per claim; a finding in which no estimator enters counts for both columns."""
    by_claim: dict[str, dict[str, str]] = {}
    for finding in findings:
        by_claim.setdefault(finding.claim, {})[finding.estimator] = finding.verdict
    for claim, verdicts in by_claim.items():
        row = {
            column: verdicts.get(estimator, verdicts.get(""))
            for column, estimator in AS_PUBLISHED_AND_CORRECTED.items()
        }
        yield row | {
            "quantity": f"{claim}: {claims.CLAIMS[claim].statement}",
            "published": claims.HOLDS,
            "unit": "claim",
            "verdict": OF_CLAIMS[row["as_published"]],
            "verdict_corrected": OF_CLAIMS[row["corrected"]],
            "rule": claims.CLAIMS[claim].rule,
            "source": "text",
        }
