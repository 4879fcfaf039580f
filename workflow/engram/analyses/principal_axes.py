"""Features of many dimensions on their first principal axes, as tests of data-copying take them (Jiralerspong et al. 2023)."""

import numpy as np
from scipy.sparse.linalg import svds

MOST = 64
LEAST = 1e-5  # spread along an axis over that along the first; what is less is rounding


def on_principal_axes(training: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """`training` (n, d) and others (m, d) on the MOST first principal axes of `training`, in float64; unchanged if d is no more.

    >>> on_principal_axes(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))[1].tolist()
    [[3.0, 4.0]]
    """
    if training.shape[1] <= MOST:
        return [np.asarray(rows, dtype=np.float64) for rows in (training, *others)]
    mean = training.mean(axis=0, dtype=np.float64).astype(training.dtype)
    centred = training - mean
    number = min(MOST, *(side - 1 for side in centred.shape))
    _, spread, axes = svds(centred, k=number, v0=np.ones(min(centred.shape)))  # v0: without it the start is random
    axes = axes[spread > LEAST * spread.max()].T
    return [(rows @ axes - mean @ axes).astype(np.float64) for rows in (training, *others)]
