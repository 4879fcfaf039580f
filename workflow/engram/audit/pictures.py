"""Figures of an audit: functions of audit.h5, each of which says what it lacks."""

from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses.copying import COPY
from engram.audit.images import HELD_OUT, TRAINING, UNKNOWN
from engram.figures import roc_curves
from engram.figures.grids import file_name
from engram.figures.style import CAPTION_LINE, COLOUR, TILES, density, equal_edges, figure, number, show_images, styled

KINDS = {TRAINING: COLOUR["train"], HELD_OUT: COLOUR["held_out"], UNKNOWN: COLOUR["null"]}
LOOK = {
    "bound": ("bound", "#000000", "-"),
    "loss_at_t": ("loss at t", "#0072B2", "-"),
    "secmi": ("SecMI", "#D55E00", "-"),
    "pia": ("PIA", "#E69F00", (0, (4, 1.5))),
    "sima": ("SimA", "#009E73", (0, (1, 1))),
    "prompt_gain": ("gain by the prompt", "#CC79A7", "-"),
}
AT = 0.1  # the time whose dimension orders pictures
CURVES = {
    "lid": "dimension (FLIPD)",
    "lid_without_prompt": "dimension without the prompt",
    "guidance_norm": "norm of the guidance vector",
}


@styled
def membership(audit: xr.Dataset) -> Figure:
    """ROC curves of training against held-out images, and the p-values of whole sets."""
    look = {name: LOOK[name] for name in audit["attack"].values}
    drawn = figure(2.7)
    curves, table = drawn.subplots(1, 2, width_ratios=(1, 2))
    roc_curves.curves(curves, audit, look)
    roc_curves.table(table, audit, look, [*roc_curves.counts(audit)])
    return drawn


@styled
def bounds(audit: xr.Dataset) -> Figure:
    """Histograms of the bound by membership, and of the gain by the prompt where there are prompts."""
    names = {
        "bound": f"bound on log p of the {audit.attrs['bound_of']}, nats",
        "prompt_gain": "gain by the prompt, nats",
    }
    there = {name: title for name, title in names.items() if name in audit}
    drawn = figure(2.2)
    for axes, (name, title) in zip(drawn.subplots(1, len(there), squeeze=False)[0], there.items(), strict=True):
        values = audit[name].values
        values, of_kinds = values[np.isfinite(values)], audit["membership"].values[np.isfinite(values)]
        edges = equal_edges(values.min(), values.max(), 40)
        for kind, colour in KINDS.items():
            of_kind = values[of_kinds == kind]
            density(axes, of_kind, edges, colour, f"{kind}: {len(of_kind):,}" if len(of_kind) else None)
        axes.set(xlabel=title, ylabel="density")
        axes.legend()
    return drawn


@styled
def dimensions(audit: xr.Dataset) -> Figure:
    """Curves over time of the dimension at each image, and of the guidance vector: median and quartiles, by membership."""
    there = {name: title for name, title in CURVES.items() if name in audit}
    drawn = figure(2.3)
    for axes, (name, title) in zip(drawn.subplots(1, len(there), squeeze=False)[0], there.items(), strict=True):
        for kind, colour in KINDS.items():
            of_kind = audit[name].values[audit["membership"].values == kind]
            of_kind = of_kind[np.isfinite(of_kind).all(axis=1)]
            if len(of_kind):
                _band(axes, audit["time"].values, of_kind, colour, kind)
        axes.set(xscale="log", xlabel="time, a share of the schedule", ylabel=title)
    axes.legend()
    return drawn


def _band(axes: Axes, times: np.ndarray, curves: np.ndarray, colour: str, label: str) -> None:
    low, middle, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
    axes.plot(times, middle, color=colour, label=label)
    axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)


@styled
def highest(audit: xr.Dataset) -> Figure:
    """The images that look most memorized, by a statistic a row, with what is known of their membership."""
    orders = {title: (values, sign) for title, values, sign in _orders(audit)}
    shape = np.atleast_1d(audit.attrs["picture_shape"])
    drawn = figure((0.35 + 0.55 * (shape[1] / shape[2] + 3 * CAPTION_LINE)) * len(orders))
    panels = drawn.subplots(len(orders), 1, squeeze=False)[:, 0]
    for axes, (title, (values, sign)) in zip(panels, orders.items(), strict=True):
        chosen = np.argsort(-values, kind="stable")[:TILES]
        images = audit["picture"].values[chosen].reshape(-1, *shape).astype(np.float32) / 255
        captions = [
            f"{file_name(str(audit['file'].values[i]), i)}\n{audit['membership'].values[i]}\n{number(sign * values[i])}"
            for i in chosen
        ]
        show_images(axes, images, captions)
        axes.set_title(title, loc="left")
    return drawn


