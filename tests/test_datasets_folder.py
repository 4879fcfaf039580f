"""Folders as people lay them out: every picture is compared with Pillow's own reading of its file, or refused by a mend."""

import io
import json
import logging
import os
import random
import unicodedata

import numpy as np
import pytest
from PIL import Image

from engram import datasets
from engram.datasets import folder_files, image_file, summary
from engram.errors import UserError
from engram.files import artifacts


def picture(i, size=(32, 32), mode="RGB"):
    """Noise around a bright upper left corner: no two alike, and none the same when turned."""
    rng = np.random.default_rng(i)
    pixels = rng.integers(0, 180, (size[1], size[0], 3)).astype(np.uint8)
    pixels[: size[1] // 4, : size[0] // 4] = (255, 200 + i % 50, 20)
    return Image.fromarray(pixels).convert(mode)


def fill(folder, numbers, ending="png", mode="L", size=(32, 32), **save):
    folder.mkdir(parents=True, exist_ok=True)
    for i in numbers:
        picture(i, size, mode).save(folder / f"{i:03d}.{ending}", **save)


def make(folder, **more):
    return datasets.make("mine", {"folder": str(folder), **more})


def summarized(image_set):
    return summary.summarize(image_set)


def row(image, mode):
    return np.moveaxis(np.atleast_3d(np.asarray(image.convert(mode))), -1, 0).reshape(-1)


def assert_pixels(image_set, folder, mode="L"):
    """Every image is what Pillow reads in the file that its path names."""
    for path, stored in zip(image_set.path, image_set.images, strict=True):
        with Image.open(folder / path) as image:
            np.testing.assert_array_equal(stored, row(image, mode), err_msg=path)


def by_path(image_set):
    classes = zip(image_set.split.tolist(), image_set.class_names().tolist(), strict=True)
    return dict(zip(image_set.path.tolist(), classes, strict=True))


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("test", ["test", "Testing", "val", "VALID", "Validation"])
@pytest.mark.parametrize("by_class", [True, False])
def test_splits_are_found_in_any_case_with_classes_or_flat(tmp_path, train, test, by_class):
    classes = ["cat", "dog"] if by_class else [""]
    for k, part in enumerate((train, test)):
        for c, name in enumerate(classes):
            fill(tmp_path / part / name, range(4 * k + 2 * c, 4 * k + 2 * c + 2))
    image_set = make(tmp_path)
    assert_pixels(image_set, tmp_path)
    assert image_set.label_names == [name for name in classes if name]
    for path, (split, name) in by_path(image_set).items():
        assert path.startswith(test) == split and (name == path.split("/")[1] if by_class else name == "")
    stands_in = "there is no test folder" in summarized(image_set)["split"]
    assert stands_in == test.lower().startswith("val")


def test_val_beside_test_is_left_out_and_said(tmp_path, caplog):
    for k, part in enumerate(("train", "val", "test")):
        fill(tmp_path / part / "a", range(3 * k, 3 * k + 3))
    image_set = make(tmp_path)
    assert {path.split("/")[0] for path in image_set.path} == {"train", "test"}
    assert summarized(image_set)["skipped"] == {
        "validation images, left out because there is a test folder": {
            "count": 3,
            "first": [f"val/a/00{i}.png" for i in (3, 4, 5)],
        }
    }
    with caplog.at_level(logging.INFO, "engram"):
        summary.tell(logging.getLogger("engram"), "mine", summarized(image_set))
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [
        "mine: left out: 3 validation images, left out because there is a test folder: "
        "val/a/003.png, val/a/004.png, val/a/005.png"
    ]
    assert any("3 training and 3 test images" in record.message for record in caplog.records)


@pytest.mark.parametrize("wrapper", ["data", "data/unpacked", "train"])
def test_folders_around_all_classes_are_no_class(tmp_path, wrapper):
    fill(tmp_path / wrapper / "cat", range(10))
    fill(tmp_path / wrapper / "dog", range(10, 20))
    assert make(tmp_path).label_names == ["cat", "dog"]


def test_a_train_folder_among_classes_is_a_class(tmp_path):
    for k, name in enumerate(("car", "train", "ship")):
        fill(tmp_path / name, range(10 * k, 10 * k + 10))
    assert make(tmp_path).label_names == ["car", "ship", "train"]


def test_deeper_levels_belong_to_their_class(tmp_path):
    fill(tmp_path / "cat", range(5))
    fill(tmp_path / "dog" / "more" / "still", range(5, 10))
    image_set = make(tmp_path)
    assert {path: name for path, (_, name) in by_path(image_set).items()} == {
        **{f"cat/00{i}.png": "cat" for i in range(5)},
        **{f"dog/more/still/00{i}.png": "dog" for i in range(5, 10)},
    }


def test_a_split_inside_of_classes_is_refused_with_the_mend(tmp_path):
    for k, part in enumerate(("cat/train", "cat/test", "dog/train", "dog/test")):
        fill(tmp_path / part, range(3 * k, 3 * k + 3))
    with pytest.raises(
        UserError, match=r"holds a split; let train and test be the folders above the classes \(2\): cat/, dog/$"
    ):
        make(tmp_path)


def test_hidden_folders_and_those_of_the_system_are_skipped_and_counted(tmp_path):
    fill(tmp_path / "cat", range(10))
    fill(tmp_path / "dog", range(10, 20))
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", "cat/.thumbs"):
        fill(tmp_path / name, range(3))
    (tmp_path / "cat" / "._000.png").write_bytes(b"apple double")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "cat" / "list.csv").write_text("a,b")
    image_set = make(tmp_path)
    assert image_set.label_names == ["cat", "dog"] and len(image_set.path) == 20
    counts = {kind: counted["count"] for kind, counted in summarized(image_set)["skipped"].items()}
    assert counts == {"hidden, or the system's own": 5, "no images (.db)": 1, "no images (.csv)": 1}


