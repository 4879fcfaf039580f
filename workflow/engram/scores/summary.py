"""The numbers that describe one estimator's scores at the last epoch, ready to print."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from engram.conventions import FDR
from engram.files.inputs import last, null_quantile


def number_memorized(scores: xr.Dataset) -> int:
    """Images found memorized at a false discovery rate of 5 %: none where there are no p-values (`is_tested`)."""
    return int((scores["q_value"].values <= FDR).sum())


def is_tested(scores: xr.Dataset) -> bool:
    """Whether there are p-values; models that cannot be exchanged give none."""
    return bool(np.isfinite(scores["q_value"].values).all())


def is_bound(scores: xr.Dataset) -> bool:
    """Whether the log p behind the scores is a lower bound on it. Files of log p that was given do not say."""
    return bool(scores.attrs.get("log_px_is_bound", 0))


def error_of_draws(scores: xr.Dataset) -> float | None:
    """What finite draws add to the error of a score, root mean square over images, nats; None with a single draw.

    The mean of squares is unbiased at any number of draws, where a median of errors from two would be a third too small.
    """
    if "standard_error_of_draws" not in scores or np.isnan(last(scores, "standard_error_of_draws")).all():
        return None
    return float(np.sqrt(np.mean(last(scores, "standard_error_of_draws") ** 2)))


def summarize(scores: xr.Dataset, nulls: Sequence[str] = ("null",)) -> dict[str, str]:
    """Quantiles of the score and of its nulls in nats, its range, and the number memorized, by heading.

    `nulls` are "null" (relabelled models) and "unseen" (images that no model saw).
    """
    score = last(scores)
    levels = {"median": 0.5, "q95": 0.95, "q99.9": 0.999}
    numbers = {heading: np.quantile(score, level) for heading, level in levels.items()}
    for which in nulls:
        numbers |= {f"{which} {heading}": null_quantile(scores, level, which) for heading, level in levels.items()}
    text = {heading: "-" if value is None else f"{value:z.1f}" for heading, value in numbers.items()}
    text |= {"min, max": f"{score.min():.0f}, {score.max():.0f}", "M < 0": f"{100 * np.mean(score < 0):.0f} %"}
    return text | {
        "memorized, FDR 5 %": f"{number_memorized(scores):,} of {len(score):,}" if is_tested(scores) else "-"
    }


def power(scores: xr.Dataset) -> dict[str, str]:
    """What this budget of models and draws can tell, by heading; the error of draws only where there are several."""
    budget, of_draws = scores.attrs, error_of_draws(scores)
    numbers = {
        "split-half reliability": (budget["split_half_reliability"], ".2f", ""),
        "median standard error": (np.median(last(scores, "standard_error")), ".1f", " nats"),
        **({"error of finite draws": (of_draws, ".2f", " nats")} if of_draws is not None else {}),
        "smallest detectable score": (budget["smallest_detectable_score"], ".1f", " nats"),
        "smallest possible p-value": (budget["p_value_floor"], ".2g", ""),
    }
    return {heading: f"{n:{form}}{unit}" if np.isfinite(n) else "-" for heading, (n, form, unit) in numbers.items()}
