"""Johnson's SU distribution, which the paper fits to its histograms: skewed, and with tails heavier than the normal's."""

import numpy as np
from scipy import stats

from engram.figures.style import number

FEWEST = 50  # values to which a distribution of four parameters is fitted


def can_fit(values: np.ndarray) -> bool:
    """Whether values (n,) are many enough, and differ, so that a fit says something."""
    return len(values) >= FEWEST and np.ptp(values) > 0


def fit(values: np.ndarray) -> tuple[float, float, float, float]:
    """Maximum-likelihood shape a and b, location and scale (both in the unit of the values), from finite values (n,)."""
    # Started at scipy's own guess, the search can end far off where values span thousands: it is given standard units.
    centre, spread = np.median(values), np.subtract(*np.quantile(values, [0.75, 0.25])) or 1.0
    with np.errstate(all="ignore"):  # the optimizer tries parameters at which the density overflows
        a, b, location, scale = stats.johnsonsu.fit((values - centre) / spread, 0.0, 1.0, loc=0.0, scale=1.0)
    return float(a), float(b), float(centre + spread * location), float(spread * scale)


def curve(parameters: tuple[float, float, float, float], x: np.ndarray) -> np.ndarray:
    """The density at x, for the parameters that `fit` returns."""
    a, b, location, scale = parameters
    return stats.johnsonsu.pdf(x, a, b, location, scale)


def words(parameters: tuple[float, float, float, float]) -> str:
    """The parameters in two lines, for a legend."""
    a, b, location, scale = map(number, parameters)
    return f"a {a}, b {b}\nloc {location}, scale {scale}"
