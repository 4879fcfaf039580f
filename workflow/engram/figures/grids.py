"""Figure: the images with the lowest, the most ordinary and the highest scores, by estimator."""

from pathlib import PurePosixPath

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from engram.figures.labels import titled
from engram.figures.lettering import lettered
from engram.figures.style import CAPTION_LINE, TILES, class_name, estimator_colours, figure, show_images, styled
from engram.files.inputs import images, last

LONGEST = 11  # letters of a file's name, which tells files apart by its end


@styled
def grids(scores: dict[str, xr.Dataset], dataset: xr.Dataset) -> Figure:
    """15 images each of lowest score, nearest to the median, and highest, with class and score in nats above each.

    Where there are fewer, each row holds all of them, in its order. The user's own images are called by their files, too.
    """
    groups = {"lowest M": lowest, "median M": nearest_to_median, "highest M": highest}
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    paths = files_of(dataset)
    lines = 3 if paths else 2
    drawn = figure((0.5 + 1.25 * (height / width + lines * CAPTION_LINE)) * len(scores))
    colours = estimator_colours(scores)
    panels = drawn.subplots(len(scores), 1, squeeze=False)[:, 0]
    for axes, (name, scored) in zip(panels, scores.items(), strict=True):
        score, label = last(scored), scored["label"].values
        chosen = np.concatenate([choose(score)[:TILES] for choose in groups.values()])
        shown = scored["sample"].values[chosen]
        captions = [f"{class_name(dataset.attrs, label[i])}\n{_short(score[i])}".strip() for i in chosen]
        if paths:
            captions = [f"{file_name(paths[i], i)}\n{caption}" for i, caption in zip(shown, captions, strict=True)]
        tops = show_images(axes, images(dataset, shown), captions, columns=min(TILES, len(score)))
        for top, title in zip(tops, groups, strict=True):
            axes.text(-0.25, top - 0.5, title, ha="right", va="center", fontsize=7.5, rotation=90)
        axes.set_title(titled(name, scored), color=colours[name], loc="left")
    return drawn


def files_of(dataset: xr.Dataset) -> list[str]:
    """The file of each image; none where images come from an array, and have an index."""
    paths = [str(path) for path in dataset["path"].values] if "path" in dataset else []
    return [] if all(path.isdigit() for path in paths) else paths


def file_name(path: str, index: int) -> str:
    """What an image's file is called, cut to fit above a tile. A name that no font can draw gives way to the image's index."""
    stem = PurePosixPath(path).stem
    return lettered(stem if len(stem) <= LONGEST else f"..{stem[2 - LONGEST :]}", f"image {index}")


def _short(score: float) -> str:
    return f"{score:,.0f}" if abs(score) >= 1000 else f"{score:z.1f}"  # z: no -0.0


def lowest(score: np.ndarray) -> np.ndarray:
    """Indices of the images, lowest score first."""
    return np.argsort(score, kind="stable")


def highest(score: np.ndarray) -> np.ndarray:
    """Indices of the images, highest score first."""
    return np.argsort(-score, kind="stable")


def nearest_to_median(score: np.ndarray) -> np.ndarray:
    """Indices of the images, nearest to the median score first."""
    return np.argsort(np.abs(score - np.median(score)), kind="stable")
