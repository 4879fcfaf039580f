"""Data sets with planted canaries: what stands where, how often, and that nothing else has changed."""

import json

import numpy as np
import pytest
from PIL import Image

from engram import datasets
from engram.datasets import canaries, summary
from engram.datasets.image_set import from_source
from engram.datasets.known import images_of, modules_of, number_planted, with_source
from engram.designs.membership import design, groups_in
from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import TEST, TRAIN

FEW = {"canaries_of": "pool", "doses": [1, 3, 5], "copies": 4, "near_copies": 6, "outliers": 3, "noise": 2}
PLANTED, MORE = 3 * 4 + 6 + 3 + 2, 4 * (0 + 2 + 4) + 6


@pytest.fixture(params=[(1, 6, 6), (3, 5, 7), (1, 1, 9)], ids=["grey", "colour", "a line"])
def pool(request, rng):
    """60 images to train on and 20 to test with, all different but for the first two."""
    shape = request.param
    images = rng.integers(0, 256, (80, *shape), dtype=np.uint8)
    images[1] = images[0]
    split = np.repeat([TRAIN, TEST], [60, 20])
    return from_source(images, shape, np.arange(80) % 4, split, list("abcd"), "a pool")


def planted_in(pool, definition=FEW, name="mine"):
    return canaries.plant(pool, name, definition, (1, "dataset", name))


def rows_of(image_set):
    return [image.tobytes() for image in image_set.images]


def test_as_many_images_of_each_kind_stand_there_as_often_as_asked_for(pool):
    planted = planted_in(pool)
    kinds, counts = np.unique(planted.canary, return_counts=True)
    assert dict(zip(kinds, counts, strict=True)) == {
        "": 80 - PLANTED,
        "copy": 4 * (1 + 3 + 5),
        "near copy": 12,
        "outlier": 3,
        "noise": 2,
    }
    assert len(planted.images) == 80 + MORE and (planted.split == TEST).sum() == 20
    numbers = planted.source_index[planted.canary == "copy"]
    times = np.bincount(numbers)[numbers]
    np.testing.assert_array_equal(times, planted.dose[planted.canary == "copy"])
    assert sorted(np.bincount(numbers)[np.unique(numbers)].tolist()) == [1] * 4 + [3] * 4 + [5] * 4
    np.testing.assert_array_equal(planted.dose[planted.canary == ""], 0)
    np.testing.assert_array_equal(planted.dose[planted.canary == "near copy"], 2)
    assert set(planted.dose[np.isin(planted.canary, ["outlier", "noise"])].tolist()) == {1}


def test_copies_are_equal_near_copies_nearly_so_outliers_negatives_and_noise_like_nothing(pool):
    planted, before = planted_in(pool), pool.images.reshape(-1, *pool.image_shape)
    after = planted.images.reshape(-1, *pool.image_shape)
    _, height, width = pool.image_shape
    for image, index, kind in zip(after, planted.source_index, planted.canary, strict=True):
        original = before[index].astype(int)
        if kind in ("", "copy"):
            np.testing.assert_array_equal(image, original)
        elif kind == "outlier":
            np.testing.assert_array_equal(image.astype(int) + original[:, ::-1], 255)
        elif kind == "near copy" and (image != original).any():
            framed = np.pad(original, ((0, 0), (1, 1), (1, 1)), mode="edge")
            shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
            apart = [abs(image - framed[:, y : y + height, x : x + width]).max() for y, x in shifts]
            assert min(apart) <= canaries.LEVELS
    near = [after[planted.source_index == index] for index in planted.source_index[planted.canary == "near copy"]]
    assert all(len(pair) == 2 and (pair[0] != pair[1]).any() for pair in near)
    noise = planted.images[planted.canary == "noise"]
    assert not {image.tobytes() for image in noise} & {*rows_of(pool)}


def test_the_test_images_stay_and_nothing_planted_is_among_them(pool):
    planted = planted_in(pool)
    assert rows_of(planted)[-20:] == rows_of(pool)[-20:]
    assert set(planted.canary[planted.split == TEST]) == {""}
    assert not {*rows_of(planted)[:-20]} & {*rows_of(pool)[-20:]}
    assert set(planted.split[:-20]) == {TRAIN}


def test_an_image_that_has_an_equal_already_is_not_planted(pool):
    definition = FEW | {"doses": [1], "copies": 58 - 12, "near_copies": 5}
    planted = planted_in(pool, definition)  # all but one of the 58 that stand once, and never the two that are equal
    assert number_planted(definition) == 56
    assert all((planted.canary[planted.source_index == index] == "").all() for index in (0, 1))


