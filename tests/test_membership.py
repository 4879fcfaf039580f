"""Designs against counts done by hand."""

import time

import numpy as np
import pytest

from engram.designs.membership import design, groups_of, models_of
from engram.designs.repeats import repeat_name
from engram.errors import UserError

ALONE = -1


def make(settings, train=103, test=20, group=None, seed=42, experiment="e"):
    split = np.repeat([0, 1], [train, test])
    group = np.full(train + test, ALONE) if group is None else np.concatenate([group, np.full(test, ALONE)])
    return design(settings, split, group, seed, experiment)


@pytest.mark.parametrize(("folds", "repeats"), [(2, 1), (5, 4), (10, 10), (103, 2)])
def test_every_training_image_is_held_out_once_in_each_repeat_by_folds_of_equal_size(folds, repeats):
    membership = make({"design": "k_fold", "folds": folds, "repeats": repeats})
    held_out = ~membership.in_training[:, :103].reshape(repeats, folds, 103)
    assert (held_out.sum(axis=1) == 1).all()
    assert np.ptp(held_out.sum(axis=2)) <= 1
    assert not membership.in_training[:, 103:].any()
    assert (membership.counted_as_in == membership.in_training).all()
    assert (membership.scored == (np.arange(123) < 103)).all()
    assert membership.repeat.tolist() == np.repeat(range(repeats), folds).tolist()
    assert membership.fold.tolist() == list(range(folds)) * repeats


def test_repeats_differ_and_do_not_depend_on_how_many_there_are():
    few = make({"design": "k_fold", "folds": 5, "repeats": 2})
    many = make({"design": "k_fold", "folds": 5, "repeats": 3})
    assert (many.in_training[:10] == few.in_training).all()
    assert (few.in_training[:5] != few.in_training[5:]).any()


@pytest.mark.parametrize("change", [{"seed": 43}, {"experiment": "other"}])
def test_seed_and_experiment_name_the_folds(change):
    settings = {"design": "k_fold", "folds": 5, "repeats": 1}
    assert (make(settings).in_training == make(settings).in_training).all()
    assert (make(settings).in_training != make(settings, **change).in_training).any()


def test_an_image_is_as_likely_to_be_in_one_fold_as_in_another():
    membership = make({"design": "k_fold", "folds": 4, "repeats": 2000}, train=6, test=0)
    held_out = (~membership.in_training).reshape(2000, 4, 6).sum(axis=0)
    assert (abs(held_out - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()


def test_half_splits_are_complementary():
    membership = make({"design": "half_split", "repeats": 3})
    first, second = membership.in_training[0::2, :103], membership.in_training[1::2, :103]
    assert (first == ~second).all()
    assert set(first.sum(axis=1)) <= {51, 52}


def test_leave_one_out_holds_out_one_image_a_model():
    membership = make({"design": "leave_one_out", "repeats": 1}, train=30)
    held_out = ~membership.in_training[:, :30]
    assert held_out.shape == (30, 30)
    assert (held_out.sum(axis=0) == 1).all() and (held_out.sum(axis=1) == 1).all()


def test_null_models_never_see_the_images_that_are_scored():
    membership = make({"design": "null", "folds": 5, "repeats": 4})
    assert membership.scored.sum() in (51, 52)
    assert not membership.in_training[:, membership.scored].any()
    seen = membership.in_training.any(axis=0)
    assert (seen[:103] == ~membership.scored[:103]).all()
    out = ~membership.counted_as_in[:, membership.scored].reshape(4, 5, -1)
    assert (out.sum(axis=1) == 1).all() and np.ptp(out.sum(axis=2)) <= 1


def test_groups_are_held_out_together_by_default():
    group = np.where(np.arange(103) < 24, np.arange(103) % 3, ALONE)  # three groups of eight
    membership = make({"design": "k_fold", "folds": 10, "repeats": 20}, group=group)
    for number in range(3):
        assert (np.ptp(membership.in_training[:, :103][:, group == number].astype(int), axis=1) == 0).all()
    held_out = ~membership.in_training[:, :103].reshape(20, 10, 103)
    assert (held_out.sum(axis=1) == 1).all() and np.ptp(held_out.sum(axis=2)) <= 1


def test_groups_are_spread_over_folds_when_apart():
    group = np.where(np.arange(103) < 8, 7, ALONE)
    membership = make({"design": "k_fold", "folds": 10, "repeats": 20, "groups": "apart"}, group=group)
    held_out = ~membership.in_training[:, :103].reshape(20, 10, 103)
    assert held_out[:, :, :8].sum(axis=2).max() == 1
    assert (held_out.sum(axis=1) == 1).all() and np.ptp(held_out.sum(axis=2)) <= 1


def test_null_sets_a_group_aside_as_a_whole():
    group = np.where(np.arange(103) < 10, 0, ALONE)
    for groups in ("together", "apart"):
        membership = make({"design": "null", "folds": 5, "repeats": 1, "groups": groups}, group=group)
        assert membership.scored[:10].sum() in (0, 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"design": "k_fold", "folds": 1, "repeats": 4}, "membership.folds: 1 "),
        ({"design": "k_fold", "folds": 104, "repeats": 4}, "membership.folds: 104 "),
        ({"design": "null", "folds": 52, "repeats": 4}, "membership.folds: 52 "),
        ({"design": "k_fold", "repeats": 4}, "membership.folds: None "),
        ({"design": "k_fold", "folds": 5, "repeats": 0}, "membership.repeats: 0 "),
        ({"design": "kfold", "folds": 5, "repeats": 4}, "membership.design: 'kfold' "),
        ({"design": "k_fold", "folds": 5, "repeats": 4, "groups": "split"}, "membership.groups: 'split' "),
    ],
)
def test_settings_that_cannot_be_met_are_refused_by_name_and_value(settings, message):
    with pytest.raises(UserError, match=rf"^experiments\.e\.{message}"):
        make(settings)


