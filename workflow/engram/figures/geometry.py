"""Figure: the dimension of the model against that of the data, the labels that follow, and what low dimension predicts."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from engram.figures.labels import SCORE, titled
from engram.figures.style import CAPTION_LINE, TILES, figure, show_images, styled
from engram.files.inputs import images, last
from engram.geometry.labels import DATA, NOT_MEMORIZED, OVERFITTING, UNDECIDED, UNLABELLED
from engram.scores import intervals

COLOURS = {
    OVERFITTING: "#D55E00",
    DATA: "#0072B2",
    NOT_MEMORIZED: "#009E73",
    UNDECIDED: "#999999",
    UNLABELLED: "#999999",
}
PREDICTORS = {
    "lid_data": "low dimension of the data",
    "lid_model": "low dimension of the model",
    "gap": "gap between the two",
    "distance_5nn": "distance to 5 nearest",
}
SHOWN = 20_000  # points that a picture can hold
COLUMNS = (0, 0.27, 0.45, 0.64, 0.82)  # of the table of predictors
LINE, ROWS = 0.145, 10  # inches of a line of numbers, and the fewest there is room for


@styled
def geometry(analysis: xr.Dataset, scores: dict[str, xr.Dataset], dataset: xr.Dataset) -> Figure:
    """`analysis`: the geometry artifact. Above both dimensions, coloured by score and by label; below numbers, and images."""
    shown = [name for name, count in zip(analysis["cause_of"].values, analysis["images"].values, strict=True) if count]
    _, height, width = np.atleast_1d(dataset.attrs["image_shape"])
    strip = 0.3 + 0.42 * len(shown) * (height / width + 2 * CAPTION_LINE)
    numbers = LINE * max(ROWS, 1 + (1 + len(PREDICTORS)) * len(scores))
    drawn = figure(2.6 + numbers + strip)
    drawn.get_layout_engine().set(w_pad=0.1)  # a colour bar of two panels makes it forget the width of a label
    above, below, pictures = drawn.subfigures(3, 1, height_ratios=(2.6, numbers, strip))
    by_score, by_label = above.subplots(1, 2, sharex=True, sharey=True)
    name, judge = next(iter(scores.items()))
    points = _by_score(by_score, analysis, judge)
    title = f"rank of {SCORE}, {titled(name, judge)}"
    place = {"location": "top", "shrink": 0.4, "aspect": 40, "anchor": (0, 0)}
    above.colorbar(points, ax=[by_score, by_label], label=title, ticks=[0, 0.5, 1], **place)
    _by_label(by_label, analysis)
    said, predicted = below.subplots(1, 2, width_ratios=(1, 2))
    _said(said, analysis, name)
    _predicted(predicted, analysis)
    _pictures(pictures.subplots(), analysis, shown, judge, dataset)
    return drawn


def _some(n: int) -> slice:
    return slice(None, None, -(-n // SHOWN))


def _by_score(axes: Axes, analysis: xr.Dataset, judge: xr.Dataset) -> PathCollection:
    """Coloured by the rank of the score, so that the few highest do not take all colours."""
    score = last(judge)
    rank = np.argsort(np.argsort(score)) / max(1, len(score) - 1)
    order = np.argsort(rank)[_some(len(rank))]
    axes.set(xlabel="dimension of the data", ylabel="dimension of the model")
    at = (analysis[of].values[order] for of in ("lid_data", "lid_model"))
    return axes.scatter(*at, 3, rank[order], rasterized=True)


def _by_label(axes: Axes, analysis: xr.Dataset) -> None:
    cause, some = analysis["cause"].values.astype(str), _some(analysis.sizes["sample"])
    for name, colour in COLOURS.items():
        here = np.flatnonzero(cause == name)[some]
        at = (analysis[of].values[here] for of in ("lid_data", "lid_model"))
        axes.plot(*at, ".", color=colour, markersize=3, alpha=0.7, label=name or "no label", rasterized=True)
    if analysis.attrs["comparison"] == "absolute":
        axes.axline((0, 0), slope=1, color="#666666", linestyle=":", linewidth=0.8)
    axes.set(xlabel="dimension of the data")
    present = [line for line in axes.lines if len(line.get_xdata()) and not line.get_label().startswith("_")]
    axes.legend(handles=present, markerscale=2)


def _said(axes: Axes, analysis: xr.Dataset, name: str) -> None:
    """Each label's share of the images, and how many of its images are memorized at FDR 5 %."""
    axes.axis("off")
    lines = [f"{analysis.attrs['comparison']} comparison of the dimensions"]
    if analysis.attrs["why_none"]:
        lines += ["No image is labelled:", f"{analysis.attrs['why_none']}."]
    else:
        lines += [_line(analysis.sel(cause_of=each), each, name) for each in analysis["cause_of"].values]
    if unknown := analysis.attrs["without_error"]:
        lines.append(f"of {unknown:,} the model's error is unknown: taken for 0")
    if "confusion" in analysis and not analysis.attrs["why_none"]:
        counts = analysis["confusion"].values
        lines.append(f"\nas by the known dimension: {np.trace(counts):,} of {counts.sum():,}")
    axes.text(0, 1, "\n".join(lines), va="top", fontsize=7, linespacing=1.35, transform=axes.transAxes)


