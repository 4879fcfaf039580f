"""Figure: how much of a distribution of M is noise.

Share of images with a score above M, against M, on a logarithmic axis: where nothing can be memorized (the null), and if
given as published, and where images were trained on.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from engram.figures.style import COLOUR, figure, styled


@styled
def draw(
    null_scores: Mapping[str, np.ndarray],
    published_quantiles: Mapping[str, Mapping[float, float]] | None = None,
    scores: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """One panel for each key of `null_scores`, scores (n,) in nats, with the published {level: quantile} of the same key.

    The band about a curve holds it with 95 % at each M. `scores` are of images that were trained on, measured here.
    """
    drawn = figure(3.1)
    panels = drawn.subplots(1, len(null_scores), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, null) in zip(panels, null_scores.items(), strict=True):
        _survival(axes, null, COLOUR["null"], "no image trained on (null)")
        if scores and name in scores:
            _survival(axes, scores[name], COLOUR["corrected"], "images trained on, measured")
        if published_quantiles:
            _printed(axes, null, published_quantiles[name])
        axes.set(xlabel="memorization score M (nats)", title=name, yscale="log")
    panels[0].set(
        ylabel="share of images with score above M", ylim=(min(1 / len(n) for n in null_scores.values()) / 2, 1.3)
    )
    panels[0].margins(x=0.12)
    entries = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    drawn.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))
    return drawn


def _printed(axes: Axes, null: np.ndarray, quantiles: Mapping[float, float]) -> None:
    """The printed quantiles, and how much of the null is beyond each."""
    shares = 1 - np.array(list(quantiles))
    axes.plot(list(quantiles.values()), shares, "D", markersize=5, color=COLOUR["published"], label="as published")
    for quantile, share in zip(quantiles.values(), shares, strict=True):
        axes.annotate(_share_above(null, quantile), (quantile, share), (5, 3), textcoords="offset points", fontsize=6.5)


def _share_above(null: np.ndarray, quantile: float) -> str:
    above = int((null > quantile).sum())
    return f"null: {100 * above / len(null):.2g} %" if above else f"null: none of {len(null):,}"


def _survival(axes: Axes, score: np.ndarray, colour: str, label: str) -> None:
    """Share above each score with the Clopper-Pearson interval of that share, (n,)."""
    ordered, n = np.sort(score), len(score)
    above = np.arange(n - 1, -1, -1)
    # 0 and n images above have the intervals [0, ...] and [..., 1], where the Beta distributions have no parameters
    low = np.where(above > 0, stats.beta.ppf(0.025, np.maximum(above, 1), n - above + 1), 0)
    high = stats.beta.ppf(0.975, above + 1, np.maximum(n - above, 1))
    axes.step(ordered, above / n, where="post", color=colour, label=label)
    axes.fill_between(ordered, low, high, step="post", color=colour, alpha=0.25, linewidth=0)
