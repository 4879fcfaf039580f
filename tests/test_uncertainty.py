"""Standard errors and what is said of the budget, against simulation and textbook formulas."""

import numpy as np
import pytest
from scipy.stats import norm, spearmanr, t

import oracles
from engram.designs.membership import design
from engram.scores.statistics import STATISTICS, memorization_scores
from engram.scores.uncertainty import (
    jackknife_standard_error,
    smallest_detectable_score,
    split_half_reliability,
    standard_error_by_repeats,
    standard_error_of_draws,
)


def k_fold(n, folds=10, repeats=10):
    return design({"design": "k_fold", "folds": folds, "repeats": repeats}, np.zeros(n), np.full(n, -1), 42, "test")


def test_the_jackknife_of_mean_log_is_the_standard_error_of_the_mean_over_repeats(rng):
    membership = k_fold(50, 5, 4)
    log_px = oracles.exchangeable(rng, membership.in_training, 3)
    by_repeat = [
        memorization_scores(log_px[repeat], membership.in_training[repeat], "mean_log")
        for repeat in np.arange(20).reshape(4, 5)
    ]
    expected = np.std(by_repeat, axis=0, ddof=1) / np.sqrt(4)
    found = jackknife_standard_error(log_px, membership.in_training, membership.repeat, "mean_log")
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_repeat_has_no_error_bar(rng, statistic):
    membership = k_fold(20, 5, 1)
    arguments = oracles.exchangeable(rng, membership.in_training), membership.in_training, membership.repeat, statistic
    assert np.isnan(jackknife_standard_error(*arguments)).all()
    assert np.isnan(split_half_reliability(*arguments))
    assert standard_error_by_repeats(*arguments).shape == (0,)


COVERAGE = {  # the table of jackknife_standard_error
    ("mean_log", 2): 0.71, ("mean_log", 4): 0.86, ("mean_log", 10): 0.92,
    ("size_matched", 2): 0.69, ("size_matched", 4): 0.75, ("size_matched", 10): 0.80,
    ("log_mean_exp", 2): 0.68, ("log_mean_exp", 4): 0.76, ("log_mean_exp", 10): 0.83,
}  # fmt: skip


@pytest.mark.parametrize(("statistic", "repeats"), COVERAGE)
def test_coverage_is_as_documented(rng, statistic, repeats):
    membership = k_fold(3000, 10, repeats)
    arguments = oracles.exchangeable(rng, membership.in_training, 4), membership.in_training
    score = memorization_scores(*arguments, statistic, membership.repeat)
    error = jackknife_standard_error(*arguments, membership.repeat, statistic)
    covered = abs(score - score.mean()) < norm.ppf(0.975) * error
    assert covered.mean() == pytest.approx(COVERAGE[statistic, repeats], abs=0.03)
    if statistic == "mean_log":
        assert np.mean(abs(score) < t.ppf(0.975, repeats - 1) * error) == pytest.approx(0.95, abs=0.02)


def test_the_standard_error_by_repeats_is_that_of_a_difference_of_means(rng):
    membership = k_fold(5000, 5, 8)
    log_px = oracles.exchangeable(rng, membership.in_training, 4)
    found = standard_error_by_repeats(log_px, membership.in_training, membership.repeat, "mean_log")
    np.testing.assert_allclose(found, 4 * np.sqrt(1 / 4 + 1) / np.sqrt([1, 2, 3, 4]), rtol=0.05)


def test_split_half_reliability_is_that_of_a_stable_trait_with_independent_errors(rng):
    membership = k_fold(5000, 10, 8)
    trait = rng.normal(0, 2, 5000)
    log_px = oracles.exchangeable(rng, membership.in_training, 3) + trait * membership.in_training
    error = 3**2 * (1 / 36 + 1 / 4)  # of a score from four repeats
    pearson = 4 / (4 + error)
    found = split_half_reliability(log_px, membership.in_training, membership.repeat, "mean_log")
    assert found == pytest.approx(6 / np.pi * np.arcsin(pearson / 2), abs=0.03)


@pytest.mark.parametrize("statistic", ["mean_log", "log_mean_exp", "size_matched"])
def test_split_half_reliability_of_scores_all_alike_is_undefined(statistic):
    membership = k_fold(10, 5, 4)
    log_px = np.full((20, 10), -90.0)
    assert np.isnan(split_half_reliability(log_px, membership.in_training, membership.repeat, statistic))


