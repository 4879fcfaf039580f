"""Copies that were planted are found, within the training set and across the split, and no others."""

import logging
import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text
from scipy.spatial.distance import cdist

from engram.analyses import duplicates as analysis
from engram.analyses.inputs import Inputs
from engram.datasets import closest_pairs
from engram.datasets.closest_pairs import closest
from engram.figures.duplicates import duplicates as draw
from engram.report import copies

TRAIN, TEST, PIXELS = 30, 12, 64


def data(images, train=TRAIN, shape=(1, 8, 8), **more):
    split = np.arange(len(images)) >= train
    variables = {"images": (("sample", "pixel"), images), "split": ("sample", split.astype(np.int8))}
    variables |= {"label": ("sample", np.arange(len(images)) % 3)} | more
    return xr.Dataset(variables, attrs={"image_shape": shape, "label_names": ["a", "b", "c"], "dataset": "made_up"})


def asked(dataset):
    """The artifact that the analysis would write."""
    answer = analysis.analyse(Inputs("made_up", 1, {}, dataset))
    return xr.Dataset(dict(answer.variables), attrs=dict(answer.summary))


@pytest.fixture
def images(rng):
    """Random images, of which no two are alike."""
    return rng.integers(0, 256, (TRAIN + TEST, PIXELS)).astype(np.uint8)


@pytest.fixture
def planted(images):
    """3 and 7 are equal; 10, 11, 12 are a chain of steps of 0.5, whose ends are 1 apart; test image 35 is training image 20
    but for 0.25 grey levels, test image 36 equals 3 and 7."""
    images[7] = images[3]
    images[10] = 100
    images[11:13] = images[10]
    images[11:13, :32] += 1
    images[12, 32:] += 1
    images[35] = images[20]
    images[35, :16] ^= 1
    images[36] = images[3]
    return data(images)


def test_planted_copies_are_found_with_their_groups_and_distances(planted):
    found = asked(planted)
    group = np.full(TRAIN + TEST, -1)
    group[[3, 7]], group[[10, 11, 12]] = 0, 1
    assert found["copy_group"].values.tolist() == group.tolist()
    in_training = {3: (7, 0), 7: (3, 0), 10: (11, 0.5), 11: (10, 0.5), 12: (11, 0.5), 35: (20, 0.25), 36: (3, 0)}
    in_test = {3: (36, 0), 7: (36, 0), 20: (35, 0.25)}
    for part, expected in (("training", in_training), ("test", in_test)):
        copy, distance = found[f"copy_in_{part}"].values, found[f"distance_in_{part}"].values
        assert {i: (copy[i], distance[i]) for i in np.flatnonzero(copy >= 0)} == expected
        assert (np.isnan(distance) == (copy == -1)).all()


def test_what_is_counted_is_what_was_planted(planted):
    assert asked(planted).attrs == {
        "near_distance": 0.5,
        "training_with_copy": 5,
        "training_with_equal": 2,
        "groups_of_copies": 2,
        "largest_group": 3,
        "test_with_copy_in_training": 2,
        "test_with_equal_in_training": 1,
    }


def test_two_training_images_are_no_group_because_a_test_image_lies_between_them(images):
    images[40] = images[0]
    images[40, :32] ^= 1
    images[1] = images[40]
    images[1, 32:] ^= 1
    found = asked(data(images))
    assert (found["copy_group"] == -1).all()
    assert found["copy_in_training"].values[[0, 1, 40]].tolist() == [-1, -1, 0]
    assert found["copy_in_test"].values[[0, 1]].tolist() == [40, 40]


def test_random_images_have_no_copies_and_the_closest_pairs_are_shown_all_the_same(images):
    found = asked(data(images))
    assert not {name: value for name, value in found.attrs.items() if name != "near_distance" and value}
    assert (found["copy_in_training"] == -1).all() and (found["copy_in_test"] == -1).all()
    distance = cdist(images, images, "cityblock") / PIXELS
    for across, block in enumerate(
        (distance[:TRAIN, :TRAIN][np.triu_indices(TRAIN, 1)], distance[:TRAIN, TRAIN:].ravel())
    ):
        shown = found.isel(pair=found["pair_across"].values == across)
        assert shown["pair_distance"].values == pytest.approx(np.sort(block)[: analysis.SHOWN])
        assert shown["pair_distance"].values == pytest.approx(distance[shown["pair_one"], shown["pair_other"]])
        assert (shown["pair_copies"] == 0).all()


def test_another_order_of_the_images_finds_the_same(planted, rng):
    order = np.concatenate([rng.permutation(TRAIN), TRAIN + rng.permutation(TEST)])
    found, moved = asked(planted), asked(planted.isel(sample=order))
    assert found.attrs == moved.attrs
    for name in ("distance_in_training", "distance_in_test"):
        np.testing.assert_array_equal(moved[name], found[name].values[order])
    for one in range(TRAIN):
        group, same = found["copy_group"].values[order], moved["copy_group"].values
        assert ((group == group[one]) == (same == same[one])).all()
    np.testing.assert_array_equal(moved["pair_distance"], found["pair_distance"])
    np.testing.assert_array_equal(moved["pair_copies"], found["pair_copies"])


@pytest.mark.parametrize("levels", [2, 3, 256])
def test_nearest_copies_are_those_of_all_pairs(rng, levels, monkeypatch):
    monkeypatch.setattr(analysis, "ROWS", 3)
    images = rng.integers(0, levels, (60, 4)).astype(np.uint8)
    found = asked(data(images, train=40, shape=(1, 2, 2)))
    distance = cdist(images, images, "cityblock") / 4
    np.fill_diagonal(distance, np.inf)
    for part, columns in (("training", slice(0, 40)), ("test", slice(40, 60))):
        nearest = distance[:, columns].min(axis=1)
        is_copy = nearest <= analysis.NEAR
        expected = np.where(is_copy, distance[:, columns].argmin(axis=1) + columns.start, -1)
        np.testing.assert_array_equal(found[f"copy_in_{part}"], expected)
        np.testing.assert_array_equal(found[f"distance_in_{part}"], np.where(is_copy, nearest, np.nan))


