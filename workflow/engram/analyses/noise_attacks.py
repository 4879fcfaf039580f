"""Membership-inference attacks on models that predict noise: was this image in the training set of this model, the target?

z = alpha x + sigma epsilon with -log signal-to-noise ratio gamma (engram.models.diffusion); the model says what epsilon was. It
says so better where it was trained on x. Every attack gives a number for each image, higher for a member:

    loss_at_t   -|epsilon - predicted(alpha x + sigma epsilon, t)|^2, of one epsilon (Matsumoto et al. 2023)
    secmi       -|z' - z|^2: DDIM leads from x to z at t without chance, then one step on and one back to z' (Duan et al. 2023)
    pia         -|e - predicted(alpha x + sigma e, t)|^4 by the 4-norm, with e = predicted(x, 0) (Kong et al. 2024)
    sima        -|predicted(x, t)|^4 by the 4-norm: near a training image there is little noise to see (Rao et al. 2025)

t is 100 of the 1,000 times of DDPM's linear schedule for all of them, where SecMI's authors look, and alpha^2 is 0.90. It was
fixed before any attack was judged here: the best t on the judged images would flatter an attack. A model with a schedule of its
own is asked at the same times of that.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from engram.geometry.flipd import Predict
from engram.models.diffusion import alpha_and_sigma, ddim_step

Gammas = Callable[[int], float]  # gamma at a time of 0 to 999
Attack = Callable[..., Tensor]  # of predict, x, epsilon, and if wanted other Gammas than DDPM's: (n,)

TIME, STEP = 100, 10  # t of all attacks, and the step of SecMI's DDIM


def gamma_at(time: int) -> float:
    """-log signal-to-noise ratio at a time, 0 to 999, of DDPM (Ho et al. 2020): beta rises linearly from 0.0001 to 0.02.

    >>> round(gamma_at(100), 2)
    -2.14
    """
    log_alpha_squared = np.log1p(-np.linspace(1e-4, 0.02, 1000)[: time + 1]).sum()
    return float(np.log(np.expm1(-log_alpha_squared)))


def loss_at_t(predict: Predict, x: Tensor, epsilon: Tensor, gammas: Gammas = gamma_at) -> Tensor:
    """(n,) from x and standard normal epsilon, both (n, *image_shape)."""
    gamma = _gamma(gammas(TIME), x)
    return -(epsilon - predict(_noised(x, epsilon, gamma), gamma)).square().flatten(1).sum(1)


def secmi(predict: Predict, x: Tensor, epsilon: Tensor, gammas: Gammas = gamma_at) -> Tensor:
    """The same; no noise is drawn. DDIM starts with x as z at time 0."""
    z = x
    for time, later in pairwise(range(0, TIME + 1, STEP)):
        z = _ddim(predict, z, gammas(time), gammas(later))
    ahead = gammas(TIME + STEP)
    back = _ddim(predict, _ddim(predict, z, gammas(TIME), ahead), ahead, gammas(TIME))
    return -(back - z).square().flatten(1).sum(1)


def pia(predict: Predict, x: Tensor, epsilon: Tensor, gammas: Gammas = gamma_at) -> Tensor:
    """The same; the noise is what the model sees in x itself."""
    gamma, own = _gamma(gammas(TIME), x), predict(x, _gamma(gammas(0), x))
    return -(own - predict(_noised(x, own, gamma), gamma)).pow(4).flatten(1).sum(1)


def sima(predict: Predict, x: Tensor, epsilon: Tensor, gammas: Gammas = gamma_at) -> Tensor:
    """The same; no noise is drawn."""
    return -predict(x, _gamma(gammas(TIME), x)).pow(4).flatten(1).sum(1)


NOISE_ATTACKS: dict[str, Attack] = {attack.__name__: attack for attack in (loss_at_t, secmi, pia, sima)}
GAMMAS = gamma_at(0), gamma_at(TIME + STEP)  # the lowest and the highest that they ask a model about


def _gamma(gamma: float, x: Tensor) -> Tensor:
    return x.new_full((len(x),), gamma)


def _noised(x: Tensor, epsilon: Tensor, gamma: Tensor) -> Tensor:
    alpha, sigma = alpha_and_sigma(gamma[0])
    return alpha * x + sigma * epsilon


def _ddim(predict: Predict, z: Tensor, gamma: float, other: float) -> Tensor:
    """z at another gamma, earlier or later."""
    gammas = _gamma(gamma, z)
    return ddim_step(z, predict(z, gammas), gammas[0], torch.full_like(gammas[0], other))
