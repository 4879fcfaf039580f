"""All images of a tiny shape, over which the probabilities of a model that builds for it add up to one."""

import math
import warnings
from itertools import product

import torch
from torch import Tensor, nn

from engram.checks.findings import NotChecked
from engram.checks.subject import Subject
from engram.likelihood.estimation import is_latent
from engram.models.protocols import ExactModel, offers

MOST_PIXELS = 12  # binary ones, of which there are 4,096 images
LEVELS = 256
REACH, SPACING = 6.5, 0.05  # of t, where a real pixel is sinh(t): fine near 0, and out to hundreds
AT_ONCE = 2**14  # images
DISCRETE, CONTINUOUS = 2e-3, 2e-2  # by how much the logarithm of the sum may be off


def normalized(subject: Subject) -> None:
    """Probabilities add up to one over all images of a tiny shape. Raises NotChecked if the model builds for none."""
    observation = subject.fresh.observation
    x, log_volume = images(observation, subject.image_shape[0])
    model = _built_for(subject, tuple(x.shape[1:]))
    method = "log_prob" if offers(model, ExactModel) and not is_latent(model) else "log_prob_given_latent"
    values = _log_p(subject, model, method, x.to(subject.dtype)).double()
    if values.isnan().any():
        raise NotChecked("the model gives nan for some tiny images")
    total = float((values + log_volume).logsumexp(0))
    tolerance = CONTINUOUS if observation == "logit" else DISCRETE
    if observation == "logit" and abs(total - _on_half_the_grid(values + log_volume)) > tolerance / 2:
        raise NotChecked("the density of a tiny image is too narrow to be integrated")
    if not abs(total) < tolerance:
        over = "the integral over" if observation == "logit" else f"the sum over all {len(x):,}"
        shape = " x ".join(map(str, x.shape[1:]))
        subject.fault(method, f"a normalized density: {over} images of {shape} pixels is 1", f"exp({total:.3g})")


def images(observation: str, channels: int) -> tuple[Tensor, Tensor]:
    """Every image of a shape that has few, (images, c, h, w), and the logarithm of the volume that each stands for.

    >>> images("binary", 1)[0].shape
    torch.Size([16, 1, 2, 2])
    """
    if observation == "binary":
        channels = channels if 4 * channels <= MOST_PIXELS else 1
        every = torch.tensor([*product((0.0, 1.0), repeat=4 * channels)])
        return every.reshape(-1, channels, 2, 2), torch.zeros(len(every))
    if observation in ("pixels", "centred"):
        levels = torch.arange(LEVELS) / (LEVELS - 1)
        levels = levels if observation == "pixels" else 2 * levels - 1
        return torch.cartesian_prod(levels, levels).reshape(-1, 1, 1, 2), torch.zeros(LEVELS**2)
    t = torch.linspace(-REACH, REACH, round(2 * REACH / SPACING) + 1, dtype=torch.float64)
    volume = (t.cosh() * SPACING).log()
    pairs = torch.cartesian_prod(volume, volume).sum(1)
    return torch.cartesian_prod(t.sinh(), t.sinh()).reshape(-1, 1, 1, 2), pairs


def _built_for(subject: Subject, shape: tuple[int, ...]) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without weights, which a tiny image may lead to
            return subject.build(shape).eval().requires_grad_(False)
    except Exception as error:  # whatever a user's class raises for a shape that it was not made for
        raise NotChecked("the model builds for no tiny image") from error


def _log_p(subject: Subject, model: nn.Module, method: str, x: Tensor) -> Tensor:
    """log p of x, or log p(x | z) at one z, (images,)."""
    z = subject.normals("tiny", 1, subject.latent_dim) if method != "log_prob" else None
    parts = []
    try:
        for some in x.split(AT_ONCE):
            given = (some,) if z is None else (some, z.expand(len(some), -1))
            parts.append(getattr(model, method)(*given).reshape(len(some)))
    except Exception as error:  # of a model that was built for a shape, and cannot take it
        raise NotChecked("the model takes no tiny image") from error
    return torch.cat(parts)


def _on_half_the_grid(terms: Tensor) -> float:
    """The same integral from every second point of each axis."""
    side = math.isqrt(len(terms))
    return float(terms.reshape(side, side)[::2, ::2].reshape(-1).logsumexp(0)) + 2 * math.log(2)
