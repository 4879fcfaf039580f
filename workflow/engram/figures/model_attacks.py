"""Figure: ROC curves of attacks that ask the models, in both forms, and what they come to as numbers."""

import json
from textwrap import wrap

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from engram.figures import roc_curves
from engram.figures.style import figure, styled

LOOK = {
    "reconstruction": ("reconstruction", "#0072B2", "-"),
    "nearest_sample": ("nearest sample", "#666666", "-"),
    "monte_carlo": ("Monte Carlo", "#56B4E9", (0, (4, 1.5))),
    "loss_at_t": ("loss at t", "#D55E00", "-"),
    "secmi": ("SecMI", "#009E73", "-"),
    "pia": ("PIA", "#E69F00", (0, (4, 1.5))),
    "sima": ("SimA", "#CC79A7", (0, (1, 1))),
}
FORMS = {"as published": "{}", "difficulty-calibrated": "{}_calibrated"}  # names of the attacks in it
LINE = 82  # letters of a line below a table


@styled
def model_attacks(analysis: xr.Dataset) -> Figure:
    """`analysis`: the model_attacks artifact. One row per form: curves on the left, numbers on the right, and what is lacking."""
    drawn = figure(3.1 * len(FORMS))
    panels = drawn.subplots(len(FORMS), 2, width_ratios=(1, 2))
    for (curves, table), (title, form) in zip(panels, FORMS.items(), strict=True):
        look = {form.format(name): of_attack for name, of_attack in LOOK.items()}
        there = {name: of_attack for name, of_attack in look.items() if _is_there(analysis, name)}
        roc_curves.curves(curves, analysis, there)
        curves.set_title(title, loc="left")
        roc_curves.table(table, analysis, there, _below(analysis, look))
    return drawn


def _is_there(analysis: xr.Dataset, name: str) -> bool:
    return bool(np.isfinite(analysis["area_under_curve"].sel(attack=name)))


def _below(analysis: xr.Dataset, look: roc_curves.Look) -> list[str]:
    """Lines: what is behind the curves, and which attacks of `look` there are not, and why."""
    pairs, *unread = roc_curves.counts(analysis)
    lines, reasons = [f"{analysis.attrs['targets']:,} target models: {pairs}", *unread], {}
    for name, reason in json.loads(analysis.attrs["lacking"]).items():
        if name in look:
            reasons.setdefault(reason, []).append(look[name][0])
    for reason, titles in reasons.items():
        lines += wrap(f"Without {', '.join(titles)}: {reason}.", LINE)
    return lines
