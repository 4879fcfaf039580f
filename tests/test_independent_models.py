"""Scores of models trained on random subsets, without repeats."""

import numpy as np
import pytest
from scipy import stats

import engram
from engram.scores import independent_models
from engram.scores.independent_models import standard_error, why_not_exchangeable


def random_subsets(rng, models, images, share=0.5):
    return rng.random((models, images)) < share


def test_the_standard_error_of_a_difference_of_means_by_hand():
    log_px = np.array([[-10.0], [-12.0], [-15.0], [-17.0], [-19.0]])  # variances 2 and 4
    is_in = np.array([[True], [True], [False], [False], [False]])
    assert standard_error(log_px, is_in)[0] == pytest.approx(np.sqrt(2 / 2 + 4 / 3))
    assert np.isnan(standard_error(log_px[1:], is_in[1:])[0])


def test_the_standard_error_is_what_a_bootstrap_over_models_tends_to(rng):
    log_px = rng.normal(-100, 5, (16, 1))
    is_in = np.arange(16)[:, None] < 8
    sides = log_px[:8, 0], log_px[8:, 0]
    difference = lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis)  # noqa: E731
    resampled = stats.bootstrap(sides, difference, n_resamples=40_000, vectorized=True, method="percentile", rng=rng)
    assert standard_error(log_px, is_in)[0] == pytest.approx(np.sqrt(8 / 7) * resampled.standard_error, rel=0.02)


def test_its_square_is_unbiased_and_its_intervals_cover(rng):
    models, images, sigma = 20, 20_000, 4.0
    is_in = rng.permuted(np.repeat([[True], [False]], models // 2, axis=0) & np.ones(images, bool), axis=0)
    log_px = rng.normal(-100, sigma, (models, images))
    error = standard_error(log_px, is_in)
    assert np.mean(error**2) == pytest.approx(sigma**2 * (1 / 10 + 1 / 10), rel=0.02)
    score = engram.scores.memorization_scores(log_px, is_in, "mean_log")
    covered = np.mean(abs(score) < stats.t.ppf(0.975, models - 2) * error)
    assert covered == pytest.approx(0.95, abs=0.006)  # four standard errors of the share


def test_draws_are_averaged_first(rng):
    log_px, is_in = rng.normal(size=(8, 3, 50)), np.arange(8)[:, None] < np.full(50, 4)
    np.testing.assert_allclose(standard_error(log_px, is_in), standard_error(log_px.mean(axis=1), is_in))


def test_p_values_of_random_subsets_are_exact_where_nothing_is_memorized(rng):
    models, images = 12, 3000
    in_training = random_subsets(rng, models, images)
    two_a_side = (in_training.sum(0) > 1) & (in_training.sum(0) < models - 1)
    log_px, in_training = rng.normal(-100, 5, (models, images))[:, two_a_side], in_training[:, two_a_side]
    with pytest.warns(UserWarning, match="p-values cannot fall below"):
        table = engram.score(log_px, in_training)
    for level in (0.05, 0.2, 0.5):
        assert np.mean(table["p_value"] <= level) <= level + 4 * np.sqrt(level * (1 - level) / images)
    assert table["p_value"].mean() == pytest.approx(0.5, abs=0.03)
    assert table.attrs["standard_error_by"] == "bootstrap over models, in closed form"


def test_a_memorized_image_is_found_among_random_subsets(rng):
    in_training = random_subsets(rng, 30, 100)
    table = engram.score(rng.normal(-100, 1, (30, 100)) + 5 * in_training * (np.arange(100) == 7), in_training)
    assert table["q_value"].idxmin() == 7 and table["q_value"][7] <= 0.05
    assert table["score"][7] == pytest.approx(5, abs=4 * table["standard_error"][7])


def test_a_lone_model_on_one_side_leaves_no_error_bar_and_says_so(rng):
    in_training = random_subsets(rng, 30, 100)
    in_training[:, 3] = np.arange(30) == 0
    with pytest.warns() as caught:
        table = engram.score(rng.normal(size=(30, 100)), in_training)
    said = [str(warning.message) for warning in caught]
    assert said[0] == "standard_error is NaN for 1 of 100 images: they take two models on each side"
    # The image with one model on a side has 30 relabellings, so its p cannot fall below 1 / 30.
    assert said[1].startswith("p-values of 1 of 100 images cannot fall to 0.05/100: alone, these cannot be found")
    assert np.flatnonzero(table["standard_error"].isna()).tolist() == [3]
    assert table["p_value"].notna().all()


def k_fold(rng, images, folds, repeats):
    fold_of = [rng.permutation(np.arange(images) % folds) for _ in range(repeats)]
    return np.concatenate([fold != np.arange(folds)[:, None] for fold in fold_of])


NOT_ALIKE = {
    "five folds, four times": (lambda rng: k_fold(rng, 200, 5, 4), "they overlap otherwise"),
    "complementary halves": (lambda rng: k_fold(rng, 100, 2, 4), "they overlap otherwise"),
    "every subset twice": (lambda rng: np.repeat(random_subsets(rng, 8, 100), 2, axis=0), "they overlap otherwise"),
    "small and large": (lambda rng: random_subsets(rng, 10, 100, [[0.3], [0.7]] * 5), "their sizes differ"),
}


@pytest.mark.parametrize("design", NOT_ALIKE)
def test_training_sets_not_drawn_alike_get_no_p_values_without_repeats(design, rng):
    make, reason = NOT_ALIKE[design]
    in_training = make(rng)
    log_px = rng.normal(size=in_training.shape)
    with pytest.warns(UserWarning, match=f"{reason}.*give `repeat`") as caught:
        table = engram.score(log_px, in_training)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert table[["standard_error", "p_value", "q_value"]].isna().all(axis=None)
    np.testing.assert_array_equal(table["score"], engram.scores.memorization_scores(log_px, in_training, "mean_log"))


def test_labels_that_are_exchangeable_are_hardly_ever_called_otherwise(rng):
    """Subsets of any share; of one size; each image in just half of the models, as is usual for shadow models; one split."""
    for _ in range(200):
        models, images = rng.integers(2, 40), rng.integers(20, 400)
        assert why_not_exchangeable(random_subsets(rng, models, images, rng.uniform(0.05, 0.95, images))) is None
        fixed_size = rng.permuted(np.tile(np.arange(images) < images // 3, (models, 1)), axis=1)
        assert why_not_exchangeable(fixed_size) is None
        assert why_not_exchangeable(rng.permuted(np.tile(np.arange(models)[:, None] % 2 == 0, images), axis=0)) is None
        assert why_not_exchangeable(k_fold(rng, images, min(models, 10), 1)) is None


def test_the_p_values_behind_the_checks_are_those_the_statistics_have(rng):
    """One in twenty random designs has a chi-square tail below 1/20: the two laws are right, and not only their far tails."""
    calls = {"_sizes_differ": [], "_overlaps_differ": []}
    for _ in range(400):
        in_training = random_subsets(rng, 12, 300)
        share = in_training.mean(axis=0)
        for name, found in calls.items():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(independent_models, "FALSE_ALARM", 0.05)
                found.append(getattr(independent_models, name)(in_training - share, share))
    for name, found in calls.items():
        assert 0.02 < np.mean(found) < 0.09, name
