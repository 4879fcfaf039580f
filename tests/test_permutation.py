"""The permutation test against enumeration by hand, uniformity without memorization, and planted memorization."""

import itertools
import re

import numpy as np
import pytest
from scipy.stats import chisquare, false_discovery_control

import oracles
from engram.designs.membership import design
from engram.scores.permutation import (
    PermutationTest,
    all_labels,
    permutation_test,
    random_labels,
    relabelled_scores,
    relabelled_standard_deviation,
)
from engram.scores.statistics import memorization_scores


def k_fold(n, folds=10, repeats=5, seed=42, group=None, **settings):
    group = np.full(n, -1) if group is None else group
    return design(
        {"design": "k_fold", "folds": folds, "repeats": repeats, **settings}, np.zeros(n), group, seed, "test"
    )


def all_relabelled_scores(log_px, is_in, repeat):
    """mean_log of one image under every choice of one out model per repeat, by loops."""
    rows = [np.flatnonzero(repeat == number) for number in np.unique(repeat)]
    scores = []
    for out in itertools.product(*rows):
        inside = np.delete(log_px, out)
        scores.append(inside.mean() - log_px[list(out)].mean())
    return np.array(scores)


def test_exact_p_values_equal_enumeration_by_brute_force(rng):
    membership = k_fold(30, folds=4, repeats=3)
    is_in, repeat = membership.in_training, membership.repeat
    log_px = rng.normal(-90, 5, is_in.shape) + 6 * is_in
    test = permutation_test(log_px, is_in, repeat)
    assert test.exact and test.relabellings == 64 and test.floor == 1 / 64
    score, deviation = (
        memorization_scores(log_px, is_in, "mean_log"),
        relabelled_standard_deviation(log_px, is_in, repeat),
    )
    for image in range(30):
        scores = all_relabelled_scores(log_px[:, image], is_in[:, image], repeat)
        assert test.p_value[image] == np.mean(scores >= score[image] - 1e-4)
        assert deviation[image] == pytest.approx(scores.std())


def test_random_relabellings_approach_the_exact_p_value(rng):
    membership = k_fold(300, folds=5, repeats=4)
    log_px = oracles.exchangeable(rng, membership.in_training, 5)
    exact = permutation_test(log_px, membership.in_training, membership.repeat, permutations=625)
    drawn = permutation_test(log_px, membership.in_training, membership.repeat, permutations=624)
    assert exact.exact and not drawn.exact and drawn.floor == 1 / 625
    error = (drawn.p_value - exact.p_value) / np.sqrt(exact.p_value * (1 - exact.p_value) / 624 + 1 / 624**2)
    assert abs(error).max() < 6


def test_labels_are_marked_out_with_equal_chances_and_in_batches_of_bounded_size():
    rows = [np.array([0, 2, 4, 6]), np.array([1, 3, 5, 7, 8])]
    batches = list(random_labels(rows, np.array([1, 2]), 50_000, 0))
    labels = np.concatenate(batches)
    assert max(map(len, batches)) <= 10_000 and len(labels) == 50_000
    assert (labels[:, rows[0]].sum(axis=1) == 1).all() and (labels[:, rows[1]].sum(axis=1) == 2).all()
    np.testing.assert_allclose(labels.mean(axis=0)[rows[0]], 1 / 4, atol=0.01)
    np.testing.assert_allclose(labels.mean(axis=0)[rows[1]], 2 / 5, atol=0.01)


def test_enumeration_over_several_batches_is_complete():
    rows = [np.arange(10) + 10 * number for number in range(4)]
    labels = np.concatenate(list(all_labels(rows, np.ones(4, dtype=int))))
    assert len(labels) == len(np.unique(labels, axis=0)) == 10_000
    assert (labels.reshape(-1, 4, 10).sum(axis=2) == 1).all()


def test_a_repeat_with_several_models_out_keeps_their_number(rng):
    repeat = np.repeat([0, 1], [4, 6])
    is_in = np.ones((10, 3), dtype=bool)
    is_in[[0, 1, 5], 0] = is_in[[2, 4, 5, 6], 1] = is_in[[3, 0, 9], 2] = False
    log_px = rng.normal(size=(10, 3))
    test = permutation_test(log_px, is_in, repeat)
    score = memorization_scores(log_px, is_in, "mean_log")
    for image, (first, second) in enumerate([(2, 1), (1, 3), (2, 1)]):
        scores = [
            np.delete(log_px[:, image], a + b).mean() - log_px[list(a + b), image].mean()
            for a in itertools.combinations(range(4), first)
            for b in itertools.combinations(range(4, 10), second)
        ]
        assert test.p_value[image] == pytest.approx(np.mean(np.array(scores) >= score[image] - 1e-6))
    assert test.floor == 1 / 36


@pytest.mark.parametrize(("folds", "repeats"), [(2, 3), (4, 3), (10, 1)])
def test_without_memorization_p_values_are_uniform_on_their_lattice(rng, folds, repeats):
    membership = k_fold(20_000, folds, repeats)
    test = permutation_test(
        oracles.exchangeable(rng, membership.in_training), membership.in_training, membership.repeat
    )
    points = folds**repeats
    counts = np.bincount(np.rint(test.p_value * points).astype(int), minlength=points + 1)
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > 0.001