@pytest.mark.parametrize(
    ("name", "images", "needed"), [("k_fold", 1, 2), ("half_split", 1, 2), ("leave_one_out", 1, 2), ("null", 3, 4)]
)
def test_a_design_says_how_many_training_images_it_needs(name, images, needed):
    settings = {"design": name, "folds": 2, "repeats": 1}
    few = rf"^experiments\.e\.membership\.design: {name} needs {needed} training images or more, not {images}$"
    with pytest.raises(UserError, match=few):
        design(settings, np.zeros(images), np.full(images, -1), 1, "e")
    assert len(design(settings, np.zeros(needed), np.full(needed, -1), 1, "e").fold) == 2


def test_a_group_larger_than_a_fold_is_refused():
    with pytest.raises(UserError, match="group 3 has 50 images"):
        make({"design": "k_fold", "folds": 5, "repeats": 1}, group=np.where(np.arange(103) < 50, 3, ALONE))


def test_sixty_thousand_images_and_a_hundred_models_take_less_than_a_second():
    started = time.perf_counter()
    make({"design": "k_fold", "folds": 10, "repeats": 10}, train=60_000, test=10_000)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("design_name", ["k_fold", "half_split", "null"])
def test_a_repeat_alone_has_the_rows_that_it_has_among_others(design_name):
    settings, split = {"design": design_name, "folds": 5}, np.repeat([0, 1], [103, 20])
    group = np.full(123, ALONE)
    everything = design(settings | {"repeats": 3}, split, group, 42, "e")
    for number in range(3):
        folds, in_training, _ = models_of(repeat_name(number), settings, split, group, 42, "e")
        mine = everything.repeat == number
        assert (folds == everything.fold[mine]).all() and (in_training == everything.in_training[mine]).all()


def test_the_full_model_is_trained_on_all_training_images_and_holds_out_no_fold():
    split = np.repeat([0, 1], [103, 20])
    folds, in_training, _ = models_of("full", {"design": "k_fold", "folds": 5}, split, np.full(123, ALONE), 42, "e")
    assert folds.tolist() == [-1] and (in_training == [split == 0]).all()


def test_copies_are_held_out_together_where_groups_come_from_duplicates(rng):
    images = rng.integers(0, 256, (40, 16)).astype(np.uint8)
    images[20:30] = images[:10]
    images[30] = np.where(images[5] > 100, images[5] - 1, images[5] + 1)  # a near copy of both 5 and 25
    nobody, split = np.full(40, ALONE), np.zeros(40, int)
    assert groups_of({}, images, nobody) is nobody
    exact = groups_of({"groups_from": "duplicates"}, images, nobody)
    assert (exact[:10] == exact[20:30]).all() and exact[30] == ALONE
    near = groups_of({"groups_from": "duplicates", "duplicate_distance": 1}, images, nobody)
    assert near[5] == near[25] == near[30] != ALONE
    given = np.where(np.isin(np.arange(40), (5, 39)), 7, ALONE)
    both = groups_of({"groups_from": "duplicates"}, images, given)
    assert both[5] == both[25] == both[39] != ALONE
    membership = design({"design": "k_fold", "folds": 5, "repeats": 3}, split, exact, 42, "e")
    assert (membership.in_training[:, :10] == membership.in_training[:, 20:30]).all()


@pytest.mark.parametrize(("size", "count", "folds"), [(2, 27, 5), (3, 10, 4), (5, 4, 4), (4, 3, 2)])
def test_groups_that_do_not_fill_folds_evenly_are_held_out_together_all_the_same(size, count, folds):
    group = np.concatenate([np.repeat(np.arange(count), size), [ALONE]])
    membership = design({"design": "k_fold", "folds": folds, "repeats": 3}, np.zeros(len(group), int), group, 42, "e")
    held_out = ~membership.in_training.reshape(3, folds, -1)
    assert (held_out.sum(axis=1) == 1).all()
    assert held_out.any(axis=2).all() and np.ptp(held_out.sum(axis=2), axis=1).max() <= size
    for number in range(count):
        assert (np.ptp(held_out[:, :, group == number].astype(int), axis=2) == 0).all()
