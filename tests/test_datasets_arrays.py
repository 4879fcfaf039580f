"""Arrays as people save them: read as numpy tells them, or refused by one line with the mend."""

import random
import warnings

import h5py
import numpy as np
import pytest
from PIL import Image

from engram import datasets
from engram.datasets import summary
from engram.datasets.levels import to_levels
from engram.errors import UserError
from engram.files import artifacts

N = 12
LABELS = np.arange(N) % 3


@pytest.fixture
def grey(rng):
    return rng.integers(0, 256, (N, 6, 5)).astype(np.uint8)


@pytest.fixture
def colour(rng):
    return rng.integers(0, 256, (N, 6, 5, 3)).astype(np.uint8)


@pytest.fixture(params=["npz", "hdf5"])
def read(request, tmp_path):
    """Stores arrays in a file, and makes a data set of it by a definition."""

    def store_and_make(arrays, **definition):
        path = tmp_path / f"images.{request.param}"
        if request.param == "npz":
            np.savez(path, **arrays)
        else:
            with h5py.File(path, "w") as file:
                for name, values in arrays.items():
                    values = np.asarray(values)
                    file[name] = values.astype(bytes if values.dtype.kind == "U" else values.dtype)
        return datasets.make("mine", {request.param: str(path), **definition})

    return store_and_make


def expected(images, image_set):
    """Rows as the data set should hold them: (n, H, W[, C]) flattened by channel, row, column."""
    images = images if images.ndim == 4 else images[..., None]
    return images[image_set.source_index].transpose(0, 3, 1, 2).reshape(len(image_set.path), -1)


def assert_holds(image_set, images, labels=None):
    np.testing.assert_array_equal(image_set.images, expected(images, image_set))
    if labels is not None:
        np.testing.assert_array_equal(image_set.labels, labels[image_set.source_index])