def test_random_relabellings_give_uniform_p_values_too(rng):
    membership = k_fold(20_000, 10, 10)
    log_px = oracles.exchangeable(rng, membership.in_training).astype(np.float32)
    p_value = permutation_test(log_px, membership.in_training, membership.repeat, permutations=999).p_value
    # Images share the relabellings, so the counts are a little more alike than independent ones; the mean tells a bias.
    assert abs(np.mean(p_value <= 0.05) - 0.05) < 0.01
    assert p_value.min() >= 1 / 1000


@pytest.mark.parametrize("offset", [0, 3000])
def test_models_that_agree_have_p_one_even_if_repeats_do_not(rng, offset):
    membership = k_fold(50, 10, 10)
    log_px = np.tile(rng.normal(-9000, 1000, 50), (100, 1)) + offset * rng.random(10)[membership.repeat][:, None]
    test = permutation_test(log_px.astype(np.float32), membership.in_training, membership.repeat, permutations=500)
    assert (test.p_value == 1).all()


def test_p_values_do_not_depend_on_the_order_of_models_or_images(rng):
    membership = k_fold(100, 5, 4)
    log_px = oracles.exchangeable(rng, membership.in_training, 5)
    models, images = rng.permutation(20), rng.permutation(100)
    first = permutation_test(log_px, membership.in_training, membership.repeat)
    shuffled = permutation_test(
        log_px[models][:, images], membership.in_training[models][:, images], membership.repeat[models]
    )
    np.testing.assert_array_equal(shuffled.p_value, first.p_value[images])


def test_a_score_of_thousands_of_nats_has_the_smallest_p_value_and_others_are_not_disturbed(rng):
    membership = k_fold(50, 5, 4)
    log_px = oracles.exchangeable(rng, membership.in_training, 5) - 14_000
    before = permutation_test(log_px, membership.in_training, membership.repeat).p_value
    log_px[:, 7] += 6500 * membership.in_training[:, 7]
    after = permutation_test(log_px, membership.in_training, membership.repeat)
    assert after.p_value[7] == after.floor == 1 / 625
    np.testing.assert_array_equal(np.delete(after.p_value, 7), np.delete(before, 7))


def test_draws_are_averaged(rng):
    membership = k_fold(50, 5, 3)
    log_px = rng.normal(-90, 5, (15, 4, 50))
    with_draws = permutation_test(log_px, membership.in_training, membership.repeat).p_value
    averaged = permutation_test(log_px.mean(axis=1), membership.in_training, membership.repeat).p_value
    np.testing.assert_array_equal(with_draws, averaged)


def test_over_200_relabellings_the_share_with_any_discovery_is_at_most_the_level(rng):
    membership = k_fold(100, 10, 5)
    log_px = oracles.exchangeable(rng, membership.in_training, 5).astype(np.float32)
    found = 0
    for seed in range(200):
        relabelled = k_fold(100, 10, 5, seed=seed).in_training
        p_value = permutation_test(log_px, relabelled, membership.repeat, permutations=5000).p_value
        found += (false_discovery_control(p_value) <= 0.05).any()
    assert found / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_null_quantiles_are_those_of_the_statistic_without_memorization(rng):
    membership = k_fold(1000, 10, 10)
    log_px = oracles.exchangeable(rng, membership.in_training, 3)
    for statistic in ("mean_log", "log_mean_exp", "size_matched"):
        null = relabelled_scores(log_px, membership.in_training, membership.repeat, statistic, count=20)
        observed = memorization_scores(log_px, membership.in_training, statistic, membership.repeat)
        np.testing.assert_allclose(np.quantile(null, [0.5, 0.95]), np.quantile(observed, [0.5, 0.95]), atol=0.25)
    assert relabelled_scores(log_px, membership.in_training, membership.repeat, "log_mean_exp").mean() == pytest.approx(
        oracles.OFFSET_90_AGAINST_10[3], abs=0.05
    )


@pytest.mark.parametrize(
    ("images", "permutations", "warned"), [(5, 100, False), (300, 20_000, False), (301, 5000, True)]
)
def test_a_floor_that_hides_single_images_is_said(rng, images, permutations, warned):
    membership = k_fold(images, 5, 8)
    log_px = oracles.exchangeable(rng, membership.in_training)
    test = permutation_test(log_px, membership.in_training, membership.repeat, permutations)
    assert test.floor == 1 / (permutations + 1)
    assert (test.warning() is not None) == warned


def with_floors(*floors) -> PermutationTest:
    return PermutationTest(np.ones(len(floors)), np.array(floors, dtype=float), True, 9, np.zeros(5))


def found_at_once(floors) -> int | None:
    """The smallest number of images that SciPy's procedure finds where these are at their floors and others at 1."""
    for count in range(1, len(floors) + 1):
        p_value = np.ones(len(floors))
        p_value[:count] = np.sort(floors)[:count]
        if (false_discovery_control(p_value) <= 0.05).any():
            return count
    return None