def test_versions_of_an_image_share_a_group_which_no_other_image_has(pool):
    planted = planted_in(pool)
    several = planted.dose > 1
    assert (planted.group[~several] == -1).all()
    by_group = {group: planted.source_index[planted.group == group] for group in np.unique(planted.group[several])}
    assert len(by_group) == 4 + 4 + 6
    assert all(len(set(members.tolist())) == 1 for members in by_group.values())


def test_groups_of_the_source_stay_and_their_images_are_not_planted(pool):
    group = np.where(np.arange(80) < 20, np.arange(80) // 2, -1)
    planted = planted_in(pool.take(np.arange(80), group=group))
    ordinary = planted.canary == ""
    old = planted.source_index < 20
    assert ordinary[old].all()
    np.testing.assert_array_equal(planted.group[old], planted.source_index[old] // 2)
    assert planted.group[planted.dose > 1].min() == 10


def test_the_same_name_plants_the_same_and_another_name_otherwise(pool):
    one, again, other = (planted_in(pool, name=name) for name in ("mine", "mine", "yours"))
    assert one.sha256() == again.sha256() != other.sha256()
    assert one.canary.tolist() == again.canary.tolist()


def test_training_images_are_in_random_order(pool):
    assert np.abs(np.corrcoef(planted_in(pool).source_index[:-20], np.arange(60 + MORE))[0, 1]) < 0.4


def test_more_than_there_is_is_one_line(pool):
    with pytest.raises(
        UserError,
        match=r"^datasets\.mine: plants 58 images in place of training images that stand once, of which pool has 58; plant fewer$",
    ):
        planted_in(pool, FEW | {"noise": 2 + 58 - PLANTED})


def test_a_design_holds_planted_copies_out_together_or_apart(pool):
    planted = planted_in(pool)
    for groups, fold_counts in (("together", {1}), ("apart", {3, 5})):
        settings = {"design": "k_fold", "folds": 5, "repeats": 1, "groups": groups}
        held_out = ~design(settings, planted.split, planted.group, 1, "x").in_training
        folds = {
            len(set(held_out[:, planted.group == group].argmax(axis=0).tolist()))
            for group in np.unique(planted.group[planted.canary == "copy"])
            if group >= 0
        }
        assert folds == fold_counts


@pytest.mark.slow
def test_canaries_are_planted_in_built_in_sets_subsets_folders_and_arrays(tmp_path, rng):
    folder = tmp_path / "photos"
    folder.mkdir()
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(40) % 2)
    defined = {
        "photos": {"folder": str(folder)},
        "arrays": {"npz": str(tmp_path / "a.npz"), "test_fraction": 0.25},
        "few": {"subset_of": "mnist1k", "train": 50, "test": 10},
    }
    for source in (*defined, "mnist1k"):
        everything = defined | {"mine": FEW | {"canaries_of": source}}
        definition = with_source("mine", everything)
        planted, before = datasets.make("mine", definition), datasets.make(source, defined.get(source))
        assert len(planted.images) == len(before.images) + MORE and planted.image_shape == before.image_shape
        np.testing.assert_array_equal(planted.images[planted.split == TEST], before.images[before.split == TEST])
        counted = images_of("mine", definition)
        if source in ("few", "mnist1k"):
            assert counted == ((planted.split == TRAIN).sum(), (planted.split == TEST).sum())
        else:
            assert counted is None
        assert {*modules_of("mine", definition)} == {
            "engram.datasets.canaries",
            *modules_of(source, defined.get(source)),
        }


def test_the_artifact_and_the_summary_say_what_was_planted(pool, tmp_path):
    planted = planted_in(pool)
    path = tmp_path / "mine.h5"
    summarized = datasets.write(path, "mine", FEW, planted)
    data = artifacts.read(path, "dataset")
    assert data["canary"].values.tolist() == planted.canary.tolist()
    np.testing.assert_array_equal(data["dose"], planted.dose)
    np.testing.assert_array_equal(groups_in(data, {}), planted.group)
    rows = dict(summary.rows(json.loads(data.attrs["summary"])))
    assert rows["planted"] == (
        "copy: 4 images 1 time, 4 images 3 times, 4 images 5 times; near copy: 6 images 2 times; "
        "noise: 2 images 1 time; outlier: 3 images 1 time"
    )
    assert rows["images"].endswith("a pool, with planted canaries")
    assert summarized["planted"]["copy"] == {"1": 4, "3": 4, "5": 4}
    assert "planted" not in dict(summary.rows(summary.summarize(pool)))
