"""Round bins: the paper's widths for the paper's ranges, and every value inside."""

import numpy as np
import pytest

from engram.analyses.bins import round_edges


@pytest.mark.parametrize(
    "low, high, width", [(-158, -32, 10), (-16_900, -11_100, 500), (-0.4, 1.3, 0.1), (0, 20, 1), (0, 20.1, 2)]
)
def test_bins_have_round_edges(low, high, width):
    """The first two are the ranges of U on MNIST and on CelebA, and the paper's widths."""
    edges = round_edges(np.array([low, high]), 20, outer=0)
    np.testing.assert_allclose(np.diff(edges), width)
    np.testing.assert_allclose(edges / width, np.round(edges / width), atol=1e-9)
    assert edges[0] <= low < edges[1] and edges[-2] < high <= edges[-1]


def test_a_share_of_outliers_does_not_widen_the_bins(rng):
    values = np.concatenate([rng.uniform(0, 10, 990), [-1e6] * 5, [1e6] * 5])
    edges = round_edges(values, 10, outer=0.01)
    assert edges[0] == 0 and edges[-1] == 10 and len(edges) == 11


def test_equal_values_have_one_bin():
    np.testing.assert_array_equal(round_edges(np.full(7, 3.0), 20, outer=0.005), [3, 4])
