"""The size-matched score, averaged exactly over every way to choose one model per repeat.

K-fold with L repeats has (K-1)^L ways to choose the in models, 3 * 10^9 for the paper's. Their mean needs no
enumeration. For S = sum_l p_l,

    log S = integral over u of exp(-e^u) - exp(-S e^u),

and with one of the values p_lk of repeat l chosen uniformly, independently in each repeat, the mean of exp(-S e^u) over
all choices is a product over repeats,

    prod_l mean_k exp(-p_lk e^u).

So the mean difference of two such logs is a one-dimensional integral, which the trapezoid rule in float32 takes to
1e-5 nat, plus 1e-7 of the range of the values.
"""

import numpy as np

from engram.errors import UserError

STEP = 0.8  # of u; the trapezoid error of these integrands falls as exp(-pi^2 / step), 4e-6 here
LOWEST = -16.0  # where p e^u <= e^-16 for all p <= 1: the products are 1 to float32's accuracy
HIGHEST = 5.0  # exp(-e^5) is 0 for our purposes; larger exponents are cut there, before they overflow
COLUMNS = 128  # images at once
FITS = 80.0  # of values v above -80, and so of u up to 85, e^v and e^u are float32 numbers of full accuracy


def size_matched_difference(values: np.ndarray, is_in: np.ndarray, repeat: np.ndarray) -> np.ndarray:
    """Mean log of the sum of L in densities minus that of L out densities, one from every repeat: (draws, n), nats.

    values: (models, draws, n), log densities whose largest over models is 0; is_in: (models, 1, n); repeat: (models,).
    Raises UserError if some repeat has no in model or no out model of an image.
    """
    shape = values.shape[1:]
    is_in = np.broadcast_to(is_in, values.shape).reshape(len(values), -1)
    values = values.reshape(len(values), -1).astype(np.float32)
    rows = [np.flatnonzero(repeat == number) for number in np.unique(repeat)]
    if any(is_in[row].all(axis=0).any() or not is_in[row].any(axis=0).all() for row in rows):
        raise UserError("statistic: size_matched needs an in model and an out model of every image in every repeat")
    # The integral ends where the product vanishes, with the first of its factors. Images of similar reach go together.
    reach = -np.max([values[row].min(axis=0) for row in rows], axis=0)
    order = np.argsort(reach)
    difference = np.empty(values.shape[1])
    for start in range(0, len(order), COLUMNS):
        columns = order[start : start + COLUMNS]
        u = np.arange(LOWEST, HIGHEST + reach[columns[-1]], STEP, dtype=np.float32)
        difference[columns] = _integral(values[:, columns], is_in[:, columns], rows, u)
    return difference.reshape(shape)


def _integral(values: np.ndarray, is_in: np.ndarray, rows: list[np.ndarray], u: np.ndarray) -> np.ndarray:
    """Integral of (out product - in product) over u, for values (models, columns): (columns,)."""
    in_product = out_product = 1.0
    for row in rows:
        factor = _scaled_densities(values[row], u)
        factor = np.exp(np.negative(factor, out=factor), out=factor)
        is_out = ~is_in[row]
        out_sum = np.einsum("kcu,kc->cu", factor, is_out.astype(np.float32))
        out_count = is_out.sum(axis=0, dtype=np.float32)[:, None]
        out_product = out_product * (out_sum / out_count)
        in_product = in_product * ((factor.sum(axis=0) - out_sum) / (len(row) - out_count))
    return STEP * (out_product - in_product).sum(axis=1, dtype=np.float64)


def _scaled_densities(values: np.ndarray, u: np.ndarray) -> np.ndarray:
    """p e^u with p = e^values, no larger than e^HIGHEST: (models, columns, len(u)), by one exponential a value where that fits."""
    if values.min() > -FITS:
        product = np.exp(values)[..., None] * np.exp(u)
        return np.minimum(product, np.exp(np.float32(HIGHEST)), out=product)
    return np.exp(np.minimum(values[..., None] + u, np.float32(HIGHEST)))
