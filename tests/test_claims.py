"""Verdicts on made-up experiments whose truth decides them, and the intervals behind."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import synthetic
from engram.paper import claims
from engram.paper.claims import CLAIMS, FAILS, HOLDS, OPEN
from engram.scores import intervals
from engram.scores.intervals import Interval


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Scores that depend on class and on nothing else, and grow from epoch 20 to 40."""
    return synthetic.read(tmp_path_factory.mktemp("made_up"), analyses=synthetic.OF_CLAIMS, n=1000)


def verdict(found, claim, estimator="corrected"):
    [one] = [f for f in claims.test(found) if f.claim == claim and f.estimator in (estimator, "")]
    assert one.numbers
    return one.verdict


def replace(found, estimator="corrected", **values):
    """The experiment with other values of one estimator's scores at both epochs."""
    scores = found.scores[estimator].copy(deep=True)
    for name, value in values.items():
        scores[name][:] = value
    return dataclasses.replace(found, scores=found.scores | {estimator: scores})


def test_every_claim_is_judged_once_per_estimator_with_numbers(made_up):
    findings = claims.test(made_up)
    per_estimator = [claim for claim in CLAIMS if claim not in ("C4", "C5")]
    assert [f.claim for f in findings if f.estimator in ("published", "")] == list(CLAIMS)
    assert [f.claim for f in findings if f.estimator == "corrected"] == per_estimator
    assert all(f.verdict in (HOLDS, FAILS, OPEN) and f.numbers.endswith(".") for f in findings)


def test_scores_independent_of_everything_but_class_get_the_verdicts_they_deserve(made_up):
    assert verdict(made_up, "C2") == HOLDS
    assert verdict(made_up, "C7") == HOLDS
    assert verdict(made_up, "C8") == HOLDS
    assert verdict(made_up, "C9") == HOLDS


def test_scores_without_a_class_effect_differ_in_no_class(made_up, rng):
    assert verdict(replace(made_up, score=rng.standard_normal(1000)), "C8") != HOLDS


@pytest.mark.parametrize(
    "claim, analysis, correlation, expected",
    [
        ("C3", "density_split", -0.3, HOLDS),
        ("C3", "density_split", 0.01, OPEN),
        ("C3", "density_split", 0.3, FAILS),
        ("C7", "neighbors", 0.1, HOLDS),
        ("C7", "neighbors", 0.18, OPEN),
        ("C7", "neighbors", -0.5, FAILS),
        ("C9", "mode_collapse", -0.5, HOLDS),
        ("C9", "mode_collapse", 0.5, FAILS),
    ],
)
def test_rank_correlations_decide_three_claims(made_up, claim, analysis, correlation, expected):
    found = made_up.analyses[analysis].copy(deep=True)
    for ending, shift in (("", 0), ("_low", -0.05), ("_high", 0.05)):
        found[f"spearman{ending}"][:] = correlation + shift
    assert verdict(dataclasses.replace(made_up, analyses=made_up.analyses | {analysis: found}), claim) == expected


def test_images_far_from_their_class_mean_are_odd(made_up):
    pixels = made_up.dataset["images"].values[:1000].astype(float)
    labels = made_up.dataset["label"].values[:1000]
    means = np.stack([pixels[labels == label].mean(0) for label in range(10)])
    distance = np.linalg.norm(pixels - means[labels], axis=1)
    assert verdict(replace(made_up, score=distance), "C1") == FAILS
    assert verdict(replace(made_up, score=-distance), "C1") == HOLDS


def test_growth_needs_an_epoch_before_the_gap(made_up):
    """The made-up gap is 1.9 nats of 94 at epoch 20, above 1 %."""
    assert verdict(made_up, "C6") == OPEN
    closed = [fold.assign(loss_held_out=fold["loss_train"]) for fold in made_up.folds]
    assert verdict(dataclasses.replace(made_up, folds=closed), "C6") in (HOLDS, FAILS)