CONVENTIONS = {
    "keras": ("x_train", "y_train", "x_test", "y_test"),
    "keras in capitals": ("X_train", "Y_train", "X_test", "Y_test"),
    "medmnist": ("train_images", "train_labels", "test_images", "test_labels"),
    "groups": ("train/images", "train/labels", "test/images", "test/labels"),
    "validation only": ("train_images", "train_labels", "val_images", "val_labels"),
    "short": ("trainx", "trainy", "validx", "validy"),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_usual_names_of_splits_are_found(read, grey, convention):
    names = CONVENTIONS[convention]
    image_set = read(dict(zip(names, (grey[:9], LABELS[:9], grey[9:], LABELS[9:]), strict=True)))
    assert_holds(image_set, grey, LABELS)
    assert image_set.split.tolist() == [0] * 9 + [1] * 3
    assert image_set.path.tolist() == [f"{names[0]}[{i}]" for i in range(9)] + [f"{names[2]}[{i}]" for i in range(3)]


def test_validation_arrays_beside_test_arrays_are_left_out_and_said(read, grey):
    arrays = {"train_images": grey[:7], "val_images": grey[7:9], "test_images": grey[9:], "val_labels": LABELS[7:9]}
    image_set = read(arrays)
    np.testing.assert_array_equal(image_set.images, np.concatenate([grey[:7], grey[9:]]).reshape(10, -1))
    skipped = summary.summarize(image_set)["skipped"]
    assert skipped["validation arrays, left out because there are test arrays"]["count"] == 2


@pytest.mark.parametrize(
    ("images", "labels"), [("image", "label"), ("imgs", "y"), ("X", "targets"), ("Images", "LABELS")]
)
def test_other_names_of_the_whole_are_found(read, grey, images, labels):
    image_set = read({images: grey, labels: LABELS})
    assert_holds(image_set, grey, LABELS)
    assert sorted(image_set.path, key=int) == [str(i) for i in range(N)]


def test_names_of_the_config_are_taken_and_nothing_else(read, grey):
    arrays = {"faces": grey[:9], "who": LABELS[:9], "more": grey[9:], "images": grey[::-1]}
    image_set = read(arrays, images="faces", labels="who")
    assert_holds(image_set, grey[:9], LABELS[:9])
    assert summary.summarize(image_set)["skipped"]["arrays that are not used"]["first"] == ["images", "more"]
    both = read(arrays, images="faces", labels="who", test_images="more")
    assert_holds(both, grey)
    assert both.labels.tolist() == [*LABELS[:9], -1, -1, -1] and both.split.sum() == 3


def test_keras_training_arrays_alone_are_read_by_name(read, grey):
    arrays = {"x_train": grey[:9], "y_train": LABELS[:9], "x_test": grey[9:], "y_test": LABELS[9:]}
    image_set = read(arrays, images="x_train", labels="y_train", test_fraction=0.34)
    assert_holds(image_set, grey[:9], LABELS[:9])
    assert image_set.split.sum() == 3


@pytest.mark.parametrize(
    ("definition", "advice"),
    [({"images": "x_trian"}, r"uint8; did you mean x_train\?$"), ({"labels": "classes"}, "uint8$")],
)
def test_a_missing_name_lists_what_the_file_holds(read, grey, definition, advice):
    (key, name), *_ = definition.items()
    with pytest.raises(UserError, match=rf"has no array '{name}' \({key}\); it holds x_train \(12, 6, 5\) {advice}"):
        read({"x_train": grey}, **definition)


def test_a_file_without_images_lists_what_it_holds(read, grey):
    with pytest.raises(
        UserError, match=r"has no array 'images'[^\n]* it holds pictures \(12, 6, 5\) uint8[^\n]*images: NAME"
    ):
        read({"pictures": grey})


def test_no_more_than_twenty_arrays_are_listed(read, grey):
    with pytest.raises(UserError, match=r"a19 \(12, 6, 5\) uint8 and 10 more;"):
        read({f"a{i:02d}": grey for i in range(30)})


AXES = {
    "NHWC": lambda a: a,
    "NCHW": lambda a: a.transpose(0, 3, 1, 2),
    "HWCN": lambda a: a.transpose(1, 2, 3, 0),
    "CHWN": lambda a: a.transpose(3, 1, 2, 0),
    "NWHC": lambda a: a.transpose(0, 2, 1, 3),
}


@pytest.mark.parametrize("axes", AXES)
def test_axes_that_are_named_are_taken(read, colour, axes):
    assert_holds(read({"images": AXES[axes](colour)}, axes=axes), colour)


@pytest.mark.parametrize("axes", ["NHWC", "NCHW"])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_and_last_are_told_by_the_shape(read, colour, axes, channels):
    images = colour[..., :channels]
    assert_holds(read({"images": AXES[axes](images), "labels": LABELS}), images, LABELS)


@pytest.mark.parametrize("axes", ["HWCN", "CHWN"])
def test_images_that_come_last_are_asked_for(read, colour, axes):
    with pytest.raises(UserError, match=r"whose axes cannot be told apart; write axes: NHWC, NCHW, HWCN or CHWN"):
        read({"images": AXES[axes](colour)})


@pytest.mark.parametrize("shape", [(12, 3, 8, 3), (12, 1, 8, 3), (3, 3, 8, 3)])
def test_two_axes_that_could_be_channels_are_asked_for(read, shape, rng):
    with pytest.raises(UserError, match="cannot be told apart; write axes: NHWC"):
        read({"images": rng.integers(0, 256, shape).astype(np.uint8)})


@pytest.mark.parametrize(
    ("shape", "labelled"), [((8, 8, 12), None), ((8, 8, 8), None), ((8, 8, 12), 12), ((8, 8, 8), 8), ((6, 5, 12), 12)]
)
def test_grey_images_first_or_last_are_asked_for_where_the_shape_does_not_tell(read, shape, labelled, rng):
    images = rng.integers(0, 256, shape).astype(np.uint8)
    labels = {} if labelled is None else {"labels": np.arange(labelled) % 2}
    with pytest.raises(
        UserError, match=r"cannot be told apart; write axes: NHW \(images first\) or HWN \(images last\)"
    ):
        read({"images": images, **labels})
    image_set = read({"images": images, **labels}, axes="HWN")
    assert_holds(image_set, images.transpose(2, 0, 1))


def test_as_many_images_as_rows_are_told_by_their_labels(read, rng):
    images = rng.integers(0, 256, (6, 6, 5)).astype(np.uint8)
    assert_holds(read({"images": images, "labels": np.arange(6) % 2}), images)


@pytest.mark.parametrize(("axes", "complaint"), [("NHW", "which the 3 axes NHW do not name"), ("NHWC", "5 channels")])
def test_axes_that_do_not_fit_are_one_line(read, rng, axes, complaint):
    with pytest.raises(UserError, match=complaint):
        read({"images": rng.integers(0, 256, (12, 6, 3, 5)).astype(np.uint8)}, axes=axes)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_channel_of_transparency_is_one_line(read, rng, channels):
    with pytest.raises(UserError, match=r"no axis is of 1 \(grey\) or 3 \(RGB\) channels"):
        read({"images": rng.integers(0, 256, (12, 6, 5, channels)).astype(np.uint8)})


@pytest.mark.parametrize(
    ("dtype", "value_range", "unit"),
    [
        (np.float32, [0, 1], 1 / 255),
        (np.float64, [-1, 1], 2 / 255),
        (np.float16, [0, 255], 1),
        (np.uint16, [0, 65535], 257),
    ],
)
def test_a_stated_range_gives_back_the_levels(read, grey, dtype, value_range, unit):
    grey[0, 0, :2] = 0, 255
    stored = (grey * np.float64(unit) + value_range[0]).astype(dtype)
    assert_holds(read({"images": stored}, value_range=value_range), grey)
    with pytest.raises(UserError, match=r"write|such as value_range: \["):
        read({"images": stored})


RANGES = {
    "0/1 bytes": (np.uint8, 1, "[0, 1]"),
    "digits of scikit-learn": (np.float64, 16, "[0, 16]"),
    "4 bits": (np.uint8, 15, "[0, 15]"),
    "percent": (np.uint8, 100, "[0, 100]"),
    "12 bits": (np.uint16, 4095, "[0, 4095]"),
}


@pytest.mark.parametrize("case", RANGES)
def test_reduced_ranges_are_asked_for_and_not_taken_for_levels(read, rng, case):
    dtype, high, suggestion = RANGES[case]
    images = rng.integers(0, high + 1, (N, 6, 5)).astype(dtype)
    images[0, 0, 0] = high
    with pytest.raises(UserError) as raised:
        read({"images": images})
    assert f"such as value_range: {suggestion}" in str(raised.value)
    assert_holds(read({"images": images}, value_range=[0, high]), np.rint(images / high * 255))
    with pytest.raises(UserError, match=r"outside of value_range \[0, 0\.5\]"):
        read({"images": images}, value_range=[0, 0.5])


def test_bright_whole_numbers_and_truth_values_need_no_range(read, grey):
    grey[0, 0, 0] = 200
    assert_holds(read({"images": grey.astype(np.int64)}), grey)
    assert_holds(read({"images": grey > 100}), np.where(grey > 100, 255, 0))


def test_levels_are_exact_over_chunks_and_refuse_what_is_not_in_the_range():
    values = np.tile([-1, -0.5, 0.25, 1], 1 << 21)
    assert (to_levels(values, (-1, 1)).reshape(-1, 4) == [0, 64, 159, 255]).all()  # 63.75, 159.375
    for bad in (1.01, np.nan, np.inf):
        with pytest.raises(ValueError, match="outside of value_range"):
            to_levels(np.append(values, bad), (-1, 1))


def test_image_size_crops_and_resizes_as_for_files(read, colour, rng):
    image_set = read({"images": colour}, image_size=3)
    for stored, index in zip(image_set.images, image_set.source_index, strict=True):
        by_hand = Image.fromarray(colour[index]).crop((0, 0, 5, 5)).resize((3, 3), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(stored.reshape(3, 3, 3), np.asarray(by_hand).transpose(2, 0, 1))


WORDS = np.array(["cat", "dog", "fish"])


@pytest.mark.parametrize("labels", ["words", "objects", "one-hot", "column", "row", "doubles", "one-hot floats"])
def test_labels_of_every_form_are_read(read, grey, labels, tmp_path):
    forms = {
        "words": WORDS[LABELS],
        "objects": WORDS[LABELS].astype(bytes),
        "one-hot": np.eye(3, dtype=np.uint8)[LABELS],
        "column": LABELS[:, None],
        "doubles": LABELS.astype(float),
        "row": LABELS[None].astype(float),
        "one-hot floats": np.eye(3)[LABELS],
    }
    image_set = read({"images": grey, "labels": forms[labels]})
    assert_holds(image_set, grey, LABELS)
    assert image_set.label_names == (WORDS.tolist() if labels in ("words", "objects") else ["0", "1", "2"])


def test_several_ones_in_a_row_are_no_class(read, grey):
    with pytest.raises(UserError, match=r"not one-hot[^\n]*labels: null"):
        read({"images": grey, "labels": np.ones((N, 4), int)})
    image_set = read({"images": grey, "labels": np.ones((N, 4), int)}, labels=None)
    assert (image_set.labels == -1).all() and image_set.label_names == []


def test_names_of_classes_come_from_the_file_or_the_config(read, grey):
    arrays = {"images": grey, "labels": LABELS, "label_names": WORDS}
    assert read(arrays).class_names().tolist() == WORDS[LABELS[read(arrays).source_index]].tolist()
    assert read(arrays, label_names=["a", "b", "c"]).label_names == ["a", "b", "c"]
    with pytest.raises(UserError, match="label_names holds 2 names, but labels run up to 2"):
        read(arrays, label_names=["a", "b"])
    with pytest.raises(UserError, match=r"label_names \['cat', 'cow'\] lack dog, fish, which labels hold"):
        read({"images": grey, "labels": WORDS[LABELS]}, label_names=["cat", "cow"])


def test_groups_are_stored_and_not_torn_apart_by_the_split(read, grey):
    group = np.arange(N) // 3
    image_set = read({"images": grey, "labels": LABELS, "group": group}, test_fraction=0.25)
    np.testing.assert_array_equal(image_set.group, group[image_set.source_index])
    assert image_set.split.sum() == 3 and len(set(image_set.group[image_set.split == 1])) == 1
    words = read({"images": grey, "who": np.array(["b", "a"])[np.arange(N) // 6]}, group="who", test_fraction=0.5)
    np.testing.assert_array_equal(words.group, 1 - words.source_index // 6)


def test_one_group_of_all_images_is_one_line(read, grey):
    with pytest.raises(UserError, match="all images are of one group"):
        read({"images": grey, "group": np.zeros(N, int)})


@pytest.mark.parametrize("group", [np.zeros(N - 1, int), np.full(N, -2), np.full(N, 0.5)])
def test_groups_of_a_wrong_kind_are_one_line(read, grey, group):
    with pytest.raises(
        UserError, match=r"images\.(npz|hdf5): group is (int|float)64 \(1[12],\), must be \(12,\) whole numbers"
    ):
        read({"images": grey, "group": group})


def test_a_split_in_words_is_read(read, grey):
    split = np.array(["train"] * 6 + ["val"] * 3 + ["Test"] * 3)
    image_set = read({"images": grey, "split": split})
    np.testing.assert_array_equal(image_set.source_index, [0, 1, 2, 3, 4, 5, 9, 10, 11])
    assert image_set.split.tolist() == [0] * 6 + [1] * 3
    assert "3 images" in str(summary.summarize(image_set)["skipped"])
    assert read({"images": grey, "split": split[:9].repeat([1] * 8 + [4])}).split.sum() == 6


def test_training_and_test_arrays_of_different_sizes_are_one_line(read, grey):
    with pytest.raises(UserError, match=r"differ in size: x_train \(12, 6, 5\) and x_test \(12, 5, 5\)"):
        read({"x_train": grey, "x_test": grey[:, 1:]})


def test_words_saved_as_objects_say_how_to_save_them(tmp_path, grey):
    np.savez(tmp_path / "a.npz", images=grey, labels=WORDS[LABELS].astype(object))
    with pytest.raises(UserError, match=r"Object arrays cannot be loaded[^\n]*dtype=str"):
        datasets.make("mine", {"npz": str(tmp_path / "a.npz")})


def test_a_file_of_the_other_kind_says_what_to_write(tmp_path, grey):
    np.savez(tmp_path / "a.h5", images=grey)
    (tmp_path / "a.h5.npz").rename(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.npz", "w") as file:
        file["images"] = grey
    with pytest.raises(UserError, match=r"is a zip file; if it holds arrays, write npz: "):
        datasets.make("mine", {"hdf5": str(tmp_path / "a.h5")})
    with pytest.raises(UserError, match=r"is an HDF5 file; write hdf5: "):
        datasets.make("mine", {"npz": str(tmp_path / "b.npz")})


@pytest.mark.parametrize("link", ["external", "soft"])
def test_a_group_that_links_elsewhere_is_not_entered(tmp_path, grey, link):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["train/images"] = grey
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inner/images"] = grey
        file["train"] = h5py.ExternalLink("secret.h5", "train") if link == "external" else h5py.SoftLink("/inner")
    with pytest.raises(UserError, match="has no array 'train/images'"):
        datasets.make("mine", {"hdf5": str(tmp_path / "a.h5"), "images": "train/images"})
    with pytest.raises(UserError, match="is a link"):
        datasets.make("mine", {"hdf5": str(tmp_path / "a.h5"), "images": "train"})


def test_groups_across_a_stated_split_are_counted(read, grey):
    split, group = np.arange(N) % 2, np.array([0, 0, 1, 1, 2, -1, 3, -1, -1, -1, -1, -1])
    told = summary.summarize(read({"images": grey, "split": split, "group": group}))
    assert told["groups_across_split"] == 2 and ("groups", "2 groups have training and test images") in summary.rows(
        told
    )


def test_test_images_without_images_are_one_line(read, grey):
    with pytest.raises(UserError, match=r"test_images is stated, but images is not; write images: NAME, too"):
        read({"x_train": grey, "late": grey}, test_images="late")


def test_labels_of_a_wrong_number_are_told_as_such(read, colour):
    with pytest.raises(UserError, match=r"labels are int64 \(11,\), must be integers \(12,\)"):
        read({"images": colour, "labels": LABELS[:11]})


def test_names_with_control_characters_never_reach_the_terminal(read, grey):
    with pytest.raises(UserError) as raised:
        read({"a\x1b[2J": grey})
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("labels", [np.full(N, np.inf), np.full(N, np.nan), np.full(N, 1e300), np.full(N, 1j)])
def test_labels_that_are_no_whole_numbers_are_one_line(read, grey, labels):
    with pytest.raises(UserError, match=r"labels are (float64|complex128) \(12,\), must be integers"):
        read({"images": grey, "labels": labels})


def test_a_share_beside_a_split_of_one_s_own_is_said_to_have_no_effect(read, grey):
    told = summary.summarize(read({"x_train": grey[:9], "x_test": grey[9:]}, test_fraction=0.5))
    assert told["remarks"]["settings without effect, as the data have a split of their own"]["first"] == [
        "test_fraction"
    ]


@pytest.mark.parametrize(
    ("pixels", "shape"), [(1024, r"\(12, 32, 32\)"), (3072, r"\(12, 3, 32, 32\) or \(12, 32, 32, 3\)"), (7, "height")]
)
def test_rows_of_pixels_say_which_shape_they_need(read, pixels, shape):
    with pytest.raises(UserError, match=rf"rows of pixels; save them with the shape .*{shape}"):
        read({"images": np.zeros((12, pixels), np.uint8)})


@pytest.mark.parametrize("word", ["a\0b", "\ud800x", "\udce9", "日本 \U0001f600", "\x1b[2J"])
def test_words_that_no_file_can_hold_are_stored_readably(tmp_path, grey, word):
    np.savez(tmp_path / "a.npz", images=grey, labels=np.array([word, "b"])[np.arange(N) % 2])
    image_set = datasets.make("mine", {"npz": str(tmp_path / "a.npz")})
    datasets.write(tmp_path / "mine.h5", "mine", None, image_set)
    stored = artifacts.read(tmp_path / "mine.h5", "dataset")
    names = stored.class_name.values[np.argsort(image_set.source_index)].tolist()
    kept = {"a\0b": r"a\x00b", "\ud800x": r"\ud800x", "\udce9": r"\xe9"}.get(word, word)
    assert names == [kept, "b"] * (N // 2)


def test_images_without_classes_are_stored_with_empty_names(tmp_path, grey):
    np.savez(tmp_path / "a.npz", images=grey)
    datasets.write(tmp_path / "mine.h5", "mine", None, datasets.make("mine", {"npz": str(tmp_path / "a.npz")}))
    assert artifacts.read(tmp_path / "mine.h5", "dataset").class_name.values.tolist() == [""] * N


ANY_TYPE = ["u1", "i1", "u2", ">u2", "i4", "u8", "f2", "f4", ">f8", "c8", "?", "U3", "S2", "M8[D]", "u1,f4"]


IMAGES = [(8, 6, 6), (8, 6, 6, 3), (8, 3, 6, 6), (6, 6, 8), (5, 6, 6), (1, 6, 6), (8, 0, 6), (8, 6, 6, 4)]
OTHERS = [(8,), (8, 1), (1, 8), (8, 4), (5,), (), (0,), (8, 6, 6)]


def anything(name, rng, python):
    """An array of any shape and type, not seldom a good one of its name."""
    is_image = "image" in name or name.startswith("x")
    shape = python.choice(IMAGES if is_image else OTHERS)
    kind = np.dtype(python.choice(["u1", python.choice(ANY_TYPE)] if is_image else ANY_TYPE))
    values = rng.integers(0, python.choice([2, 10, 256]) if not is_image else 256, shape)
    if kind.names or kind.kind == "M":
        return np.zeros(shape, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a float beyond a type's range
        if kind.kind in "fc" and python.random() < 0.5:
            values = values * python.choice([np.nan, np.inf, 1e300, -0.5])
        return np.asarray(values).astype(kind)


def test_arrays_of_any_shape_and_type_are_read_or_named_in_one_line(tmp_path, seed=0):
    python, rng, refused = random.Random(seed), np.random.default_rng(seed), 0
    path = tmp_path / "mine.npz"
    names = [
        "images",
        "labels",
        "x_train",
        "y_train",
        "x_test",
        "split",
        "group",
        "label_names",
        "test/labels",
        "other",
    ]
    for _ in range(600):
        chosen = python.sample(names, python.choice([1, 2, 3]))
        np.savez(path, **{name: anything(name, rng, python) for name in chosen})
        more = [
            {},
            {"value_range": [0, 255]},
            {"image_size": 4},
            {"axes": "HWN"},
            {"images": python.choice(names)},
            {"labels": None},
        ]
        try:
            image_set = datasets.make("mine", {"npz": str(path), **python.choice(more)})
        except UserError as error:
            refused += 1
            assert "datasets.mine" in str(error) and str(error).isprintable()
        else:
            summary.summarize(image_set)
            assert image_set.images.dtype == np.uint8 and len(image_set.images) == len(image_set.labels) == len(
                image_set.path
            )
            assert set(image_set.split.tolist()) == {0, 1} and image_set.labels.max() < max(
                1, len(image_set.label_names)
            )
    assert 300 < refused < 590
