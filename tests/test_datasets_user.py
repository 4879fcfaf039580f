"""The user's own images: folders, .npz and HDF5 files, and every way in which they can be wrong."""

import h5py
import numpy as np
import pytest
from PIL import Image

from engram import datasets
from engram.errors import UserError


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("ENGRAM_DATA_ROOT", raising=False)


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image if mode is None else image.convert(mode)).save(path)


def make(**definition):
    return datasets.make("mine", definition)


def test_a_folder_by_class_gives_labels_in_alphabetical_order(tmp_path, rng):
    pixels = rng.integers(0, 256, (20, 5, 4))
    for i, image in enumerate(pixels):
        save(tmp_path / ("cats" if i < 10 else "dogs") / f"{i:02d}.png", image)
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    image_set = make(folder=str(tmp_path), test_fraction=0.2)
    assert image_set.image_shape == (1, 5, 4) and image_set.label_names == ["cats", "dogs"]
    np.testing.assert_array_equal(image_set.images, pixels.reshape(20, 20)[image_set.source_index])
    np.testing.assert_array_equal(image_set.labels, image_set.source_index >= 10)
    assert image_set.split.tolist() == [0] * 16 + [1] * 4
    assert image_set.labels[16:].sum() == 2


def test_a_flat_folder_of_rgb_images_has_no_labels_and_keeps_its_channels(tmp_path, rng):
    pixels = rng.integers(0, 256, (4, 3, 6, 3))
    for i, image in enumerate(pixels):
        save(tmp_path / f"{i}.png", image)
    image_set = make(folder=str(tmp_path))
    assert image_set.image_shape == (3, 3, 6) and image_set.split.tolist() == [0, 0, 0, 1]
    assert (image_set.labels == -1).all() and image_set.label_names == []
    expected = pixels[image_set.source_index].transpose(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_array_equal(image_set.images, expected)


def test_sub_folders_train_and_test_are_the_split(tmp_path):
    for part, level in (("test", 9), ("train", 1)):
        for label in ("a", "b"):
            save(tmp_path / part / label / "0.png", np.full((2, 2), level))
    image_set = make(folder=str(tmp_path))
    assert image_set.split.tolist() == [0, 0, 1, 1] and image_set.labels.tolist() == [0, 1, 0, 1]
    assert image_set.images[:, 0].tolist() == [1, 1, 9, 9] and image_set.label_names == ["a", "b"]


def test_image_size_crops_the_middle_square_and_resizes(tmp_path):
    wide = np.zeros((8, 16))
    wide[:, 4:12] = 200
    save(tmp_path / "wide.png", wide)
    save(tmp_path / "tall.png", np.full((12, 6), 200))
    image_set = make(folder=str(tmp_path), image_size=4)
    assert image_set.image_shape == (1, 4, 4)
    assert (image_set.images == 200).all()


def test_images_of_differing_sizes_are_counted_and_named_with_the_mend(tmp_path):
    for name, shape in (("a", (3, 3)), ("b", (3, 3)), ("c", (3, 5)), ("d", (7, 7))):
        save(tmp_path / f"{name}.png", np.zeros(shape))
    with pytest.raises(
        UserError,
        match=r"^datasets\.mine\.folder: [^\n]*2 3 x 3 \(a\.png, b\.png\), 1 5 x 3 \(c\.png\)[^\n]*image_size: 32",
    ):
        make(folder=str(tmp_path))


@pytest.mark.parametrize("image_size", [None, 2])
def test_grey_and_rgb_images_do_not_mix(tmp_path, image_size):
    save(tmp_path / "a.png", np.zeros((3, 3)))
    save(tmp_path / "b.png", np.zeros((3, 3, 3)))
    with pytest.raises(UserError, match=r"1 grey \(a\.png\), 1 RGB \(b\.png\); write mode: rgb, or mode: grey"):
        make(folder=str(tmp_path), **({"image_size": image_size} if image_size else {}))


def test_an_empty_folder_is_one_line(tmp_path):
    (tmp_path / "class").mkdir()
    with pytest.raises(UserError, match=r"^datasets\.mine\.folder: no images \([^\n]*\) in or below '[^\n]*'$"):
        make(folder=str(tmp_path))


@pytest.mark.parametrize("key", ["folder", "npz", "hdf5"])
def test_a_missing_path_is_one_line_with_its_key(tmp_path, key):
    with pytest.raises(UserError, match=rf"^datasets\.mine\.{key}: .*'[^\n]*nowhere' does not exist"):
        make(**{key: str(tmp_path / "nowhere")})


def test_an_image_beside_class_folders_is_one_line(tmp_path):
    save(tmp_path / "a.png", np.zeros((3, 3)))
    save(tmp_path / "class" / "b.png", np.zeros((3, 3)))
    with pytest.raises(UserError, match=r"a\.png: lies beside class folders"):
        make(folder=str(tmp_path))


def test_a_truncated_image_is_one_line_with_its_name(tmp_path, rng):
    for name in "ab":
        save(tmp_path / f"{name}.png", rng.integers(0, 256, (30, 30)))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:500])
    with pytest.raises(UserError, match=r"b\.png: cannot be read as an image \([^\n]*\)$"):
        make(folder=str(tmp_path))