def test_scores_that_shrink_do_not_grow(made_up):
    shrunk = made_up.scores["corrected"].isel(epoch=[1, 0])
    shrinking = dataclasses.replace(made_up, scores=made_up.scores | {"corrected": shrunk})
    assert verdict(shrinking, "C6") == FAILS


def test_learning_rates_are_compared_in_gap_and_scores(made_up):
    without_gap = [fold.assign(loss_held_out=fold["loss_train"] + 0.1) for fold in made_up.folds]
    lower = dataclasses.replace(made_up, folds=without_gap)
    lower = replace(lower, score=made_up.scores["corrected"]["score"] / 2)
    found = {(f.claim, f.estimator): f.verdict for f in claims.compare(made_up, lower)}
    assert found[("C4", "")] == HOLDS
    assert found[("C5", "corrected")] == HOLDS
    reversed_order = {(f.claim, f.estimator): f.verdict for f in claims.compare(lower, made_up)}
    assert reversed_order[("C4", "")] == FAILS
    assert reversed_order[("C5", "corrected")] == FAILS


def test_an_experiment_of_a_pair_takes_its_findings_on_learning_rates_from_the_pair(made_up):
    compared = claims.compare(made_up, dataclasses.replace(made_up, name="other"))
    findings = claims.test(made_up, compared)
    assert [f for f in findings if f.claim in claims.OF_TWO_RATES] == compared
    assert list(dict.fromkeys(f.claim for f in findings)) == list(CLAIMS)


@pytest.mark.parametrize(
    ("lacking", "untold"),
    [
        ({"folds": ()}, {"C4": "losses of its models", "C6": "losses of its models"}),
        ({"analyses": {}}, dict.fromkeys(("C2", "C3", "C7", "C9"), "analysis")),
    ],
)
def test_a_claim_whose_artifacts_are_missing_cannot_be_told_and_says_why(made_up, lacking, untold):
    without = claims.test(dataclasses.replace(made_up, **lacking))
    for before, after in zip(claims.test(made_up), without, strict=True):
        if after.claim in untold:
            assert after.verdict == OPEN and after.numbers.startswith(f"synthetic has no {untold[after.claim]}")
        else:
            assert after == before


def test_learning_rates_without_losses_are_compared_in_scores_only(made_up):
    first, *rest = claims.compare(made_up, dataclasses.replace(made_up, folds=(), name="bare"))
    assert first.verdict == OPEN and first.numbers == "bare has no losses of its models."
    assert [finding.claim for finding in rest] == ["C5", "C5"]


def test_verdicts_follow_the_interval():
    assert claims._above(Interval(0.6, 0.51, 0.7), 0.5) == HOLDS
    assert claims._above(Interval(0.6, 0.49, 0.7), 0.5) == OPEN
    assert claims._above(Interval(0.4, 0.3, 0.49), 0.5) == FAILS
    assert claims._above(Interval(np.nan, np.nan, np.nan), 0.5) == OPEN
    assert claims._below(Interval(0.4, 0.3, 0.49), 0.5) == HOLDS


def test_spearman_agrees_with_scipy_and_covers(rng):
    a, b = rng.standard_normal((2, 200))
    assert intervals.spearman(a, a + b).estimate == pytest.approx(stats.spearmanr(a, a + b).statistic)
    truth = 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's rho of a bivariate normal with correlation 0.5
    covered = 0
    for _ in range(300):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 100).T
        found = intervals.spearman(x, y)
        covered += found.low <= truth <= found.high
    assert covered / 300 == pytest.approx(0.95, abs=0.035)


def test_a_constant_has_no_rank_correlation():
    assert np.isnan(intervals.spearman(np.ones(10), np.arange(10)).estimate)


def test_wilson_interval_of_half_of_ten():
    found = intervals.share(5, 10)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)


def test_the_change_of_a_quantile_under_a_shift_is_the_shift(rng):
    first = rng.standard_normal(500)
    found = intervals.quantile_change(first, first + 2, 0.95, rng)
    assert found == pytest.approx((2, 2, 2))
