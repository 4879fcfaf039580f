"""Figure: what the encoder's generalization gap adds to the score, against the decoder's memory, and where it comes from."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engram.analyses.encoder_part import read_interval
from engram.figures.style import COLOUR, density, equal_edges, figure, styled
from engram.files.inputs import last

BINS = 40
SIDES = {"shortfall_in": ("U", "train"), "shortfall_out": ("V", "held_out")}


@styled
def encoder_part(analysis: xr.Dataset) -> Figure:
    """`analysis`: the encoder_part artifact; its last scored epoch is drawn."""
    drawn = figure(2.7)
    histogram, scatter, shortfall = drawn.subplots(1, 3)
    encoder, decoder = last(analysis, "encoder_part"), last(analysis, "decoder_part")
    _histogram(histogram, encoder, analysis)
    scatter.plot(decoder, encoder, ".", markersize=2.5, alpha=0.5, color="0.25", rasterized=True)
    scatter.axhline(0, color="black", linewidth=0.6)
    scatter.set(xlabel="decoder part of M (nats)", ylabel="encoder part of M (nats)")
    scatter.set_title(f"rank correlation {read_interval(analysis, 'spearman').text()}")
    _shortfalls(shortfall, analysis)
    return drawn


def _histogram(axes: Axes, encoder: np.ndarray, analysis: xr.Dataset) -> None:
    share = 100 * read_interval(analysis, "share_above_1_nat").estimate
    density(axes, encoder, _edges(encoder), COLOUR["published"])
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set(xlabel="encoder part of M (nats)", ylabel="density (1/nat)")
    axes.set_title(f"mean {read_interval(analysis, 'mean').text()}\nabove 1 nat: {share:.0f} % of images")


def _shortfalls(axes: Axes, analysis: xr.Dataset) -> None:
    edges = _edges(*(last(analysis, name) for name in SIDES))
    for name, (side, colour) in SIDES.items():
        mean = read_interval(analysis, f"mean_{name}").estimate
        density(axes, last(analysis, name), edges, COLOUR[colour], f"{side}: mean {mean:.2f}")
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set(xlabel="shortfall (nats)", title="shortfall of U (saw the image)\nand V (did not)")
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # room for the legend
    axes.legend()


def _edges(*values: np.ndarray) -> np.ndarray:
    """Histogram edges over all values but the outermost thousandth on each side (in nats)."""
    return equal_edges(*np.quantile(np.concatenate(values), [0.001, 0.999]), BINS)