def test_split_half_reliability_takes_odd_and_even_repeats(rng):
    membership = k_fold(100, 5, 4)
    log_px, is_in = oracles.exchangeable(rng, membership.in_training, 3), membership.in_training
    even, odd = membership.repeat % 2 == 0, membership.repeat % 2 == 1
    scores = [memorization_scores(log_px[half], is_in[half], "mean_log") for half in (even, odd)]
    found = split_half_reliability(log_px, is_in, membership.repeat, "mean_log")
    assert found == pytest.approx(spearmanr(*scores).statistic)


def test_four_in_five_images_with_the_smallest_detectable_score_are_detected(rng):
    membership = k_fold(4000, 10, 10)
    log_px, is_in = oracles.exchangeable(rng, membership.in_training, 4), membership.in_training
    detectable = smallest_detectable_score(log_px, is_in, membership.repeat, 0.01, 1e-4)
    score = memorization_scores(log_px + detectable * is_in, is_in, "mean_log")
    assert np.mean(score > norm.isf(0.01) * 4 / np.sqrt(9)) == pytest.approx(0.8, abs=0.02)


def test_no_score_is_detectable_alone_below_the_floor_of_the_p_value(rng):
    membership = k_fold(100, 5, 2)
    log_px = oracles.exchangeable(rng, membership.in_training)
    assert smallest_detectable_score(log_px, membership.in_training, membership.repeat, 0.05 / 100, 1 / 25) == np.inf


@pytest.mark.parametrize("draws", [2, 8])
def test_the_standard_error_of_draws_is_that_of_a_mean_of_independent_noise(rng, draws):
    """Each value has noise of its own: a mean of 16 minus a mean of 4 of them, averaged over draws."""
    membership = k_fold(4000, 5, 4)
    arguments = rng.normal(0, 3, (20, draws, 4000)), membership.in_training, membership.repeat, "mean_log"
    error = standard_error_of_draws(*arguments)
    expected = 3 * np.sqrt((1 / 16 + 1 / 4) / draws)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(expected, rel=0.03)
    scores = memorization_scores(arguments[0], membership.in_training, "mean_log")
    assert np.std(scores) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_what_a_draw_adds_to_all_models_alike_is_no_error_of_a_score(rng, statistic):
    membership = k_fold(50, 5, 4)
    log_px = oracles.exchangeable(rng, membership.in_training, 3)[:, None] + rng.normal(0, 40, (3, 50))
    arguments = membership.in_training, membership.repeat, statistic
    np.testing.assert_allclose(standard_error_of_draws(log_px, *arguments), 0, atol=1e-4)
    log_px += (
        membership.in_training[:, None] * np.array([-1.0, 0, 1])[:, None]
    )  # a draw that shows the memory less, or more
    np.testing.assert_allclose(standard_error_of_draws(log_px, *arguments), 1 / np.sqrt(3), atol=1e-4)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_single_draw_has_no_error_of_draws(rng, statistic):
    membership = k_fold(20, 5, 2)
    log_px = oracles.exchangeable(rng, membership.in_training)
    for values in (log_px, log_px[:, None]):
        error = standard_error_of_draws(values, membership.in_training, membership.repeat, statistic)
        assert error.shape == (20,) and np.isnan(error).all()


def test_the_squares_of_both_errors_are_that_of_models_and_draws_together(rng):
    """Effects on the score: 1.5 nats from a repeat, 1 from a draw, 0.5 from a draw in a repeat; 4 repeats, 3 draws."""
    membership = k_fold(4000, 5, 4)
    effect = rng.normal(0, 1.5, (4, 1, 4000)) + rng.normal(0, 1, (1, 3, 4000)) + rng.normal(0, 0.5, (4, 3, 4000))
    log_px = effect[membership.repeat] * membership.in_training[:, None]
    arguments = membership.in_training, membership.repeat, "mean_log"
    of_models, of_draws = (
        np.mean(error(log_px, *arguments) ** 2) for error in (jackknife_standard_error, standard_error_of_draws)
    )
    assert of_models == pytest.approx(1.5**2 / 4 + 0.5**2 / 12, rel=0.05)
    assert of_draws == pytest.approx(1 / 3 + 0.5**2 / 12, rel=0.05)
    distance = np.mean(memorization_scores(log_px, membership.in_training, "mean_log") ** 2)
    assert of_models + of_draws - 0.5**2 / 12 == pytest.approx(distance, rel=0.05)