@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("beyond", [-1, 0, 0.5])
def test_the_closest_pairs_are_those_of_all_pairs_in_blocks_of_any_size(rng, levels, beyond, monkeypatch):
    monkeypatch.setattr(closest_pairs, "ROWS", 7)
    monkeypatch.setattr(closest_pairs, "COLUMNS", 11)
    monkeypatch.setattr(closest_pairs, "PAIRS", 3)
    images, others = (rng.integers(0, levels, (n, 20)).astype(np.uint8) for n in (40, 25))
    for columns in (None, others):
        distance = cdist(images, images if columns is None else columns, "cityblock") / 20
        if columns is None:
            distance[np.tril_indices(40)] = np.inf
        one, other = np.nonzero((distance > beyond) & np.isfinite(distance))
        best = sorted(zip(distance[one, other], one, other, strict=True))[:9]
        pairs = closest(images, columns, 9, beyond)
        assert list(zip(pairs.distance, pairs.one, pairs.other, strict=True)) == best


def test_there_are_fewer_pairs_where_there_are_fewer_images():
    images = np.array([[0, 0], [9, 9], [0, 2]], np.uint8)
    assert closest(images, None, 7).distance.tolist() == [1, 8, 9]
    assert closest(images[:1], None, 7).distance.tolist() == closest(images, images[:0], 7).distance.tolist() == []


def test_many_equal_images_are_one_pair_of_one_group_and_cost_no_comparison(monkeypatch):
    monkeypatch.setattr(analysis, "cdist", None)
    found = asked(data(np.full((3000, PIXELS), 9, np.uint8), train=2000))
    assert found.attrs["training_with_equal"] == 2000 and found.attrs["largest_group"] == 2000
    assert found["pair_one"].values.tolist() == [0, 0] and found["pair_other"].values.tolist() == [1, 2000]
    assert found["pair_copies"].values.tolist() == [2000, 3000]


def test_the_largest_groups_are_shown_first_and_each_once(images):
    images[1:3], images[5] = images[0], images[4]
    images[5, 0] ^= 1
    found = asked(data(images))
    pairs = found.isel(pair=slice(0, 2))
    assert pairs["pair_one"].values.tolist() == [0, 4] and pairs["pair_other"].values.tolist() == [1, 5]
    assert found["pair_copies"].values.tolist() == [3, 2] + [0] * 12


def test_a_leak_is_told_to_the_terminal_and_its_absence_is_not(planted, images, caplog):
    with caplog.at_level(logging.WARNING):
        asked(planted)
        assert [record.getMessage() for record in caplog.records] == [
            "made_up: 2 of 12 test images are copies of training images, up to 0.5 grey levels apart: models are trained on them"
        ]
        caplog.clear()
        asked(planted.isel(sample=slice(0, TRAIN)))
        assert not caplog.records


def texts(dataset):
    return [text.get_text() for text in draw(asked(dataset), dataset).findobj(Text) if text.get_text()]


def test_the_figure_names_both_images_of_a_pair_and_tells_copies_from_others(planted):
    shown = texts(planted)
    assert {"train 3\na", "train 7\nb", "test 36\na", "copies, 0.50\n3 in all", "equal\n3 in all", "copies, 0.25"} <= {
        *shown
    }
    assert sum("cop" in text or "equal" in text for text in shown) == 4
    assert sum(re.fullmatch(r"\d+\.\d\d", text) is not None for text in shown) == 14 - 4


@pytest.mark.parametrize("train", [1, 2, 42])
def test_the_figure_leaves_out_what_there_is_none_of(images, train):
    images = images[: max(train, 2)]
    titles = {"Two training images": train > 1, "A training and a test image": train < len(images)}
    shown = texts(data(images, train))
    assert {title: title in shown for title in titles} == titles


def test_the_figure_calls_the_users_own_images_by_their_files(planted):
    paths = np.array([f"photos/{i:03d}.png" for i in range(TRAIN + TEST)], dtype=object)
    assert "003\ntrain 3\na" in texts(planted.assign(path=("sample", paths)))


def told(dataset, in_training):
    found, split = asked(dataset), dataset["split"].values
    return copies.sentences(found, split, in_training), copies.leak(found, split)


def test_the_report_says_how_copies_are_held_out_and_warns_of_a_leak(planted):
    fold = np.arange(TRAIN + TEST) % 5
    apart = (fold != np.arange(5)[:, None])[:, :TRAIN]
    fold[[3, 7]], fold[[10, 11, 12]] = 0, 1
    together = fold != np.arange(5)[:, None]
    sentence, caution = told(planted, together)
    assert sentence.startswith(
        "5 of 30 training images are copies of one another (up to 0.5 grey levels of 255 apart in the mean; 2 "
    )
    assert "in 2 groups of at most 3. Copies are held out together" in sentence
    assert "in 2 groups of at most 3. Copies are held out apart" in told(planted, apart)[0]
    apart[:, 7] = apart[:, 3]
    assert "The copies of 1 of 2 groups are held out apart" in told(planted, apart)[0]
    assert len(caution) == 1 and caution[0].startswith("2 of 12 test images are copies of training images.")


def test_the_report_says_that_there_are_no_copies(images):
    sentence, caution = told(data(images), np.ones((2, TRAIN + TEST), bool))
    assert sentence.startswith("No training image is a copy of another (") and not caution
    assert sentence.endswith("and no test image is a copy of a training image.")
