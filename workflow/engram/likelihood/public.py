"""log p of images as others call it: images or observations of any framework, checked once, then the estimator."""

from typing import Any

import torch
from torch import Tensor, nn

from engram.arrays import first_place, whole_number
from engram.errors import UserError
from engram.likelihood import estimation
from engram.likelihood.importance import Estimate
from engram.models import observations
from engram.models.conditions import conditions
from engram.models.protocols import DESCRIBED_IN, WAYS_TO_LOG_P, classes, offers
from engram.randomness import image_uniforms
from engram.tensors import tensor

CHANNELS = (1, 3)  # by which a model without image_shape knows the channel axis


def estimate(
    model: nn.Module,
    x: Any,
    proposal: str = "laplace",
    samples: int = 16,
    newton_steps: int = 2,
    proposal_scale: float = 1.1,
    seed: int = 0,
    label: Any = None,
) -> Estimate:
    """log p of n images under a trained model, by importance sampling, with standard errors.

    x: images as uint8, from which the observation that the model sees is drawn by `seed`, or observations already drawn, as
    floats. (n, C, H, W), (n, H, W, C), (n, H, W) with one channel, or (n, C * H * W); arrays or tensors, moved to the model's
    device and precision. Observations of a model whose `observation` is "binary" are 0 or 1, of "pixels" from 0 to 1.
    model: an engram.models.LatentVariableModel, or any module with its encode, decode and log_prob_given_latent, or with
    log_prob(x) alone, or one of the other ways in engram.models.protocols.
    proposal: "laplace", a normal fitted to the posterior in `newton_steps` steps and widened by `proposal_scale`, or
    "encoder", the model's own q(z | x); docs/estimators.md has the errors of both. samples: of z for each image.
    label: (n,), the class of each image from 0, for a model with `classes`, whose log p is log p(x | class); no other takes it.

    Gives log_px, elbo, standard_error (nats, of the 8-bit image), effective_samples, pareto_k and fell_back, (n,) each, on
    the model's device. Raises UserError, naming the image, for values that cannot be, shapes that do not fit the model,
    and settings out of range.

        >>> import engram, numpy
        >>> model = engram.models.build("bernoulli_mlp_vae", (1, 8, 8), latent_dim=2, hidden=(16, 8))
        >>> images = numpy.zeros((3, 8, 8), dtype=numpy.uint8)
        >>> engram.estimate(model, images, samples=16).log_px.shape
        torch.Size([3])
    """
    _require_model(model)
    samples, newton_steps = whole_number(samples, "samples", 1), whole_number(newton_steps, "newton_steps", 1)
    _require_scale(proposal_scale)
    observed = observation(model, x, whole_number(seed, "seed", 0))
    given = _conditions(model, label, len(observed), observed.device)
    return estimation.estimate(model, observed, proposal, samples, newton_steps, proposal_scale, seed, conditions=given)


def observation(model: nn.Module, x: Any, seed: int) -> Tensor:
    """What the model sees, (n, *image_shape) on its device and in its precision: drawn by `seed` if x is uint8."""
    given = tensor(x, "x")
    if given.dtype != torch.uint8 and not given.is_floating_point():
        raise UserError(f"x: holds {given.dtype}; give images as uint8 grey levels, or observations as floats")
    given = _channels_first(given, getattr(model, "image_shape", None))
    weights, kind = observations.some_weights(model), getattr(model, "observation", None)
    if given.dtype != torch.uint8:
        given = given.float() if given.dtype.itemsize < 4 else given
        _require_possible(given, kind)
        return given if weights is None else given.to(weights)
    uniforms = image_uniforms(torch.arange(len(given)).numpy(), given.shape[1:], seed, "likelihood", "observation")
    drawn = observations.draw(given.cpu(), uniforms, kind or "binary")
    return drawn.to(given.device) if weights is None else drawn.to(weights)


def _channels_first(x: Tensor, image_shape: tuple[int, int, int] | None) -> Tensor:
    """x as (n, C, H, W), its axes known by the model's image_shape or, without one, by a channel axis of 1 or 3."""
    if not x.numel():
        raise UserError(f"x: has the shape {tuple(x.shape)}, which holds no image")
    if image_shape is None:
        return _by_channels(x)
    channels, height, width = image_shape
    shape = tuple(x.shape[1:])
    if shape == (channels, height, width):
        return x
    if shape == (height, width, channels):
        return x.permute(0, 3, 1, 2).contiguous()
    if shape == (channels * height * width,) or (channels == 1 and shape == (height, width)):
        return x.reshape(-1, *image_shape)
    raise UserError(
        f"x: has the shape {tuple(x.shape)}, the model takes images (channels, height, width) = {tuple(image_shape)}; give "
        f"(n, {channels}, {height}, {width}), with n = 1 for a single image"
    )


def _by_channels(x: Tensor) -> Tensor:
    """Of a model that names no image_shape: floats are left as they are, since their axes are the model's own affair."""
    if x.dtype != torch.uint8:
        return x
    if x.ndim == 3:
        return x.unsqueeze(1)
    first, last = (x.ndim == 4 and x.shape[axis] in CHANNELS for axis in (1, 3))
    if first == last:
        raise UserError(
            f"x: has the shape {tuple(x.shape)}, in which the channels cannot be told, and the model has no image_shape; "
            "give the observation as floats, in the model's own axes"
        )
    return x if first else x.permute(0, 3, 1, 2).contiguous()


def _require_possible(x: Tensor, kind: str | None) -> None:
    """Raise UserError, naming the image, for values that no observation of this kind has."""
    rows = x.flatten(1)
    possible, meaning = rows.isfinite(), "is not a finite number"
    if kind == "binary":
        possible, meaning = (rows == 0) | (rows == 1), "is no observation of a binary model, which is 0 or 1"
    elif kind == "pixels":
        possible, meaning = (rows >= 0) & (rows <= 1), "is no observation in pixels, which is a grey level / 255"
    if not possible.all():
        image, pixel = first_place(~possible.cpu().numpy())
        raise UserError(
            f"x: {float(rows[image, pixel]):g} in image {image} {meaning}; give images as uint8 to have x drawn"
        )


def _require_model(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise UserError(f"model: is a {type(model).__name__}, must be a torch.nn.Module, as engram.models.build gives")
    offered = [name for name in ("encode", "decode", "log_prob_given_latent") if hasattr(model, name)]
    gives_log_p = any(offers(model, way) for way in WAYS_TO_LOG_P)
    if not gives_log_p or (0 < len(offered) < 3 and "encode" in offered):
        raise UserError(
            f"model: {type(model).__name__} has neither log_prob(x) nor bound(x, noise) nor all of encode, decode and "
            f"log_prob_given_latent; see {DESCRIBED_IN}"
        )


def _conditions(model: nn.Module, label: Any, n: int, device: torch.device) -> tuple[Tensor, ...]:
    """What the model is given of n images beside x."""
    if label is None:
        return conditions(model, None)
    given = tensor(label, "label")
    if given.is_floating_point() or given.shape != (n,):
        raise UserError(
            f"label: is {tuple(given.shape)} {given.dtype}, must be the number of a class for each of {n} images"
        )
    if not classes(model):
        raise UserError(f"label: {type(model).__name__} has no classes ({DESCRIBED_IN}); leave it out")
    return tuple(values.to(device) for values in conditions(model, given.cpu().numpy()))


def _require_scale(scale: Any) -> None:
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise UserError(f"proposal_scale: is {scale!r}, must be a number above 0, such as 1.1")
