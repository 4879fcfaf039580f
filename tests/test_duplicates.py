"""Duplicates against comparing every pair with every other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.datasets import duplicates
from engram.datasets.duplicates import groups, joined


def slow_groups(images, distance):
    """Chains of pairs within the distance, pair by pair."""
    n = len(images)
    near = abs(images[:, None].astype(int) - images[None]).mean(axis=2) <= distance
    group = list(range(n))
    for a in range(n):
        for b in range(n):
            if near[a, b]:
                old, new = max(group[a], group[b]), min(group[a], group[b])
                group = [new if number == old else number for number in group]
    return named([number if group.count(number) > 1 else -1 for number in group])


def named(group):
    order = [number for number in dict.fromkeys(group) if number >= 0]
    return [order.index(number) if number >= 0 else -1 for number in group]


@pytest.mark.parametrize("distance", [0, 0.5, 3, 20])
@pytest.mark.parametrize("pixels", [1, 5, 64])
def test_groups_are_those_of_all_pairs(rng, pixels, distance, monkeypatch):
    monkeypatch.setattr(duplicates, "ROWS", 7)
    monkeypatch.setattr(duplicates, "WINDOW", 11)
    monkeypatch.setattr(duplicates, "PAIRS", 3)
    base = rng.integers(0, 256, (60, pixels))
    images = (
        np.concatenate([base, base[:20] + rng.integers(-2, 3, (20, pixels)), base[10:15]]).clip(0, 255).astype(np.uint8)
    )
    images = images[rng.permutation(len(images))]
    assert groups(images, distance).tolist() == slow_groups(images, distance)


def test_a_distance_on_the_limit_counts():
    images = np.array([[0, 0, 0, 0], [8, 0, 0, 0], [8, 8, 1, 0]], np.uint8)
    assert groups(images, 1.99).tolist() == [-1, -1, -1]
    assert groups(images, 2).tolist() == [0, 0, -1]
    assert groups(images, 2.25).tolist() == [0, 0, 0]  # the ends differ by more, but a chain connects them


def test_levels_do_not_wrap_around():
    assert groups(np.array([[255, 0], [0, 255]], np.uint8), 100).tolist() == [-1, -1]


def test_one_image_and_none_have_no_copies():
    assert groups(np.zeros((1, 4), np.uint8), 9).tolist() == [-1]
    assert groups(np.zeros((0, 4), np.uint8), 9).tolist() == []


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), min_size=1, max_size=12))
def test_joined_groups_hold_together_what_either_does(pairs):
    one, other = np.array(pairs).T
    both = joined(one, other)
    reached = np.array([[(a == b >= 0) for b in one] for a in one]) | np.array(
        [[(a == b >= 0) for b in other] for a in other]
    )
    reached |= np.eye(len(one), dtype=bool)
    for _ in range(len(one)):
        reached = reached @ reached
    for i in range(len(one)):
        for j in range(len(one)):
            assert reached[i, j] == (i == j or both[i] == both[j] >= 0)