def _orders(audit: xr.Dataset) -> Iterator[tuple[str, np.ndarray, int]]:
    """What pictures are ordered by, higher for a memorized image, and the sign with which it is shown."""
    yield f"Lowest dimension, at time {AT:g}", -audit["lid"].sel(time=AT).values, -1
    yield "Lowest error of the predicted noise (loss at t)", audit["loss_at_t"].values, -1
    if "prompt_gain" in audit:
        yield "Highest gain by the prompt, nats", audit["prompt_gain"].values, 1
        yield f"Longest guidance vector, at time {AT:g}", audit["guidance_norm"].sel(time=AT).values, 1


@styled
def copied(audit: xr.Dataset) -> Figure:
    """The samples most like copies, under the training images nearest to them, and the ratios of all of them."""
    shape = np.atleast_1d(audit.attrs["picture_shape"])
    files, ratios = audit["shown_file"].values, audit["shown_ratio"].values
    captions = [file_name(str(file), i) for i, file in enumerate(files)]
    captions += [f"sample\n{ratio:.2f}{', a copy' if ratio < COPY else ''}" for ratio in ratios]
    both = np.concatenate([audit["shown_training"].values, audit["shown_sample"].values])
    of_pairs = 0.4 + 0.5 * 2 * (shape[1] / shape[2] + 2 * CAPTION_LINE)
    drawn = figure(of_pairs + 1.9)
    top, bottom = drawn.subplots(2, 1, height_ratios=(of_pairs, 1.9))
    show_images(top, both.reshape(-1, *shape).astype(np.float32) / 255, captions, columns=len(files))
    top.set_title("Training images (above) and the samples most like copies of them (below)", loc="left")
    edges = np.linspace(0, 1, 61)
    for name, kind, label in (("ratio", "regular", "samples"), ("ratio_fresh", "held_out", "held-out images")):
        values = audit[name].values
        density(bottom, values, edges, COLOUR[kind], f"{label}: {len(values):,}" if len(values) else None)
    bottom.axvline(COPY, color="black", linewidth=0.7, linestyle=":")
    bottom.set(
        xlim=(0, 1), ylabel="density", xlabel="nearest over nearest different distance; below the line is a copy"
    )
    bottom.legend()
    return drawn


@styled
def prevented(audit: xr.Dataset) -> Figure:
    """Samples without prevention and with it, from the same noise, and the norms of their guidance vectors at the first step."""
    shape, chosen = np.atleast_1d(audit.attrs["picture_shape"]), audit["prevented_from"].values
    names = ("first_guidance_norm", "first_guidance_norm_prevented")
    captions = [
        f"{'' if k else 'norm '}{norm:.3g}" for name in names for k, norm in enumerate(audit[name].values[chosen])
    ]
    both = np.concatenate([audit["shown_without_prevention"].values, audit["shown_prevented"].values])
    of_pairs = 0.4 + 0.5 * 2 * (shape[1] / shape[2] + CAPTION_LINE)
    drawn = figure(of_pairs + 1.9)
    top, bottom = drawn.subplots(2, 1, height_ratios=(of_pairs, 1.9))
    show_images(top, both.reshape(-1, *shape).astype(np.float32) / 255, captions, columns=len(chosen))
    top.set_title("Samples without prevention (above) and with it (below), from the same noise", loc="left")
    norms = {name: audit[name].values[np.isfinite(audit[name].values)] for name in names}
    edges = equal_edges(0, max(values.max() for values in norms.values()), 40)
    for values, kind, label in zip(norms.values(), ("regular", "held_out"), ("without", "with"), strict=True):
        density(bottom, values, edges, COLOUR[kind], f"{label} prevention: {len(values):,}")
    bottom.axvline(audit.attrs["prevention_threshold"], color="black", linewidth=0.7, linestyle=":")
    bottom.set(xlabel="norm of the guidance vector at the first step; the line is the threshold", ylabel="density")
    bottom.legend()
    return drawn


def figures(audit: xr.Dataset) -> dict[str, Callable[[xr.Dataset], Figure]]:
    """Those that an audit can have, by name."""
    there = {
        membership: bool(audit["area_under_curve"].notnull().any()),
        bounds: True,
        dimensions: True,
        highest: True,
        copied: "shown_ratio" in audit,
        prevented: "shown_prevented" in audit,
    }
    return {draw.__name__: draw for draw, is_there in there.items() if is_there}
