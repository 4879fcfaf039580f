"""engram.datasets.sampling: proportions are exact, draws are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engram.datasets import sampling
from engram.datasets.image_set import from_source
from engram.errors import UserError

BILINEAR = Image.Resampling.BILINEAR


def labelled(labels, split=None):
    labels = np.asarray(labels)
    split = np.zeros(len(labels)) if split is None else np.asarray(split)
    return from_source(np.arange(len(labels), dtype=np.uint8)[:, None], (1, 1, 1), labels, split, [], "a test")


def test_shares_worked_by_hand():
    np.testing.assert_array_equal(sampling.apportion(np.array([500, 500]), 100), [50, 50])
    np.testing.assert_array_equal(
        sampling.apportion(np.array([5, 3, 2]), 5), [3, 1, 1]
    )  # 2.5, 1.5, 1: a tie, to the first
    np.testing.assert_array_equal(sampling.apportion(np.array([70, 20, 10]), 4), [3, 1, 0])  # 2.8, 0.8, 0.4


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=12), st.data())
def test_shares_sum_to_the_size_and_lie_within_one_of_the_exact_share(counts, data):
    size = data.draw(st.integers(0, sum(counts)))
    shares = sampling.apportion(np.array(counts), size)
    assert shares.sum() == size
    assert (shares <= counts).all()
    assert (np.abs(shares - size * np.array(counts) / sum(counts)) < 1).all()


def test_a_stratified_draw_takes_different_images_in_exact_proportions(rng):
    labels = np.repeat([0, 1, 2, -1], [40, 30, 20, 10])
    drawn = sampling.stratified_draw(labels, 50, rng)
    assert len(set(drawn.tolist())) == 50
    np.testing.assert_array_equal(np.unique(labels[drawn], return_counts=True)[1], [5, 20, 15, 10])


def test_a_draw_is_in_random_order_so_that_its_start_holds_all_classes(rng):
    labels = np.repeat(np.arange(10), 100)
    assert set(labels[sampling.stratified_draw(labels, 900, rng)][:100]) == set(range(10))


def test_splitting_off_a_test_set_keeps_every_image_once_and_training_images_first():
    whole = labelled(np.repeat([0, 1], [30, 20]))
    split = sampling.split_off_test(whole, 10, (1, "a"))
    np.testing.assert_array_equal(np.sort(split.source_index), np.arange(50))
    np.testing.assert_array_equal(split.images[:, 0], split.source_index)
    np.testing.assert_array_equal(split.split, [0] * 40 + [1] * 10)
    assert (split.labels[40:] == 1).sum() == 4


def test_draws_depend_on_the_name_of_the_stream_alone():
    whole = labelled(np.zeros(200, int))
    one, again, other = (sampling.split_off_test(whole, 50, (1, name)).source_index for name in ("a", "a", "b"))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_subset_draws_each_split_from_its_own_and_keeps_the_source_index():
    whole = labelled([0, 1] * 50, split=[0] * 60 + [1] * 40)
    part = sampling.subset(whole, "mine", {"train": 20, "test": 10}, (1, "mine"))
    assert (part.source_index[:20] < 60).all() and (part.source_index[20:] >= 60).all()
    np.testing.assert_array_equal(part.images[:, 0], part.source_index)
    assert part.labels[:20].sum() == 10 and part.labels[20:].sum() == 5


def test_a_subset_without_sizes_is_everything():
    whole = labelled([0, 1] * 5, split=[0] * 6 + [1] * 4)
    assert sampling.subset(whole, "mine", {}, (1, "mine")).split.tolist() == [0] * 6 + [1] * 4


def test_a_subset_with_an_image_size_holds_the_same_images_made_smaller(rng):
    coarse = rng.integers(0, 256, (10, 2, 3, 3), dtype=np.uint8)
    fine = coarse.repeat(2, axis=2).repeat(2, axis=3)
    whole = from_source(fine, (2, 6, 6), np.zeros(10), np.repeat([0, 1], [6, 4]), [], "a test")
    part = sampling.subset(whole, "mine", {"train": 4, "test": 2, "image_size": 1}, (1, "mine"))
    same = sampling.subset(whole, "mine", {"train": 4, "test": 2}, (1, "mine"))
    np.testing.assert_array_equal(part.source_index, same.source_index)
    assert part.image_shape == (2, 1, 1) and part.source.endswith("a test, resized to 1 x 1")
    by_hand = [
        [Image.fromarray(plane).resize((1, 1), BILINEAR).getpixel((0, 0)) for plane in fine[i]]
        for i in part.source_index
    ]
    np.testing.assert_array_equal(part.images, by_hand)
    flat = from_source(
        np.full((10, 1, 6, 6), 77, np.uint8), (1, 6, 6), np.zeros(10), np.repeat([0, 1], [6, 4]), [], "a test"
    )
    small = sampling.subset(flat, "mine", {"image_size": 4}, (1, "mine"))
    np.testing.assert_array_equal(small.images, np.full((10, 16), 77))


@pytest.mark.parametrize(("train", "test", "key"), [(0, 2, "train"), (7, 2, "train"), (3, 5, "test"), (3, -1, "test")])
def test_a_subset_larger_than_what_there_is_is_one_clear_line(train, test, key):
    whole = labelled([0] * 10, split=[0] * 6 + [1] * 4)
    with pytest.raises(UserError, match=rf"^datasets\.mine\.{key}: is -?\d, must be 1 to [64]"):
        sampling.subset(whole, "mine", {"train": train, "test": test}, (1, "mine"))
