"""Matrices as another program would give them: a Gaussian whose mean is that of its training images, by NumPy alone."""

import numpy as np


def images(n: int = 60, pixels: int = 9, seed: int = 0) -> np.ndarray:
    """(n, pixels) float64; the first three lie far off."""
    x = np.random.default_rng(seed).normal(size=(n, pixels))
    x[:3] *= 4
    return x


def folds(n: int, folds: int, repeats: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """in_training (models, n) and repeat (models,) of `repeats` splits into folds, each left out by one model."""
    rng = np.random.default_rng(seed)
    fold_of = np.stack([rng.permutation(np.arange(n) % folds) for _ in range(repeats)])
    in_training = fold_of[:, None, :] != np.arange(folds)[:, None]
    return in_training.reshape(-1, n), np.repeat(np.arange(repeats), folds)


def halves(n: int, models: int, seed: int = 2) -> np.ndarray:
    """in_training (models, n) of random halves, drawn independently."""
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(n) < n // 2 for _ in range(models)])


def log_px(x: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """log N(x; mean of the training images, 1), nats: (models, n), by loops."""
    values = np.empty(in_training.shape)
    for model, members in enumerate(in_training):
        mean = x[members].mean(axis=0)
        for image in range(len(x)):
            values[model, image] = -0.5 * ((x[image] - mean) ** 2).sum() - 0.5 * x.shape[1] * np.log(2 * np.pi)
    return values


def score(log_px: np.ndarray, in_training: np.ndarray) -> np.ndarray:
    """The definition: mean log p of the models trained on the image minus that of the others, (n,), by loops."""
    columns = zip(log_px.T, in_training.T, strict=True)
    return np.array([np.mean(values[members]) - np.mean(values[~members]) for values, members in columns])


def leave_one_out_score(x: np.ndarray) -> np.ndarray:
    """The same in closed form where each of n models leaves out one of n images: no mean but that of all is taken."""
    n, a = len(x), x - x.mean(axis=0)
    square = (a**2).sum(axis=1)
    out = square * (n / (n - 1)) ** 2
    into = square - 2 * square / (n - 1) ** 2 + (square.sum() - square) / (n - 1) ** 3
    return (out - into) / 2
