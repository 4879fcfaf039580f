"""The split of log p by memorization, by hand and where independence fixes the answer."""

import numpy as np
import pytest

from engram.analyses import density_split
from engram.analyses.density_split import by_density, edges, ordinary
from engram.scores.quantities import highly_memorized
from synthetic import answered, experiment, given


def test_one_image_in_twenty_is_highly_memorized(rng):
    assert highly_memorized(rng.standard_normal(1000)).sum() == 50


def test_the_published_split_is_at_a_score_of_0_95_nats():
    score = np.array([0.9, 0.95, 0.96, 40])
    np.testing.assert_array_equal(highly_memorized(score, as_published=True), [False, False, True, True])


def test_bins_hold_every_image_once(rng):
    log_p_in = rng.standard_t(1, 5000)
    high = rng.random(5000) < 0.05
    edge, count, count_high = by_density(log_p_in, high, edges(log_p_in[None]))
    assert count.sum() == 5000
    assert count_high.sum() == high.sum()
    assert (count_high <= count).all()
    inner = (log_p_in >= edge[5]) & (log_p_in < edge[6])
    assert count[5] == inner.sum()
    assert count_high[5] == (inner & high).sum()


def test_bins_are_counted_by_hand():
    log_p_in, high = np.array([-200, -95, -91, -85, 0]), np.array([True, False, True, True, False])
    _, count, count_high = by_density(log_p_in, high, np.array([-100, -90, -80]))
    np.testing.assert_array_equal(count, [3, 2])
    np.testing.assert_array_equal(count_high, [2, 1])


def test_estimators_share_their_bins(tmp_path):
    edge = answered(density_split.analyse(given(experiment(tmp_path))))["log_p_in_edge"].values
    np.testing.assert_array_equal(edge[0], edge[1])


def test_few_images_have_few_bins(rng):
    """Bins are a round number of nats wide, which may add one."""
    assert len(edges(rng.normal(-90, 20, (1, 150)))) - 1 <= 150 // 75 + 1
    assert 10 <= len(edges(rng.normal(-90, 20, (2, 60_000)))) - 1 <= 21


def test_nine_tenths_of_images_are_ordinary(rng):
    assert ordinary(rng.standard_normal(1000)).mean() == pytest.approx(0.9, abs=0.001)


def test_where_memorization_is_independent_of_density_nine_tenths_of_the_memorized_are_ordinary(tmp_path):
    found = answered(density_split.analyse(given(experiment(tmp_path, n=4000)))).sel(estimator="corrected")
    assert found["share_ordinary_low"] < 0.9 < found["share_ordinary_high"]
    assert found["spearman_low"] < 0 < found["spearman_high"]
    assert found["high"].sum() == 200