def _line(of_label: xr.Dataset, label: str, name: str) -> str:
    found = intervals.read(of_label.sel(estimator=name), "memorized")
    share = f"{label}: {int(of_label['images']):,} ({100 * float(of_label['share']):.1f} %)"
    return f"{share}\n    memorized at FDR 5 %: {found.text()}" if int(of_label["images"]) else share


def _predicted(axes: Axes, analysis: xr.Dataset) -> None:
    """What each predictor says of the score, with intervals, and by how much it exceeds what the distance does."""
    rows = [["", "correlation", "minus 5-NN's", "area, FDR 5 %", "minus 5-NN's"]]
    numbers = ("spearman", "gain_over_5nn", "area_memorized", "area_gain_over_5nn")
    for estimator in analysis["estimator"].values:
        rows.append([f"{estimator}:", *[""] * len(numbers)])
        for name, title in PREDICTORS.items():
            found = analysis.sel(predictor=name, estimator=estimator)
            rows.append([f"  {title}", *(intervals.read(found, of).text() for of in numbers)])
    axes.axis("off")
    line = 1 / max(len(rows), ROWS)
    for place, row in enumerate(rows):
        for left, text in zip(COLUMNS, row, strict=True):
            axes.text(left, 1 - place * line, text, fontsize=5.5, va="top", transform=axes.transAxes)


def _pictures(axes: Axes, analysis: xr.Dataset, shown: list[str], judge: xr.Dataset, dataset: xr.Dataset) -> None:
    """Of each label the images of highest score, with both dimensions and the score above each."""
    axes.axis("off")
    cause, score = analysis["cause"].values.astype(str), last(judge)
    rows = {each: np.flatnonzero(cause == each) for each in shown}
    rows = {each: here[np.argsort(-score[here], kind="stable")][:TILES] for each, here in rows.items()}
    if not rows:
        return
    filled = np.concatenate([np.pad(here, (0, TILES - len(here)), constant_values=-1) for here in rows.values()])
    sizes = np.atleast_1d(dataset.attrs["image_shape"])
    tiles = np.ones((len(filled), *sizes), dtype=np.float32)
    tiles[filled >= 0] = images(dataset, analysis["sample"].values[filled[filled >= 0]])
    captions = ["" if i < 0 else _caption(analysis, i, score[i]) for i in filled]
    for top, each in zip(show_images(axes, tiles, captions), rows, strict=True):
        axes.text(-0.25, top - 0.5, each.replace("-", "-\n").replace(" ", "\n"), ha="right", va="center", fontsize=6.5)


def _caption(analysis: xr.Dataset, at: int, score: float) -> str:
    data, model = (float(analysis[f"lid_{of}"][at]) for of in ("data", "model"))
    return f"{data:z.1f} / {model:z.{int(abs(model) < 100)}f}\nM {score:z.1f}"