@pytest.mark.parametrize(
    ("floors", "said"),
    [
        # 3 folds and 2 repeats: 9 relabellings, and 1/9 is above 0.05 however many images are found.
        ([1 / 9] * 10, r"below 0\.11: no memorized image can be found .* all 10 at once; more repeats"),
        ([1 / 4], "no memorized image can be found at FDR 5 %; more repeats"),
        # At 1/20, all of 3 or of 10 images can be found at once and no fewer: k 0.05 / n is 1/20 at k = n alone.
        ([1 / 20] * 3, "only 3 or more at once; more repeats"),
        ([1 / 20] * 10, "only 10 or more at once; more repeats"),
        ([1 / 100] * 30, "only 6 or more at once; more repeats"),
        # Images that fewer relabellings speak of hide neither themselves alone nor the others.
        ([1 / 1000, 1 / 1000, 1 / 9, 1 / 9], r"of 2 of 4 images .* 0\.05/4: alone, .*; of 2 images .* at all; more"),
        ([1 / 1000, 1 / 30], r"of 1 of 2 images .* alone, these cannot be found at FDR 5 %; more repeats"),
        ([1 / 60] * 4 + [1 / 9], r"only 2 or more at once; of 1 images"),
        ([1 / 1000] * 50, None),
        ([1 / 20], None),
    ],
)
def test_the_warning_says_how_many_images_can_be_found_at_once_and_none_where_none_can(floors, said):
    warning = with_floors(*floors).warning()
    assert warning is None if said is None else re.search(said, warning)


def test_the_number_that_can_be_found_at_once_is_that_of_the_procedure_and_never_exceeds_the_images(rng):
    for n in (1, 2, 3, 7, 20, 30):
        for _ in range(20):
            floors = 1 / rng.choice([2, 3, 9, 19, 20, 21, 40, 81, 400, 1000], n)
            expected, warning = found_at_once(floors), with_floors(*floors).warning()
            at_once = re.search(r"only (\d+) or more at once", warning or "")
            assert (warning is None) == (floors.max() * n <= 0.05)
            assert (expected is None) == ("no memorized image can be found" in (warning or ""))
            assert (int(at_once[1]) if at_once else None) == (expected if expected != 1 else None)


def test_each_image_has_the_floor_of_its_own_relabellings(rng):
    repeat = np.repeat([0, 1], [4, 6])
    is_in = np.ones((10, 2), dtype=bool)
    is_in[[0, 1, 5], 0] = is_in[[2, 4, 5, 6], 1] = False
    test = permutation_test(rng.normal(size=(10, 2)), is_in, repeat)
    # C(4, 2) C(6, 1) and C(4, 1) C(6, 3) ways to choose the models that held the image out
    assert test.floors.tolist() == [1 / 36, 1 / 80] and test.floor == 1 / 36


def planted_scores(x, fit, group=None, **settings):
    membership = k_fold(len(x), group=group, **settings)
    log_px = oracles.log_px_of(fit, x, membership.in_training)
    score = memorization_scores(log_px, membership.in_training, "mean_log")
    return score, permutation_test(log_px, membership.in_training, membership.repeat, 20_000).p_value


def test_a_unique_outlier_is_found(rng):
    x = rng.normal(size=(500, 4))
    x[123] = 12
    for fit in (oracles.gaussian_mean(1.0), oracles.gaussian, oracles.kernel_density(1.0)):
        score, p_value = planted_scores(x, fit)
        assert np.argmax(score) == 123
        assert false_discovery_control(p_value)[123] <= 0.05


def test_a_duplicated_image_scores_lower_than_the_same_image_unique(rng):
    x = rng.normal(size=(300, 2))
    x[0] = 5
    unique = planted_scores(x, oracles.kernel_density(0.3))[0][0]
    x[1] = 5
    duplicated = planted_scores(x, oracles.kernel_density(0.3))[0][0]
    assert duplicated < unique - 1


def test_canaries_score_higher_with_copies_held_out_together_and_lower_with_copies_spread_apart(rng):
    others, canary = rng.normal(size=(300, 8)), rng.normal(0, 2, size=8)
    score = {"together": [], "apart": []}
    for groups, scores in score.items():
        for copies in (1, 2, 4, 8):
            x = np.concatenate([np.tile(canary, (copies, 1)), others])
            group = np.where(np.arange(len(x)) < copies, 0, -1)
            scores.append(planted_scores(x, oracles.kernel_density(0.7), group, groups=groups)[0][:copies].mean())
    np.testing.assert_allclose(np.diff(score["together"]), np.log(2), atol=0.1)  # density in proportion to the copies
    # The others stay but for those that an in model happens to hold out: (K-m)/(K-1) log m/(m-1).
    expected = [8 / 9 * np.log(2 / 1), 6 / 9 * np.log(4 / 3), 2 / 9 * np.log(8 / 7)]
    np.testing.assert_allclose(score["apart"][1:], expected, atol=0.03)
    assert score["apart"][0] > score["apart"][1] + 1
