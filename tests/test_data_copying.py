"""C_T against hand cases, scipy's U, its null by simulation, and kernel density estimates whose bandwidth says what they copy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import kstest, mannwhitneyu

from engram.analyses.data_copying import cells_of, data_copying, z_score
from engram.analyses.principal_axes import on_principal_axes


def points(*values) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def in_one_cell(rows) -> tuple:
    return rows, np.zeros(len(rows), dtype=int)


def one_cell(fresh, samples, training):
    return data_copying(in_one_cell(fresh), in_one_cell(samples), in_one_cell(training), fewest=1)


def in_cells(fresh, samples, training, fewest=20):
    cells = cells_of(training, fresh, samples, rng=np.random.default_rng(1))
    return data_copying((fresh, cells[1]), (samples, cells[2]), (training, cells[0]), fewest)


@pytest.mark.parametrize(
    ("samples", "c_t"),
    [((4, 5), 2.0207259), ((0.1, 0.2), -1.4433757), ((1, 2, 3), 0.2182179)],
    ids=["far", "near", "equal"],
)
def test_z_scores_by_hand(samples, c_t):
    """Of 1, 2, 3 against samples, with training images at 0 and 100; the last is the continuity correction alone."""
    found = one_cell(points(1, 2, 3), points(*samples), points(0, 100))
    assert found.c_t == pytest.approx(c_t, abs=1e-7)
    assert found.z == pytest.approx([c_t], abs=1e-7)


def test_a_thousand_copies_against_a_thousand_fresh_images():
    assert z_score(np.ones(1000), np.zeros(1000)) == pytest.approx(-38.7201, abs=1e-4)


def test_one_cell_is_scipys_test_of_ranks(rng):
    """Its p-value is that of the asymptotic U test with continuity correction and, in the deviation, correction for ties."""
    fresh, samples, training = (rng.integers(0, 40, size=(n, 2)) for n in (80, 90, 50))
    found = one_cell(fresh, samples, training)
    distances = [cdist(part, training).min(axis=1) for part in (samples, fresh)]
    expected = mannwhitneyu(*distances, alternative="less", method="asymptotic")
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.null_deviation < 1


def test_cells_are_weighted_by_fresh_images_and_those_with_few_are_left_out():
    cells = np.repeat([0, 1, 2], [3, 2, 2])
    fresh = points(1, 2, 3, 101, 102, 201, 202), cells
    samples = points(4, 5, 100.1, 100.2, 200.5), np.array([0, 0, 1, 1, 2])
    training = points(0, 100, 200), np.arange(3)
    found = data_copying(fresh, samples, training, fewest=2)
    z = [2.0207259, (0 - 1.5) / np.sqrt(20 / 12), np.nan]
    np.testing.assert_allclose(found.z, z, atol=1e-7)
    assert found.c_t == pytest.approx((3 * z[0] + 2 * z[1]) / 5)
    assert found.null_deviation == pytest.approx(np.sqrt(3**2 + 2**2) / 5)
    np.testing.assert_array_equal(found.samples, [2, 2, 1])
    np.testing.assert_array_equal(found.fresh, [3, 2, 2])


def test_nothing_is_said_where_no_cell_has_enough():
    found = data_copying(*map(in_one_cell, (points(1, 2), points(3), points(0))), fewest=2)
    assert np.isnan([found.c_t, found.null_deviation, found.p_value, *found.z]).all()


def test_equal_distances_are_no_evidence():
    """Of training images alone, all at distance 0: the deviation is 0, too, and nothing is nearer."""
    found = one_cell(points(0, 1, 2), points(2, 0, 1), points(0, 1, 2))
    assert (found.null_deviation, found.p_value) == (0, 1)


def test_without_copying_c_t_has_mean_0_the_stated_deviation_and_uniform_p_values():
    rng = np.random.default_rng(11)
    training = rng.normal(size=(100, 2))
    found = [in_cells(*(rng.normal(size=(n, 2)) for n in (120, 150)), training) for _ in range(300)]
    standardized = np.array([each.c_t / each.null_deviation for each in found])
    assert abs(standardized.mean()) < 3.5 / np.sqrt(300) + 0.02  # 0.02: the continuity correction
    assert standardized.std() == pytest.approx(1, abs=3.5 / np.sqrt(600))
    assert kstest([each.p_value for each in found], "uniform").pvalue > 0.01
    assert all(0.5 < each.null_deviation < 0.7 for each in found)


def moons(n, rng) -> np.ndarray:
    """Two interleaved half circles with noise."""
    angle, lower = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle))
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle))
    return np.column_stack([x, y]) + 0.2 * rng.normal(size=(n, 2))


def test_on_two_moons_the_sign_changes_near_the_bandwidth_of_maximum_likelihood():
    """As the paper has it: kernel density estimates copy below the best bandwidth, and under-fit above."""
    rng = np.random.default_rng(5)
    training, fresh = moons(1000, rng), moons(1000, rng)
    bandwidths = np.geomspace(0.02, 0.6, 18)
    squared = cdist(training, training, "sqeuclidean")
    np.fill_diagonal(squared, np.inf)
    left_out = [(logsumexp(-squared / (2 * h**2), axis=1) - 2 * np.log(h)).mean() for h in bandwidths]
    best = bandwidths[np.argmax(left_out)]
    noise, chosen = rng.normal(size=(1000, 2)), training[rng.integers(1000, size=1000)]
    c_t = np.array([in_cells(fresh, chosen + h * noise, training).c_t for h in bandwidths])
    crossing = bandwidths[np.argmax(c_t > 0)]
    assert c_t[0] < -8 and c_t[-1] > 5
    assert 0.6 < crossing / best < 1.7


def test_training_images_that_are_there_twice_change_nothing(rng):
    fresh, samples, training = (rng.normal(size=(n, 3)) for n in (60, 70, 50))
    samples[:35] = training[:35]
    once = one_cell(fresh, samples, training)
    twice = one_cell(fresh, samples, np.concatenate([training, training]))
    assert twice.c_t == once.c_t < -3
    cells = cells_of(training, fresh, samples, rng=rng)
    assert [len(np.unique(cell)) for cell in cells] == [3, 3, 3]


def test_the_order_of_images_changes_nothing(rng):
    parts = [(rng.normal(size=(n, 3)), rng.integers(3, size=n)) for n in (60, 70, 50)]
    orders = [rng.permutation(len(cell)) for _, cell in parts]
    shuffled = [(rows[order], cell[order]) for (rows, cell), order in zip(parts, orders, strict=True)]
    one, other = (data_copying(*sets, fewest=5) for sets in (parts, shuffled))
    assert one.c_t == pytest.approx(other.c_t)


def test_principal_axes_keep_distances_of_rows_in_64_dimensions(rng):
    """300 rows in a 20-dimensional subspace of 100 dimensions, and 64 of 90 axes that hold all but a little of the variance."""
    within = (rng.normal(size=(300, 20)) @ rng.normal(size=(20, 100)) + 5).astype(np.float32)
    axes = on_principal_axes(within[:200], within[200:])
    assert [rows.shape for rows in axes] == [(200, 20), (100, 20)]
    np.testing.assert_allclose(cdist(*axes), cdist(within[:200], within[200:]), rtol=1e-4)
    rows = (rng.normal(size=(200, 90)) * np.where(np.arange(90) < 64, 3, 0.01)).astype(np.float32)
    reduced = on_principal_axes(rows)[0]
    centred = rows - rows.mean(axis=0)
    spread = np.linalg.svd(centred.astype(float), compute_uv=False)[:64]
    np.testing.assert_allclose(np.sort(np.linalg.norm(reduced, axis=0))[::-1], spread, rtol=1e-4)
    np.testing.assert_array_equal(reduced, on_principal_axes(rows)[0])