def test_a_file_that_only_looks_like_an_image_is_one_line(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(UserError, match=r"a\.png: cannot be read as an image"):
        make(folder=str(tmp_path))


@pytest.fixture(params=["npz", "hdf5"])
def stored(request, tmp_path):
    """Stores arrays in a file and makes a data set of it."""

    path = tmp_path / f"images.{request.param}"

    def store_and_make(more=None, **arrays):
        if request.param == "npz":
            np.savez(path, **arrays)
        else:
            with h5py.File(path, "w") as file:
                for name, values in arrays.items():
                    file[name] = values
        return make(**{request.param: str(path)}, **(more or {}))

    store_and_make.path, store_and_make.kind = path, request.param
    return store_and_make


def test_arrays_with_labels_and_split_keep_both(stored, rng):
    images = rng.integers(0, 256, (4, 3, 2)).astype(np.uint8)
    image_set = stored(images=images, labels=np.array([2, 0, 1, 2]), split=np.array([1, 0, 0, 0]))
    assert image_set.source_index.tolist() == [1, 2, 3, 0] and image_set.split.tolist() == [0, 0, 0, 1]
    assert image_set.labels.tolist() == [0, 1, 2, 2] and image_set.label_names == ["0", "1", "2"]
    np.testing.assert_array_equal(image_set.images, images.reshape(4, 6)[[1, 2, 3, 0]])
    assert image_set.image_shape == (1, 3, 2)


def test_arrays_alone_get_a_test_set_and_no_labels(stored, rng):
    images = rng.integers(0, 256, (30, 2, 2, 3)).astype(np.uint8)
    image_set = stored(images=images)
    assert image_set.image_shape == (3, 2, 2) and image_set.split.sum() == 3
    assert (image_set.labels == -1).all() and image_set.label_names == []
    expected = images[image_set.source_index].transpose(0, 3, 1, 2).reshape(30, -1)
    np.testing.assert_array_equal(image_set.images, expected)


GREY = np.zeros((4, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        (
            {"images": np.full((4, 2, 2), np.nan)},
            "images are float64, must be uint8 [^\\n]*they hold NaN or infinity: replace such values",
        ),
        (
            {"images": np.zeros((4, 2, 2), np.float32)},
            r"images are float32, must be uint8 [^\n]*such as value_range: \[0, 1\]",
        ),
        ({"images": np.zeros((4, 6), np.uint8)}, r"images have the shape \(4, 6\): rows of pixels"),
        ({"images": np.zeros((4, 2, 2, 2), np.uint8)}, r"images have the shape \(4, 2, 2, 2\)"),
        ({"images": np.zeros((0, 2, 2), np.uint8)}, r"images have the shape \(0, 2, 2\)"),
        ({"pictures": GREY}, "has no array 'images'"),
        ({"images": GREY, "labels": np.zeros(3, int)}, r"labels are int64 \(3,\), must be integers \(4,\)"),
        ({"images": GREY, "labels": np.full(4, 0.5)}, r"labels are float64 \(4,\), must be integers"),
        ({"images": GREY, "labels": np.array([0, 0, 0, 40_000])}, "labels run from 0 to 40000, must lie between -1"),
        ({"images": GREY, "split": np.zeros(4, int)}, r"split \(4,\) must be \(4,\) and hold both 0"),
        ({"images": GREY, "split": np.array([0, 1, 2, 0])}, r"split \(4,\) must be \(4,\) and hold both 0"),
    ],
)
def test_arrays_of_a_wrong_kind_are_one_line_with_the_file(stored, arrays, complaint):
    with pytest.raises(UserError, match=rf"^[^\n]*images\.(npz|hdf5): {complaint}[^\n]*$"):
        stored(**arrays)


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1])
def test_a_test_fraction_outside_of_0_to_1_is_one_line(stored, fraction):
    with pytest.raises(UserError, match=rf"^datasets\.mine\.test_fraction: is {fraction}, must lie between 0 and 1"):
        stored(more={"test_fraction": fraction}, images=GREY)


def test_a_single_image_cannot_be_split(stored):
    with pytest.raises(
        UserError, match=r"^datasets\.mine: 1 image\(s\) with test_fraction 0\.1 leave none to train on$"
    ):
        stored(images=GREY[:1])


def test_a_truncated_file_of_arrays_is_one_line(stored, rng):
    stored(images=rng.integers(0, 256, (40, 8, 8)).astype(np.uint8))
    content = stored.path.read_bytes()
    stored.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        UserError,
        match=r"^[^\n]*images\.(npz: is not an \.npz file, or is truncated; |hdf5: cannot be read as an )[^\n]*$",
    ):
        make(**{stored.kind: str(stored.path)})


def test_pickled_objects_are_never_opened(tmp_path):
    np.savez(tmp_path / "images.npz", images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(
        UserError, match=r"images\.npz: cannot be read as an \.npz file of plain arrays \(Object arrays"
    ):
        make(npz=str(tmp_path / "images.npz"))


def test_a_single_array_in_an_npy_file_is_one_line(tmp_path):
    np.save(tmp_path / "images.npy", GREY)
    with pytest.raises(UserError, match=r"images\.npy: is not an \.npz file"):
        make(npz=str(tmp_path / "images.npy"))


def test_an_hdf5_group_in_place_of_an_array_is_one_line(tmp_path):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_group("images")
    with pytest.raises(UserError, match=r"images\.h5: [^\n]*$"):
        make(hdf5=str(tmp_path / "images.h5"))
