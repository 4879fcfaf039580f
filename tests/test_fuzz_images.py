"""Damaged images of every format that Pillow writes: each is read, or named in one line. Never a traceback."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from engram import datasets
from engram.datasets import image_file
from engram.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*image format is deprecated:DeprecationWarning")

MUTANTS, MANY = 400, 4000
FORMATS = sorted(set(Image.SAVE) & set(image_file.FORMATS))
MODES = ["RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "F", "LA"]


def written(kind):
    """Files of a format, as many modes as it can hold."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    files = []
    for mode in MODES:
        image = (
            Image.fromarray(pixels).convert("L").convert(mode)
            if mode == "I;16"
            else Image.fromarray(pixels).convert(mode)
        )
        content = io.BytesIO()
        try:
            image.save(content, format=kind)
            Image.open(io.BytesIO(content.getvalue()), formats=[kind]).load()
        except (OSError, ValueError, KeyError):  # a mode that it cannot hold
            continue
        files.append(content.getvalue())
    return files


def damage(content, rng):
    """Bytes as a bad disk, a broken copy, or someone who means harm leaves them."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 4])):
        where = rng.randrange(min(len(content), rng.choice([16, 64, 10**9])))
        match rng.randrange(7):
            case 0 | 1:
                content[where] ^= 1 << rng.randrange(8)
            case 2:
                content[where] = rng.choice([0, 1, 127, 128, 255])
            case 3:
                del content[max(where, 1) :]
            case 4:
                content[where : where + 64] = bytes(len(content[where : where + 64]))
            case 5:
                del content[where : where + rng.choice([1, 4, 100])]
            case _:
                content[where:where] = rng.randbytes(rng.choice([1, 4, 100]))
        if not content:
            break
    return bytes(content)


def test_enough_formats_are_fuzzed():
    assert {"PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "AVIF", "JPEG2000", "TGA", "ICO"} <= set(FORMATS)
    assert len(FORMATS) >= 20


def fuzz(folder, count):
    rng, refused = random.Random(f"images {count}"), 0
    originals = {kind: written(kind) for kind in FORMATS}
    for number in range(2):
        Image.fromarray(np.full((32, 32, 3), 90 * number, np.uint8)).save(folder / f"{number}.png")
    for number in range(count):
        kind = FORMATS[number % len(FORMATS)]
        ending = next((ending for ending, of in Image.registered_extensions().items() if of == kind), ".png")
        path = folder / f"mutant{ending}"
        path.write_bytes(damage(rng.choice(originals[kind]), rng))
        try:
            datasets.make("mine", {"folder": str(folder), **rng.choice([{}, {"mode": "grey", "image_size": 16}])})
        except UserError as error:
            refused += 1
            assert path.name in str(error) and str(error).isprintable() and len(str(error)) < 2000, str(error)
        path.unlink()
    assert count * 0.9 > refused > count / 4


@pytest.mark.slow
def test_damaged_images_are_read_or_named(tmp_path):
    fuzz(tmp_path, MUTANTS)


@pytest.mark.slow
def test_many_damaged_images_are_read_or_named(tmp_path):
    fuzz(tmp_path, MANY)
