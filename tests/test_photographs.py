"""A folder of photographs of mixed sizes, modes and orientations goes to a report whose pictures are upright, coloured and named.

Every photograph shows which way up it is, its class, and by its file's name how it was stored.
"""

import re

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import workspace

RED, GREEN, BLUE = (225, 40, 40), (40, 185, 60), (40, 60, 205)  # upper left, upper right, lower right
CLASSES = {"cat": (235, 215, 60), "dog": (150, 60, 170), "猫": (60, 200, 210)}  # and the colour of the lower left
MODES = {"RGB": "jpg", "L": "jpg", "CMYK": "jpg", "RGBA": "png", "P": "png"}
# How a picture is stored so that a viewer who heeds the EXIF orientation shows it upright; 1 is as it is.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
WHITE, TOLERANCE = (255, 255, 255), 30  # grey levels: what JPEG, palettes, noise and a resize may change
PHOTOGRAPHS = 300

EXPERIMENT = {
    "dataset": "photographs",
    "model": {"name": "gaussian_conv_vae", "latent_dim": 4, "features": 4},
    "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.001},
    "membership": {"design": "k_fold", "folds": 3, "repeats": 2},
    "scored_epochs": [2],
    "estimators": ["published", "corrected"],
    "analyses": workspace.ANALYSES,
    "seed": 42,
}


def photograph(number: int, colour: tuple[int, int, int]) -> Image.Image:
    """Four quarters of the middle square, each of its colour, under noise and a shadow; wide, high or square."""
    rng = np.random.default_rng(number)
    side, longer = rng.integers(48, 160), rng.integers(0, 60)
    quarters = np.array([[RED, GREEN], [colour, BLUE]], dtype=float).repeat(side // 2, 0).repeat(side // 2, 1)
    margin = ((0, 0), (longer, longer), (0, 0)) if number % 3 else ((longer, longer), (0, 0), (0, 0))
    pixels = np.pad(quarters, margin, mode="edge")
    shadow = 10 * np.sin(np.linspace(0, rng.uniform(1, 9), pixels.shape[1]))[None, :, None]
    return Image.fromarray((pixels + shadow + rng.normal(0, 5, pixels.shape)).clip(0, 255).astype(np.uint8))


def stored(picture: Image.Image, mode: str, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """The picture as a camera or program with this mode and orientation stores it."""
    if mode == "RGBA":  # the upper right is cut out
        width, height = picture.size
        alpha = Image.new("L", picture.size, 255)
        alpha.paste(0, (width // 2, 0, width, height // 2))
        picture.putalpha(alpha)
    picture = picture.quantize(64) if mode == "P" else picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture if STORED[orientation] is None else picture.transpose(STORED[orientation]), exif


def write(folder) -> None:
    for number in range(PHOTOGRAPHS):
        class_name, colour = list(CLASSES.items())[number % 3]
        mode, orientation = list(MODES)[number % 5], 1 + number % 8
        picture, exif = stored(photograph(number, colour), mode, orientation)
        path = folder / class_name / f"{mode} {orientation} {number:03d}.{MODES[mode]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, exif=exif, **({"quality": 95} if MODES[mode] == "jpg" else {}))


def grey(colour):
    """ITU-R 601 luma, which a photograph in grey holds."""
    return np.full(3, np.dot([0.299, 0.587, 0.114], colour))


def quarters_of(path: str) -> np.ndarray:
    """Colours (2, 2, 3) that the upright picture of this path shows."""
    class_name, mode = re.fullmatch(r"(.+)/([A-Z]+) \d \d+\.\w+", path).groups()
    shown = np.array([[RED, WHITE if mode == "RGBA" else GREEN], [CLASSES[class_name], BLUE]], dtype=float)
    return np.apply_along_axis(grey, -1, shown) if mode == "L" else shown


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workspace in which the report was made."""
    folder = workspace.create(tmp_path_factory.mktemp("photographs") / "engram")
    write(folder / "photographs")
    entry = {"folder": "photographs", "image_size": 32, "mode": "rgb"}
    workspace.change(folder, "datasets", photographs=entry)
    workspace.change(folder, "experiments", photographs=EXPERIMENT)
    workspace.change(folder, run=["photographs"])
    run = workspace.snakemake(folder)
    assert run.returncode == 0, run.stdout
    return folder


@pytest.mark.slow
def test_every_photograph_is_upright_and_coloured(made):
    with h5py.File(made / "results/datasets/photographs.h5") as file:
        images = file["images"][:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(float)
        paths = [path.decode() for path in file["path"][:]]
    assert len(set(paths)) == PHOTOGRAPHS
    for path, image in zip(paths, images, strict=True):
        middles = np.array([[image[y : y + 8, x : x + 8].mean(axis=(0, 1)) for x in (4, 20)] for y in (4, 20)])
        assert abs(middles - quarters_of(path)).max() < TOLERANCE, path


@pytest.mark.slow
def test_every_score_and_the_report_name_their_photographs(made):
    table = pd.read_csv(made / "results/photographs/scores/corrected.csv")
    assert len(table) == 270 and (table["path"].str.rsplit("/", n=1).str[0] == table["class_name"]).all()
    assert all((made / "photographs" / path).is_file() for path in table["path"])
    page = (made / "results/report.html").read_text()
    for path in table.sort_values("score", ascending=False)["path"][:10]:
        assert path in page
    log = (made / "logs/photographs/figures/grids.log").read_text()
    assert (made / "results/photographs/figures/grids.png").is_file() and "Traceback" not in log
