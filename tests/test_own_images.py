"""docs/own_images.md: every data set that it shows is checked as a config and read, and its Python runs."""

import contextlib
import io
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image

from engram import config, datasets

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "own_images.md").read_text()
SHIPPED = yaml.safe_load((REPOSITORY / "config.yaml").read_text())


def blocks(first_word):
    """The indented blocks of the page that begin with a word."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    texts = [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n") for block in found]
    return [text for text in texts if text.startswith(first_word)]


DEFINITIONS = {
    name: entry for block in blocks("datasets:") for name, entry in yaml.safe_load(block)["datasets"].items()
}


@pytest.fixture
def sources(tmp_path, monkeypatch, rng):
    """Everything that the page's examples name."""
    monkeypatch.chdir(tmp_path)
    grey = rng.integers(0, 256, (60, 32, 32)).astype(np.uint8)
    for i, pixels in enumerate(grey):
        save(Image.fromarray(pixels), Path("my_images", ("cat", "dog")[i % 2], f"{i:04d}.png"))
        save(
            Image.fromarray(pixels).convert("RGB" if i % 3 else "L").resize((60 + i, 50)),
            Path("my_photos", f"{i:04d}.jpg"),
        )
        save(Image.fromarray(np.dstack([pixels] * 4)), Path("my_icons", f"{i:04d}.png"))
        save(Image.fromarray(pixels.astype(np.uint16) * 16), Path("my_scans", f"{i:04d}.tif"))
    labels = np.arange(60) % 3
    np.savez("my_arrays.npz", images=grey, labels=labels)
    np.savez("my_keras.npz", x_train=grey[:50], y_train=labels[:50], x_test=grey[50:], y_test=labels[50:])
    np.savez("my_floats.npz", images=grey / 127.5 - 1)
    np.savez("my_matlab.npz", images=grey.transpose(1, 2, 0))
    with h5py.File("my_faces.h5", "w") as file:
        file["faces"], file["person"] = grey[:40], labels[:40]
        file["faces_later"], file["person_later"] = grey[40:], labels[40:]
    return grey


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


# Training and test images, shape, classes.
EXPECTED = {
    "my_images": (54, 6, (1, 32, 32), ["cat", "dog"]),
    "my_images_fifth": (48, 12, (1, 32, 32), ["cat", "dog"]),
    "my_photos": (54, 6, (3, 32, 32), []),
    "my_icons": (54, 6, (1, 32, 32), []),
    "my_scans": (54, 6, (1, 32, 32), []),
    "my_arrays": (54, 6, (1, 32, 32), ["0", "1", "2"]),
    "my_keras": (50, 10, (1, 32, 32), ["0", "1", "2"]),
    "my_faces": (40, 20, (1, 32, 32), ["0", "1", "2"]),
    "my_unlabelled": (54, 6, (1, 32, 32), []),
    "my_named": (54, 6, (1, 32, 32), ["round", "square", "other"]),
    "my_floats": (54, 6, (1, 32, 32), []),
    "my_matlab": (54, 6, (1, 32, 32), []),
}


def test_every_example_is_expected_to_be_something():
    assert set(DEFINITIONS) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_of_the_page_is_valid_and_reads_the_pixels(sources, name):
    config.validate(SHIPPED | {"datasets": SHIPPED["datasets"] | {name: DEFINITIONS[name]}})
    image_set = datasets.make(name, DEFINITIONS[name])
    counts = (image_set.split == 0).sum(), (image_set.split == 1).sum()
    assert (*counts, image_set.image_shape, image_set.label_names) == EXPECTED[name]
    grey = sources.reshape(60, -1)
    if name == "my_icons":  # grey over black, as transparent as it is dark
        grey = np.rint(grey.astype(int) ** 2 / 255)
    if name == "my_scans":
        grey = np.rint(grey * (16 * 255 / 4095))
    if name.startswith("my_images"):  # the cats come first
        grey = grey.reshape(30, 2, -1).swapaxes(0, 1).reshape(60, -1)
    if name != "my_photos":
        assert abs(image_set.images - grey[image_set.source_index]).max() <= (1 if name == "my_icons" else 0)


def test_the_python_of_the_page_prints_path_class_and_summary(sources):
    definition = DEFINITIONS["my_images"]
    image_set = datasets.make("my_images", definition)
    datasets.write("results/datasets/my_images.h5", "my_images", definition, image_set)
    (program,), printed = blocks("import json"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "own_images.md", "exec"), {})
    first, *lines = printed.getvalue().splitlines()
    assert first.split() == [image_set.path[0], image_set.class_names()[0]]
    assert "classes (training + test) cat (27 + 3), dog (27 + 3)" in lines


def test_every_key_is_in_the_table_and_every_key_of_the_table_exists():
    schema = yaml.safe_load((REPOSITORY / "workflow/engram/schemas/config.schema.yaml").read_text())["$defs"]
    table = PAGE.split("## All keys")[1]
    listed = {
        key for line in table.splitlines() for key in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert listed == {*schema["folder"]["properties"], *schema["arrays"]["properties"]}


def test_the_names_of_arrays_are_those_that_are_found():
    from engram.datasets.array_names import NAMES

    rows = re.findall(
        r"^\| [a-z ]+ \| (`[^|]*`) \| ", PAGE.split("## Arrays")[1].split("Parts are found")[0], re.MULTILINE
    )
    assert [tuple(re.findall(r"`(\w+)`", row)) for row in rows] == list(NAMES.values())
