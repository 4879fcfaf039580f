"""Labels of log p and of scores, which say so where log p is a lower bound."""

from collections.abc import Mapping

import xarray as xr

from engram.scores.summary import is_bound

SCORE = "memorization score M"
BY_A_BOUND = "by a lower bound on log p"


def in_nats(quantity: str, scores: Mapping[str, xr.Dataset]) -> str:
    """Label of an axis on which estimators show a quantity in nats; a second line names those whose log p is a bound.

    >>> in_nats(SCORE, {"mine": xr.Dataset(attrs={"log_px_is_bound": 1})})
    'memorization score M (nats),\\nby a lower bound on log p'
    """
    bounds = [name for name, scored in scores.items() if is_bound(scored)]
    if not bounds:
        return f"{quantity} (nats)"
    some = "" if len(bounds) == len(scores) else f"for {' and '.join(bounds)} "
    return f"{quantity} (nats),\n{some}{BY_A_BOUND}"


def titled(estimator: str, scored: xr.Dataset) -> str:
    """An estimator's name over what has no axis, and whether its log p is a bound."""
    return f"{estimator}, {BY_A_BOUND}" if is_bound(scored) else estimator
