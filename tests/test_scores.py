"""Scores against closed forms, brute force, and what they must be without memorization."""

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp

import oracles
from engram.designs.membership import design
from engram.errors import UserError
from engram.scores.statistics import STATISTICS, log_mean_exp, memorization_scores


def k_fold(n, folds=10, repeats=10, name="k_fold"):
    settings = {"design": name, "folds": folds, "repeats": repeats}
    return design(settings, np.zeros(n, dtype=int), np.full(n, -1), 42, "test")


@pytest.fixture
def points(rng):
    return rng.normal(size=(60, 3)) * [1, 2, 3]


def accuracy(statistic):
    """Nats to which a score is exact: size_matched is an integral in float32."""
    return 2e-5 if statistic == "size_matched" else 1e-9


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize(
    ("fit", "closed_form"),
    [
        (oracles.gaussian_mean(1.5), lambda x: oracles.gaussian_mean_leave_one_out(x, 1.5)),
        (oracles.gaussian, oracles.gaussian_leave_one_out),
        (oracles.kernel_density(0.7), lambda x: oracles.kernel_density_leave_one_out(x, 0.7)),
    ],
    ids=["gaussian mean", "gaussian", "kernel density"],
)
def test_leave_one_out_scores_equal_the_closed_form(points, fit, closed_form, statistic):
    leave_one_out = k_fold(60, repeats=1, name="leave_one_out")
    log_px = oracles.log_px_of(fit, points, leave_one_out.in_training)
    without = log_px[np.argmin(leave_one_out.in_training, axis=0), np.arange(60)]
    pairs = np.array([fit(points)(points), without])
    in_training = np.array([np.ones(60), np.zeros(60)], dtype=bool)
    score = memorization_scores(pairs, in_training, statistic, np.zeros(2))
    np.testing.assert_allclose(score, closed_form(points), atol=accuracy(statistic), rtol=0)


def test_k_fold_scores_of_the_gaussian_mean_model_equal_the_closed_form(points):
    membership = k_fold(60, folds=7, repeats=4)
    is_in = membership.in_training
    log_px = oracles.log_px_of(oracles.gaussian_mean(1.5), points, is_in)
    expected = oracles.gaussian_mean_k_fold(points, 1.5, is_in)
    published, mean_log = np.empty(60), np.empty(60)
    for image in range(60):
        inside, outside = expected[is_in[:, image], image], expected[~is_in[:, image], image]
        published[image] = logsumexp(inside) - np.log(24) - logsumexp(outside) + np.log(4)
        mean_log[image] = inside.mean() - outside.mean()
    np.testing.assert_allclose(memorization_scores(log_px, is_in), published, atol=1e-8, rtol=0)
    np.testing.assert_allclose(memorization_scores(log_px, is_in, "mean_log"), mean_log, atol=1e-8, rtol=0)
    difference = log_mean_exp(log_px, is_in) - log_mean_exp(log_px, ~is_in)
    np.testing.assert_allclose(difference, published, atol=1e-8, rtol=0)


def test_the_mean_k_fold_score_of_the_gaussian_mean_model_is_dimensions_over_training_size(rng):
    membership = k_fold(100, folds=10, repeats=1)
    fit = oracles.gaussian_mean(1.0)
    samples = (rng.normal(size=(100, 5)) for _ in range(300))
    means = [
        memorization_scores(
            oracles.log_px_of(fit, x, membership.in_training), membership.in_training, "mean_log"
        ).mean()
        for x in samples
    ]
    assert abs(np.mean(means) - 5 / 90) < 4 * np.std(means) / np.sqrt(len(means))


@pytest.mark.parametrize("sd", [1, 6, 20, 40, 500])  # float32's exponentials end at 87 nats
def test_size_matched_is_the_average_over_all_choices_of_one_model_per_repeat(rng, sd):
    membership = k_fold(12, folds=4, repeats=4)
    is_in, repeat = membership.in_training, membership.repeat
    log_px = rng.normal(-90, sd, is_in.shape)
    expected = np.empty(12)
    for image in range(12):
        by_repeat = [log_px[(repeat == number) & is_in[:, image], image] for number in range(4)]
        choices = np.array(list(itertools.product(*by_repeat)))
        assert choices.shape == (81, 4)
        expected[image] = logsumexp(choices, axis=1).mean() - logsumexp(log_px[~is_in[:, image], image])
    score = memorization_scores(log_px, is_in, "size_matched", repeat)
    np.testing.assert_allclose(score, expected, atol=2e-5 + 1e-7 * np.ptp(log_px), rtol=0)


