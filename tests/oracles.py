"""Models whose memorization scores are known in closed form, and values with nothing memorized in them.

The Gaussian models and the kernel density estimate train in no time, so whole experiments with them are tests:
`log_px_of` trains one on every row of an in_training matrix, and the functions below it say what the scores must be.
"""

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal


def log_px_of(fit: Callable, x: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """log p of every point of x (n, d) under `fit` trained on each row of in_training (models, n): (models, n)."""
    return np.array([fit(x[row])(x) for row in in_training])


def gaussian_mean(scale: float) -> Callable:
    """N(mean of the data, scale^2 I)."""
    return lambda data: lambda x: multivariate_normal(data.mean(axis=0), scale**2).logpdf(x)


def gaussian(data: np.ndarray) -> Callable:
    """The maximum-likelihood Gaussian with full covariance."""
    return multivariate_normal(data.mean(axis=0), np.cov(data.T, bias=True)).logpdf


def kernel_density(bandwidth: float) -> Callable:
    """Mean of Gaussian kernels on the data."""

    def fit(data: np.ndarray) -> Callable:
        def log_prob(x: np.ndarray) -> np.ndarray:
            exponents = -cdist(x, data, "sqeuclidean") / (2 * bandwidth**2)
            return logsumexp(exponents, axis=1) - np.log(len(data)) - x.shape[1] / 2 * np.log(2 * np.pi * bandwidth**2)

        return log_prob

    return fit


def gaussian_mean_leave_one_out(x: np.ndarray, scale: float) -> np.ndarray:
    """M_i = (2n-1) |x_i - mean|^2 / (2 s^2 (n-1)^2)."""
    n = len(x)
    return (2 * n - 1) * ((x - x.mean(axis=0)) ** 2).sum(axis=1) / (2 * scale**2 * (n - 1) ** 2)


def gaussian_mean_k_fold(x: np.ndarray, scale: float, in_training: np.ndarray) -> np.ndarray:
    """Log densities through x - mean without F = (x - mean) + m/(n-m) (mean of F - mean), F the m points left out."""
    n, d = x.shape
    log_px = []
    for row in in_training:
        left_out, m = x[~row], (~row).sum()
        offset = (x - x.mean(axis=0)) + m / (n - m) * (left_out.mean(axis=0) - x.mean(axis=0))
        log_px.append(-(offset**2).sum(axis=1) / (2 * scale**2) - d / 2 * np.log(2 * np.pi * scale**2))
    return np.array(log_px)


def gaussian_leave_one_out(x: np.ndarray) -> np.ndarray:
    """M_i through the leverage h, the squared Mahalanobis distance under the maximum-likelihood covariance."""
    n, d = x.shape
    centred = x - x.mean(axis=0)
    h = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(np.cov(x.T, bias=True)), centred)
    left = 1 - h / (n - 1)
    return 0.5 * (d * np.log(n / (n - 1)) + np.log(left)) + 0.5 * n / (n - 1) * h / left - h / 2


def kernel_density_leave_one_out(x: np.ndarray, bandwidth: float) -> np.ndarray:
    """M_i = log((n-1)/n + c / (n p_{-i}(x_i))), with c = (2 pi h^2)^(-d/2)."""
    n, d = x.shape
    kernels = np.exp(-cdist(x, x, "sqeuclidean") / (2 * bandwidth**2))
    constant = (2 * np.pi * bandwidth**2) ** (-d / 2)
    without = constant * (kernels.sum(axis=1) - 1) / (n - 1)
    return np.log((n - 1) / n + constant / (n * without))


def exchangeable(rng: np.random.Generator, in_training: np.ndarray, sd: float = 1.0) -> np.ndarray:
    """log p independent of membership: N(-90, sd^2) for every model and image, (models, n)."""
    return rng.normal(-90, sd, in_training.shape)


# Mean log_mean_exp score of i.i.d. N(0, s^2) log p with 90 in and 10 out models, by simulation independent of engram.
OFFSET_90_AGAINST_10 = {1: 0.061, 2: 0.419, 3: 1.036, 5: 2.663, 8: 5.41}
