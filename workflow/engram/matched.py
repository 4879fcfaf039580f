"""The size-matched score, averaged exactly over every way to choose one model per repeat.

K-fold with L repeats has (K-1)^L ways to choose the in models, 3 * 10^9 for the paper's. Their mean needs no
enumeration. For S = sum_l p_l,

    log S = integral over u of exp(-e^u) - exp(-S e^u),

and with one of the values p_lk of repeat l chosen uniformly, independently in each repeat, the mean of exp(-S e^u) over
all choices is a product over repeats,

    prod_l mean_k exp(-p_lk e^u).

So the mean difference of two such logs is a one-dimensional integral, which the trapezoid rule takes to 1e-9.
"""

import numpy as np

from engram.errors import UserError

STEP = 0.4  # of u; the trapezoid error of these integrands falls as exp(-pi^2 / step), 2e-11 here
LOWEST = -26.0  # where p e^u <= e^-26 for all p <= 1: the products are 1 to 1e-10
HIGHEST = 5.0  # exp(-e^5) is 0 for our purposes; larger exponents are cut there, before they overflow
COLUMNS = 64  # images at once


def matched_difference(values: np.ndarray, is_in: np.ndarray, repeat: np.ndarray) -> np.ndarray:
    """Mean log of the sum of L in densities minus that of L out densities, one from every repeat: (draws, n), nats.

    values: (models, draws, n), log densities whose largest over models is 0; is_in: (models, 1, n); repeat: (models,).
    Raises UserError if some repeat has no in model or no out model of an image.
    """
    shape = values.shape[1:]
    is_in = np.broadcast_to(is_in, values.shape).reshape(len(values), -1)
    values = values.reshape(len(values), -1)
    rows = [np.flatnonzero(repeat == number) for number in np.unique(repeat)]
    if any(is_in[row].all(axis=0).any() or not is_in[row].any(axis=0).all() for row in rows):
        raise UserError("statistic: size_matched needs an in model and an out model of every image in every repeat")
    # The integral ends where the product vanishes, with the first of its factors. Images of similar reach go together.
    reach = -np.max([values[row].min(axis=0) for row in rows], axis=0)
    order = np.argsort(reach)
    difference = np.empty(values.shape[1])
    for start in range(0, len(order), COLUMNS):
        columns = order[start : start + COLUMNS]
        u = np.arange(LOWEST, HIGHEST + reach[columns[-1]], STEP)
        difference[columns] = _integral(values[:, columns], is_in[:, columns], rows, u)
    return difference.reshape(shape)


def _integral(values: np.ndarray, is_in: np.ndarray, rows: list[np.ndarray], u: np.ndarray) -> np.ndarray:
    """Integral of (out product - in product) over u, for values (models, columns): (columns,)."""
    product = {True: 1.0, False: 1.0}
    for row in rows:
        factor = np.exp(-np.exp(np.minimum(values[row][..., None] + u, HIGHEST)))
        for side in product:
            chosen = is_in[row] == side
            weight = chosen / chosen.sum(axis=0)
            product[side] = product[side] * np.einsum("kcu,kc->cu", factor, weight)
    return STEP * (product[False] - product[True]).sum(axis=1)