def test_half_splits_are_size_matched_already(rng):
    membership = k_fold(20, repeats=3, name="half_split")
    log_px = oracles.exchangeable(rng, membership.in_training, 5)
    matched = memorization_scores(log_px, membership.in_training, "size_matched", membership.repeat)
    np.testing.assert_allclose(matched, memorization_scores(log_px, membership.in_training), atol=2e-5)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_models_that_agree_score_zero(rng, statistic):
    membership = k_fold(50)
    log_px = np.tile(rng.normal(-9000, 1000, 50), (100, 1))
    score = memorization_scores(log_px, membership.in_training, statistic, membership.repeat)
    np.testing.assert_allclose(score, 0, atol=0 if statistic != "size_matched" else 2e-5)


@pytest.mark.parametrize("sd", [1, 3, 5])
def test_without_memorization_only_the_published_statistic_is_offset(rng, sd):
    membership = k_fold(20_000)
    log_px = oracles.exchangeable(rng, membership.in_training, sd)
    for statistic in STATISTICS:
        score = memorization_scores(log_px, membership.in_training, statistic, membership.repeat)
        expected = oracles.OFFSET_90_AGAINST_10[sd] if statistic == "log_mean_exp" else 0
        assert abs(score.mean() - expected) < 4 * score.std() / np.sqrt(20_000) + 0.001


def test_the_variance_of_mean_log_without_memorization_is_that_of_a_difference_of_means(rng):
    membership = k_fold(20_000)
    score = memorization_scores(
        oracles.exchangeable(rng, membership.in_training, 4), membership.in_training, "mean_log"
    )
    assert score.var() == pytest.approx(4**2 / (100 * 0.9 * 0.1), rel=0.04)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("size", [6500, -6500])
def test_a_score_of_thousands_of_nats_neither_overflows_nor_loses_precision(statistic, size):
    membership = k_fold(30, folds=5, repeats=3)
    log_px = np.full(membership.in_training.shape, -14_500.0)
    log_px[:, 3] = np.where(membership.in_training[:, 3], -8000, -8000 - size)
    score = memorization_scores(log_px, membership.in_training, statistic, membership.repeat)
    np.testing.assert_allclose(score[3], size, rtol=5e-7)
    np.testing.assert_allclose(np.delete(score, 3), 0, atol=accuracy(statistic))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_swapping_in_and_out_changes_the_sign(rng, statistic):
    membership = k_fold(40, folds=5, repeats=3)
    log_px = oracles.exchangeable(rng, membership.in_training, 3)
    score = memorization_scores(log_px, membership.in_training, statistic, membership.repeat)
    swapped = memorization_scores(log_px, ~membership.in_training, statistic, membership.repeat)
    np.testing.assert_allclose(swapped, -score, atol=accuracy(statistic))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_scores_do_not_depend_on_the_order_of_models_or_images(rng, statistic):
    membership = k_fold(5000, folds=5, repeats=3)
    log_px = oracles.exchangeable(rng, membership.in_training, 5)
    models, images = rng.permutation(15), rng.permutation(5000)
    score = memorization_scores(log_px, membership.in_training, statistic, membership.repeat)
    shuffled = memorization_scores(
        log_px[models][:, images], membership.in_training[models][:, images], statistic, membership.repeat[models]
    )
    np.testing.assert_allclose(shuffled, score[images], atol=accuracy(statistic))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_draws_are_scored_one_by_one_and_averaged(rng, statistic):
    membership = k_fold(40, folds=5, repeats=3)
    log_px = rng.normal(-90, 4, (15, 3, 40))
    by_draw = [
        memorization_scores(log_px[:, draw], membership.in_training, statistic, membership.repeat) for draw in range(3)
    ]
    score = memorization_scores(log_px, membership.in_training, statistic, membership.repeat)
    np.testing.assert_allclose(score, np.mean(by_draw, axis=0), atol=1e-9)


def test_an_image_that_all_models_saw_is_refused():
    in_training = np.array([[True, True], [False, True]])
    with pytest.raises(UserError, match=r"image 1 .* in or out of all models"):
        memorization_scores(np.zeros((2, 2)), in_training)


def test_statistics_that_cannot_be_computed_are_refused():
    in_training = np.array([[True], [False]])
    with pytest.raises(UserError, match="'median' is unknown"):
        memorization_scores(np.zeros((2, 1)), in_training, "median")
    with pytest.raises(UserError, match="needs `repeat`"):
        memorization_scores(np.zeros((2, 1)), in_training, "size_matched")
    with pytest.raises(UserError, match="in every repeat"):
        memorization_scores(np.zeros((2, 1)), in_training, "size_matched", np.array([0, 1]))