def test_pictures_that_cannot_be_read_and_images_without_their_ending_are_said(tmp_path):
    fill(tmp_path, range(5))
    (tmp_path / "photo.HEIC").write_bytes(b"....ftypheic")
    picture(9, mode="L").save(tmp_path / "nameless", format="PNG")
    skipped = summarized(make(tmp_path))["skipped"]
    assert skipped["pictures of a format that is not read (.heic); save them as PNG"]["first"] == ["photo.HEIC"]
    assert skipped["images by content whose names have no image's ending; rename them"]["first"] == ["nameless"]


def test_images_beside_the_split_are_said(tmp_path):
    for k, part in enumerate(("train", "test", "unlabelled")):
        fill(tmp_path / part, range(3 * k, 3 * k + 3))
    assert summarized(make(tmp_path))["skipped"]["images beside the folders of the split"]["count"] == 3


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    fill(tmp_path / "cat", range(3))
    fill(tmp_path / "dog", range(3))
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folder_files.os, "scandir", locked)
    with pytest.raises(
        UserError, match=r"datasets\.mine\.folder: in '[^\n]*': dog: folder cannot be read \(Permission denied\)$"
    ):
        make(tmp_path)


def test_links_are_followed_once(tmp_path):
    fill(tmp_path / "elsewhere", range(6))
    fill(tmp_path / "mine" / "a", range(6, 12))
    (tmp_path / "mine" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine" / "a" / "loop").symlink_to(tmp_path / "mine")
    image_set = make(tmp_path / "mine")
    assert image_set.label_names == ["a", "b"] and len(image_set.path) == 12
    assert summarized(image_set)["skipped"]["links to a folder that they lie in"]["first"] == ["a/loop"]


def test_two_spellings_of_one_name_are_one_class_and_paths_still_open(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    fill(tmp_path / "train" / composed, range(3))
    fill(tmp_path / "train" / "日本", range(3, 6))
    fill(tmp_path / "test" / decomposed, range(6, 9))
    image_set = make(tmp_path)
    assert image_set.label_names == [composed, "日本"]
    assert_pixels(image_set, tmp_path)


def test_names_that_are_no_utf8_are_read_and_stored_as_text(tmp_path):
    folder = os.fsencode(tmp_path) + b"/mine/caf\xe9"
    os.makedirs(folder)
    for i in range(4):
        picture(i, mode="L").save(tmp_path / "a.png")
        os.replace(tmp_path / "a.png", folder + b"/%d-\xff.png" % i)
    for name in (b"/note.\xfe", b"/.\xfd"):
        (open(folder + name, "wb")).close()
    image_set = make(tmp_path / "mine")
    datasets.write(tmp_path / "mine.h5", "mine", None, image_set)
    stored = artifacts.read(tmp_path / "mine.h5", "dataset")
    assert sorted(stored.path.values.tolist()) == [rf"caf\xe9/{i}-\xff.png" for i in range(4)]
    assert set(stored.class_name.values.tolist()) == {r"caf\xe9"}
    assert json.loads(stored.attrs["summary"])["skipped"] == {
        "hidden, or the system's own": {"count": 1, "first": [r"caf\xe9/.\xfd"]},
        r"no images (.\xfe)": {"count": 1, "first": [r"caf\xe9/note.\xfe"]},
    }
    expected = {row(picture(i), "L").tobytes() for i in range(4)}
    assert {image.tobytes() for image in stored.images.values} == expected


def test_classes_that_differ_in_case_only_are_said(tmp_path):
    fill(tmp_path / "Cat", range(3))
    fill(tmp_path / "cat", range(3, 6))
    assert summarized(make(tmp_path))["remarks"]["classes whose names differ in case only"]["first"] == ["Cat", "cat"]


TURNED = {  # what a viewer shows of stored pixels (rows, columns), by EXIF's definition
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", TURNED)
def test_images_are_shown_upright(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(ending, {})
    for i in range(3):
        picture(i, (24, 16)).save(tmp_path / f"{i}.{ending}", exif=exif, **lossless)
    image_set = make(tmp_path)
    for path, stored in zip(image_set.path, image_set.images, strict=True):
        expected = TURNED[orientation](np.asarray(picture(int(path[0]), (24, 16)), int))
        assert image_set.image_shape == (3, *expected.shape[:2])
        difference = abs(stored.reshape(3, -1) - np.moveaxis(expected, -1, 0).reshape(3, -1))
        assert difference.max() <= (0 if ending != "jpg" else 12)


def test_a_png_that_tells_its_orientation_behind_its_pixels_is_shown_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(3):
        picture(i, (24, 16)).save(tmp_path / f"{i}.png", exif=exif)
        content = (tmp_path / f"{i}.png").read_bytes()
        at = content.index(b"eXIf") - 4
        size = 12 + int.from_bytes(content[at : at + 4], "big")
        chunk, rest = content[at : at + size], content[:at] + content[at + size :]
        end = rest.index(b"IEND") - 4
        (tmp_path / f"{i}.png").write_bytes(rest[:end] + chunk + rest[end:])
    image_set = make(tmp_path)
    assert image_set.image_shape == (3, 24, 16)
    expected = TURNED[6](np.asarray(picture(int(image_set.path[0][0]), (24, 16))))
    np.testing.assert_array_equal(image_set.images[0], np.moveaxis(expected, -1, 0).reshape(-1))


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    fill(tmp_path, range(9), mode="RGB")
    picture(9).convert("RGBA").save(tmp_path / "009.png")
    image_set = make(tmp_path)
    assert len(image_set.path) == 10
    assert_pixels(image_set, tmp_path, "RGB")


def transparent(i):
    image = picture(i).convert("RGBA")
    image.putalpha(Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32)).astype(np.uint8)))
    return image


@pytest.mark.parametrize("mode", ["rgb", "grey"])
@pytest.mark.parametrize(("background", "colour"), [(None, 255), ("black", 0), ("#808080", 128)])
def test_transparency_is_shown_over_the_background(tmp_path, mode, background, colour):
    for i in range(4):
        transparent(i).save(tmp_path / f"{i}.png")
    image_set = make(tmp_path, mode=mode, **({"background": background} if background else {}))
    for path, stored in zip(image_set.path, image_set.images, strict=True):
        pixels = np.asarray(transparent(int(path[0])), float)
        alpha = pixels[..., 3:] / 255
        shown = pixels[..., :3] * alpha + colour * (1 - alpha)
        if mode == "grey":
            shown = (shown @ [0.299, 0.587, 0.114])[..., None]
        assert abs(np.moveaxis(shown, -1, 0).reshape(-1) - stored).max() <= 1.5


def test_a_mixed_folder_says_what_is_there_and_what_to_write(tmp_path):
    fill(tmp_path, range(6), "jpg", "RGB")
    fill(tmp_path, range(6, 8), "jpg", "L")
    fill(tmp_path, range(8, 9), "jpg", "CMYK")
    transparent(9).save(tmp_path / "009.png")
    with pytest.raises(UserError) as raised:
        make(tmp_path)
    assert str(raised.value) == (
        f"datasets.mine.folder: in '{tmp_path}': they are not all grey or all RGB: 6 RGB (000.jpg, 001.jpg, 002.jpg, "
        "003.jpg, 004.jpg and 1 more), 2 grey (006.jpg, 007.jpg), 1 CMYK (008.jpg), 1 RGB with transparency (009.png); "
        "write mode: rgb, or mode: grey, and they are converted (transparency over background: white)"
    )
    (tmp_path / "009.png").unlink()
    for mode, pillows in (("rgb", "RGB"), ("grey", "L")):
        assert_pixels(make(tmp_path, mode=mode), tmp_path, pillows)


def test_all_problems_of_a_folder_are_one_message(tmp_path):
    fill(tmp_path, range(3))
    fill(tmp_path, range(3, 5), "png", "RGB", (40, 32))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("hello")
    picture(7).save(tmp_path / "short.png")
    (tmp_path / "short.png").write_bytes((tmp_path / "short.png").read_bytes()[:400])
    with pytest.raises(UserError) as raised:
        make(tmp_path)
    message = str(raised.value)
    for words in (
        "cannot be read as an image (3): empty.png (it is empty), text.jpg (its content is no image), short.png (",
        "3 grey (000.png, 001.png, 002.png), 3 RGB (",
        "they differ in size: 4 32 x 32 (000.png, 001.png, 002.png, short.png), 2 40 x 32 (003.png, 004.png); write image_size: 32",
    ):
        assert words in message
    assert "\n" not in message


def test_more_than_five_files_of_a_kind_are_counted(tmp_path):
    for i in range(9):
        (tmp_path / f"{i}.png").write_text("no")
    with pytest.raises(UserError, match=r"image \(9\): 0\.png \([^)]*\), 1\.png [^\n]*, 4\.png \([^)]*\) and 4 more$"):
        make(tmp_path)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_images_ask_for_their_range_and_are_scaled_by_it(tmp_path, rng, ending):
    stored = rng.integers(0, 4096, (4, 8, 8)).astype(np.uint16)
    stored[:, 0, 0] = 4095
    for i, pixels in enumerate(stored):
        Image.fromarray(pixels).save(tmp_path / f"{i}.{ending}")
    with pytest.raises(
        UserError, match=r"more than 8 bits a level: 4 (16|32)-bit grey [^\n]*value_range: \[0, 65535\]$"
    ):
        make(tmp_path)
    if ending == "pgm":  # Pillow stretches its levels to 65535
        return
    image_set = make(tmp_path, value_range=[0, 4095])
    expected = np.rint(stored[image_set.source_index] / 4095 * 255).reshape(4, -1)
    np.testing.assert_array_equal(image_set.images, expected)
    with pytest.raises(UserError, match=r"they run from \d+ to 4095, outside of value_range \[0, 1023\]"):
        make(tmp_path, value_range=[0, 1023])


def test_floating_point_images_are_scaled_by_their_range(tmp_path, rng):
    stored = rng.random((4, 8, 8)).astype(np.float32)
    for i, pixels in enumerate(stored):
        Image.fromarray(pixels).save(tmp_path / f"{i}.tif")
    with pytest.raises(UserError, match="4 floating-point grey"):
        make(tmp_path)
    image_set = make(tmp_path, value_range=[0, 1])
    expected = np.rint(stored[image_set.source_index].astype(float) * 255).reshape(4, -1)
    np.testing.assert_array_equal(image_set.images, expected)


def sixteen_bit(path, pixels, colour_type):
    """A 16-bit PNG (colour type 2: RGB, 4: grey with alpha), which Pillow cannot write."""
    import struct
    import zlib

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_16_bit_colours_are_not_cut_to_8_bits_unasked(tmp_path, rng):
    stored = rng.integers(0, 65536, (3, 8, 8, 3))
    for i, pixels in enumerate(stored):
        sixteen_bit(tmp_path / f"{i}.png", pixels, 2)
    with pytest.raises(UserError, match=r"16 bits a colour: 3 16-bit RGB [^\n]*write value_range: \[0, 65535\]"):
        make(tmp_path)
    image_set = make(tmp_path, value_range=[0, 65535])
    expected = (stored[image_set.source_index] >> 8).transpose(0, 3, 1, 2).reshape(3, -1)
    np.testing.assert_array_equal(image_set.images, expected)


def test_dark_masks_are_said_and_stretched_by_a_stated_range(tmp_path, rng):
    stored = rng.integers(0, 3, (4, 8, 8)).astype(np.uint8)
    for i, pixels in enumerate(stored):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    assert ("dark", "no level is above 2 of 255; if it should be white, write value_range: [0, 2]") in summary.rows(
        summarized(make(tmp_path))
    )
    image_set = make(tmp_path, value_range=[0, 2])
    levels = np.array([0, 128, 255])[stored[image_set.source_index]].reshape(4, -1)
    np.testing.assert_array_equal(image_set.images, levels)


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_the_first_frame_is_read_and_said(tmp_path, ending):
    lossless = {"lossless": True} if ending == "webp" else {}
    for i in range(3):
        frames = [picture(3 * i + k) for k in range(3)]
        frames[0].save(tmp_path / f"{i}.{ending}", save_all=True, append_images=frames[1:], **lossless)
    image_set = make(tmp_path)
    assert_pixels(image_set, tmp_path, "RGB")
    assert summarized(image_set)["remarks"]["animated or of several pages; the first is read"]["count"] == 3


READ = [
    "bmp",
    "dib",
    "gif",
    "ico",
    "jp2",
    "jpe",
    "jfif",
    "pcx",
    "pgm",
    "ppm",
    "pnm",
    "png",
    "qoi",
    "sgi",
    "tga",
    "tiff",
    "webp",
    "avif",
]


@pytest.mark.parametrize("ending", READ)
def test_every_format_that_pillow_reads_and_writes_is_read(tmp_path, ending):
    fill(tmp_path, range(4), ending.upper(), "L" if ending == "pgm" else "RGB")
    image_set = make(tmp_path)
    assert len(image_set.path) == 4 and image_set.image_shape[1:] == (32, 32)
    assert_pixels(image_set, tmp_path, "RGB" if image_set.image_shape[0] == 3 else "L")


def test_programs_are_no_images():
    assert not {".eps", ".ps", ".pdf", ".h5", ".wmf", ".mpg"} & image_file.ENDINGS
    assert not {"EPS", "WMF"} & set(image_file.FORMATS)


def test_a_decoder_error_of_whatever_type_names_its_file(tmp_path):
    fill(tmp_path, range(12))
    content = (tmp_path / "006.png").read_bytes()
    (tmp_path / "006.png").write_bytes(content[:11] + b"\5" + content[12:])
    with pytest.raises(UserError, match=r"006\.png: cannot be read as an image \([^\n]*\)$"):
        make(tmp_path)


def test_warnings_of_a_decoder_are_remarks_that_name_the_file(tmp_path, monkeypatch):
    fill(tmp_path, range(3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # half of it is the limit of an error
    remarks = summarized(make(tmp_path))["remarks"]
    assert (
        len(remarks) == 1 and "decompression bomb" in next(iter(remarks)) and next(iter(remarks.values()))["count"] == 3
    )


def test_images_beyond_the_memory_are_refused_with_a_size_before_they_are_read(tmp_path, monkeypatch):
    fill(tmp_path, range(3), size=(200, 100))
    monkeypatch.setattr("engram.files.untrusted.installed_memory", lambda: 100_000)
    with pytest.raises(UserError, match=r"the data set claims [^\n]* write image_size: 64, say"):
        make(tmp_path)


@pytest.mark.parametrize("key", ["folder", "npz"])
def test_home_and_variables_are_replaced(tmp_path, monkeypatch, key):
    fill(tmp_path / "pictures", range(10))
    np.savez(tmp_path / "a.npz", images=np.stack([np.asarray(picture(i, mode="L")) for i in range(10)]))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    for start in ("~", "$MY_DATA", "${MY_DATA}"):
        written = start + ("/pictures" if key == "folder" else "/a.npz")
        assert len(datasets.make("mine", {key: written}).path) == 10
    with pytest.raises(
        UserError, match=rf"datasets\.mine\.{key}: [^\n]*does not exist[^\n]*variable \$NOWHERE is not set"
    ):
        datasets.make("mine", {key: "$NOWHERE/x"})


def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_a_file_say_what_to_write(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(UserError, match=r"is a file; write npz: [^\n]*a\.npz$"):
        make(tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"is a folder; write folder: "):
        datasets.make("mine", {"npz": str(tmp_path)})


def test_a_folder_without_images_tells_what_it_holds(tmp_path):
    for name in ("a.heic", "b.heic", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"no images [^\n]* it holds 2 \.heic, 1 \.txt$"):
        make(tmp_path)


def test_the_artifact_leads_from_a_row_to_its_file(tmp_path):
    for k, name in enumerate(("cat", "dog")):
        fill(tmp_path / "in" / name, range(10 * k, 10 * k + 10))
    (tmp_path / "in" / "dog" / "copy.png").write_bytes((tmp_path / "in" / "cat" / "000.png").read_bytes())
    told = datasets.write(tmp_path / "mine.h5", "mine", {"folder": "in"}, make(tmp_path / "in"))
    stored = artifacts.read(tmp_path / "mine.h5", "dataset")
    assert json.loads(stored.attrs["summary"]) == told
    for path, name, image in zip(stored.path.values, stored.class_name.values, stored.images.values, strict=True):
        with Image.open(tmp_path / "in" / str(path)) as expected:
            np.testing.assert_array_equal(image, row(expected, "L"))
        assert path.startswith(f"{name}/")
    assert sum(told["duplicates"].values()) == 1


def test_control_characters_in_names_never_reach_the_terminal(tmp_path, caplog):
    fill(tmp_path / "a\x1b[2Jb", range(10))
    (tmp_path / "a\x1b[2Jb" / "c\nd.txt").write_text("x")
    image_set = make(tmp_path)
    assert image_set.path[0].startswith("a\x1b[2Jb/")  # in the file a name stays what it is
    with caplog.at_level(logging.INFO, "engram"):
        summary.tell(logging.getLogger("engram"), "mine", summarized(image_set))
    assert all(record.message.isprintable() for record in caplog.records) and r"a\x1b[2Jb/c\nd.txt" in caplog.text
    (tmp_path / "a\x1b[2Jb" / "e\x07.png").write_bytes(b"")
    with pytest.raises(UserError) as raised:
        make(tmp_path)
    assert str(raised.value).isprintable() and r"e\x07.png: cannot be read" in str(raised.value)


def test_a_summary_of_many_classes_is_short(tmp_path):
    for k in range(60):
        fill(tmp_path / f"class {k:02d}", [k])
    told = summarized(make(tmp_path))
    assert len(told["classes"]) == 50 and told["more_classes"] == 10
    assert dict(summary.rows(told))["classes (training + test)"].endswith(" and 10 more")


@pytest.mark.parametrize(
    ("train", "test"),
    [("train2017", "val2017"), ("seg_train/seg_train", "seg_test/seg_test"), ("train/images", "valid/images")],
)
def test_splits_with_words_around_and_folders_inside_are_found(tmp_path, train, test):
    for k, part in enumerate((train, test)):
        fill(tmp_path / part / "cat", range(4 * k, 4 * k + 2))
        fill(tmp_path / part / "dog", range(4 * k + 2, 4 * k + 4))
    image_set = make(tmp_path)
    assert image_set.split.tolist() == [0] * 4 + [1] * 4 and image_set.label_names == ["cat", "dog"]


def test_boxes_beside_images_make_no_classes(tmp_path):
    for k, part in enumerate(("train", "valid")):
        fill(tmp_path / part / "images", range(4 * k, 4 * k + 4))
        (tmp_path / part / "labels").mkdir()
        (tmp_path / part / "labels" / "000.txt").write_text("0 0.5 0.5 1 1")
    image_set = make(tmp_path)
    assert image_set.split.tolist() == [0] * 4 + [1] * 4 and image_set.label_names == []


def test_classes_with_such_words_are_classes(tmp_path):
    for k, name in enumerate(("train station", "test tube", "car")):
        fill(tmp_path / name, range(4 * k, 4 * k + 4))
    assert make(tmp_path).label_names == ["car", "test tube", "train station"]


def test_a_split_without_training_images_is_refused(tmp_path):
    for k, name in enumerate(("val", "Test")):
        fill(tmp_path / name, range(4 * k, 4 * k + 4))
    with pytest.raises(UserError, match=r"folders Test and val are a split without a train folder$"):
        make(tmp_path)


def test_pipes_links_to_nothing_and_empty_folders_are_said(tmp_path):
    fill(tmp_path / "a", range(4))
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe.png")
    skipped = summarized(make(tmp_path))["skipped"]
    assert {kind: told["first"] for kind, told in skipped.items()} == {
        "empty folders": ["b/"],
        "neither files nor folders": ["a/pipe.png"],
    }
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"a/gone\.png: cannot be read as an image \([^\n]*No such file"):
        make(tmp_path)


def test_enlarged_images_are_said(tmp_path):
    fill(tmp_path, range(5), size=(40, 16))
    told = summarized(make(tmp_path, image_size=32))
    assert told["remarks"]["smaller than image_size, and enlarged"]["count"] == 5


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"it holds 1 \.zip; unpack it first$"):
        make(tmp_path)


@pytest.mark.parametrize("alpha", [40_000, 65535])
def test_16_bits_with_transparency_are_not_taken_for_8(tmp_path, rng, alpha):
    stored = np.dstack([rng.integers(0, 4096, (8, 8)), np.full((8, 8), alpha)])
    for i in range(3):
        sixteen_bit(tmp_path / f"{i}.png", stored, 4)
    for more in ({}, {"mode": "grey"}, {"mode": "grey", "value_range": [0, 4095]}):
        with pytest.raises(UserError, match=r"16 bits a colour: 3 16-bit RGB[^\n]*write value_range: \[0, 65535\]"):
            make(tmp_path, **more)
    shown = make(tmp_path, mode="grey", value_range=[0, 65535]).images[0]
    expected = (stored[..., 0] * (alpha / 65535) + 65535 * (1 - alpha / 65535)).reshape(-1) / 257
    assert abs(shown - expected).max() <= 1.5


def test_classes_that_may_be_none_are_said(tmp_path):
    for k, name in enumerate(("images", "masks")):
        fill(tmp_path / "a" / name, range(4 * k, 4 * k + 4))
        fill(tmp_path / "b" / name, range(1 + k, 2 + k))
    remarks = summarized(make(tmp_path / "a"))["remarks"]
    assert remarks["folders read as classes, though their names do not sound so"]["first"] == ["images", "masks"]
    assert summarized(make(tmp_path / "b", test_fraction=0.5))["remarks"]["classes of one image each"]["count"] == 2


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colours_are_converted_when_asked(tmp_path, mode):
    fill(tmp_path, range(4), "tif", mode)
    with pytest.raises(UserError, match=f"not all grey or all RGB: 4 {mode} "):
        make(tmp_path)
    assert_pixels(make(tmp_path, mode="rgb"), tmp_path, "RGB")
    grey = make(tmp_path, mode="grey")
    for path, stored in zip(grey.path, grey.images, strict=True):
        with Image.open(tmp_path / path) as image:
            expected = row(image.convert("RGB"), "L")
        assert abs(stored.astype(int) - expected).max() <= 2


def test_a_lone_class_stays_one_however_deep_its_images_lie(tmp_path):
    fill(tmp_path / "a" / "cat", range(4))
    fill(tmp_path / "b" / "cat" / "more", range(4))
    assert make(tmp_path / "a").label_names == make(tmp_path / "b").label_names == ["cat"]


@pytest.mark.parametrize("lone", ["images", "Train"])
def test_a_lone_folder_of_a_telling_name_is_no_class(tmp_path, lone):
    fill(tmp_path / lone, range(4))
    assert make(tmp_path).label_names == []


FOLDER_NAMES = [
    "train",
    "Val",
    "test",
    "cat",
    "dog",
    "images",
    ".hidden",
    "__MACOSX",
    "train2017",
    "é",
    "labels",
    "data",
]
FILE_NAMES = ["a.png", "b.PNG", "c.txt", ".d.png", "e", "f.heic", "Thumbs.db"]


def test_no_file_of_any_layout_is_dropped_in_silence(tmp_path):
    python, read = random.Random(0), 0
    content = io.BytesIO()
    picture(0, (4, 4), "L").save(content, "PNG")
    for number in range(200):
        root, files = tmp_path / str(number), set()
        for _ in range(python.choice([2, 5, 12])):
            folder = [python.choice(FOLDER_NAMES) for _ in range(python.choice([0, 1, 1, 2, 2, 3]))]
            name = python.choice(FILE_NAMES[:2] * 6 + FILE_NAMES)
            path = root.joinpath(*folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.getvalue() if name.lower().endswith("png") else b"x")
            files.add(path.relative_to(root).as_posix())
        try:
            image_set = make(root, test_fraction=0.4)
        except UserError as error:
            assert str(error).startswith("datasets.mine")
            continue
        read += 1
        used = set(image_set.path.tolist())
        skipped = {name for names in image_set.reading.skipped.values() for name in names}
        left = {name for name in files - used if not any(name == left or name.startswith(left) for left in skipped)}
        assert not left and not used & skipped and len(used) == len(image_set.path)
        for path, name in zip(image_set.path, image_set.class_names(), strict=True):
            assert name == "" or name in path.split("/")[:-1]
    assert read > 60
