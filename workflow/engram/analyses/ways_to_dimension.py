"""The dimension of what a model learned at each of some images: one way for each family of models.

    lidl      closed forms: how log p falls as the density is blurred (engram.geometry.lidl)
    jacobian  VAEs and flows: how many directions of z move the image visibly (engram.geometry.jacobian)
    flipd     models that predict noise: FLIPD over a range of noise levels (engram.geometry.flipd)

Noise levels, widths and draws were fixed before any dimension was compared with a score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses.judged_images import JudgedImages
from engram.files.artifacts import variable
from engram.geometry.closed_form_diffusion import closed_form_dimension
from engram.geometry.flipd import Dimension, flipd
from engram.geometry.generators import generator_of
from engram.geometry.jacobian import numerical_rank, singular_values, visible
from engram.geometry.lidl import lidl, local_dimensions
from engram.geometry.normal_bundle import SCORES, normal_bundle
from engram.geometry.smoothed_vae import gaussian_moments, lidl_of_vae
from engram.geometry.smoothing import ClosedForm, on_manifold, own_noise, smoothed
from engram.models import observations
from engram.models.conditions import conditions
from engram.models.diffusion import PIXELS_AT_ONCE
from engram.models.ppca import PPCA
from engram.models.protocols import DenoisingModel, classes, offers

AT_ONCE = 256  # images
DRAWS = 4  # of x, for the Jacobian at the z of each
FLOW_WORK = 5e12  # images x numbers^3, above which the square Jacobians of a flow would take more than hours
WIDTHS = np.geomspace(1, 2, 5)  # of all noise, in units of the model's own
# Times of the variance-preserving SDE whose beta rises from 0.1 to 20 (Song et al. 2021), as FLIPD's authors give them.
TIMES, AT = (0.01, 0.05, 0.1, 0.2), 0.05
SAMPLED, SAMPLES = 200, 64  # images at which LIDL is had by importance sampling, which costs more, and its samples
EXACT_UP_TO, PROBES = 64, 16  # numbers of an image whose trace is exact, and random signs of the trace of larger ones


def gamma_at(time: float) -> float:
    """-log signal-to-noise ratio at a time of that SDE: alpha^2 = exp(-B), B = 0.1 t + 19.9 t^2 / 2.

    >>> round(gamma_at(0.05), 3)
    -3.496
    """
    return math.log(math.expm1(0.1 * time + 19.9 * time**2 / 2))


def times_of(model: DenoisingModel) -> list[float]:
    """Those of TIMES whose noise the model has learned, by its `gamma_0` and `gamma_1` if it has them."""
    least, most = getattr(model, "gamma_0", -np.inf), getattr(model, "gamma_1", np.inf)
    return [time for time in TIMES if least <= gamma_at(time) <= most]


@dataclass(frozen=True)
class Found:
    """The dimension at each image by one way, the most it can be, what it says in words, and further variables of the artifact.

    `reference` are the dimensions that the same way gives of a model which has memorized its images perfectly, (n,).
    """

    way: str
    dimension: Dimension
    most: int
    meaning: str
    further: dict[str, tuple] = field(default_factory=dict)
    reference: np.ndarray | None = None


def why_none(model: nn.Module, n: int, pixels: int) -> str | None:
    """Why there is no way to the dimension of a model at n images of so many numbers; None if there is one."""
    if isinstance(model, ClosedForm):
        return None
    if offers(model, DenoisingModel):
        needs = f"FLIPD needs a model that knows noise of gamma {gamma_at(AT):.1f}"
        learned = f"{getattr(model, 'gamma_0', -np.inf):g} to {getattr(model, 'gamma_1', np.inf):g}"
        return None if AT in times_of(model) else f"{needs}; this one learned {learned}"
    if generator_of(model) is None:
        return "needs a closed form, an encoder and a decoder whose mean is an image, or a model that predicts noise"
    if classes(model):
        return "needs an encoder, which engram does not ask of a model with classes"
    if not hasattr(model, "encode") and n * pixels**3 > FLOW_WORK:
        return f"the Jacobians of a flow at {n:,} images of {pixels:,} numbers would take more than hours"
    return None


def dimension_of(model: nn.Module, judged: JudgedImages, training: JudgedImages) -> Found:
    """By the way that fits the model, which must have one (`why_none`); `training` are all images that it was trained on."""
    if isinstance(model, ClosedForm):
        return by_density(model, judged)
    return by_noise(model, judged, training) if offers(model, DenoisingModel) else by_jacobian(model, judged)


def by_density(model: ClosedForm, judged: JudgedImages) -> Found:
    """LIDL between once and twice the width of the model's own noise, at images brought to its manifold."""
    widths = own_noise(model) * torch.from_numpy(WIDTHS)
    deltas = (widths.square() - own_noise(model) ** 2).clamp(min=0).sqrt().tolist()
    blurred, pixels = [smoothed(model, delta) for delta in deltas], math.prod(judged.shape)
    parts = [on_manifold(model, block.x(model)) for _, block in judged.parts(AT_ONCE)]
    log_p = torch.cat([torch.stack([each.log_prob(x) for each in blurred]) for x in parts], 1)
    between = (widths[1:] * widths[:-1]).sqrt()
    local = local_dimensions(log_p, widths.log(), pixels)
    further = {
        "width": variable(("width",), between, "1", "width of all noise about the model's manifold, observation space"),
        "lidl": variable(("width", "sample"), local.float(), "1", "LIDL at a width: D + slope of log p between two"),
    }
    meaning = "LIDL of the full model in closed form, from one to two widths of its noise, on its manifold"
    most = model.principal if isinstance(model, PPCA) else pixels
    return Found("lidl", lidl(log_p, widths.log(), pixels), most, meaning, further)


def by_jacobian(model: nn.Module, judged: JudgedImages) -> Found:
    """Numerical rank of d image / dz at the z of x, mean over draws of x; its standard error is that over the draws.

    It is NaN of a model that sees the levels themselves, as these draws are all one.
    """
    generator, pixels, ranks, spectra = generator_of(model), math.prod(judged.shape), [], []
    for draw in range(DRAWS):
        parts = []
        for _, block in judged.parts(AT_ONCE):
            with torch.no_grad():
                z = generator.infer(block.x(model, draw))
            parts.append(singular_values(generator.generate, z).float())
        spectra.append(torch.cat(parts))
        ranks.append(numerical_rank(spectra[-1], pixels).double())
    rank, spectrum = torch.stack(ranks), torch.stack(spectra).mean(0)
    title = "singular value of d image / dz, images in pixel units, z of unit variance; mean over draws of x"
    further = {
        "direction": variable(("direction",), np.arange(1, spectrum.shape[1] + 1), "1", "direction by its strength"),
        "singular_value": variable(("sample", "direction"), spectrum, "1", title),
    }
    meaning = f"singular values above {visible(pixels):.3g} of the full model's Jacobian d image / dz at the z of x"
    is_drawn = model.observation not in observations.WITHOUT_NOISE
    error = rank.std(0) / DRAWS**0.5 if is_drawn else torch.full_like(rank[0], torch.nan)
    return Found(
        "jacobian", Dimension(rank.mean(0), error), spectrum.shape[1], meaning, further | _by_sampling(model, judged)
    )


def _by_sampling(model: nn.Module, judged: JudgedImages) -> dict[str, tuple]:
    """LIDL of a VAE with Gaussian pixels at SAMPLED of the images, evenly chosen, and NaN elsewhere; nothing of other models."""
    moments = gaussian_moments(model)
    if moments is None:
        return {}
    chosen = np.unique(np.linspace(0, len(judged) - 1, SAMPLED).round().astype(int))
    some = judged.part(chosen)
    x, noise = some.x(model), some.normals((SAMPLES, model.latent_dim), judged.dataset, "importance")
    found = lidl_of_vae(model, moments, x, noise.to(x), WIDTHS.tolist())
    values = np.full((2, len(judged)), np.nan)
    values[:, chosen] = torch.stack(found).numpy()
    meaning = f"LIDL of the full model by {SAMPLES} importance samples, from one to two widths of its noise, at its mean image"
    return {
        "lidl_by_sampling": variable(("sample",), values[0], "1", meaning, may_be_undefined=True),
        "lidl_by_sampling_standard_error": variable(("sample",), values[1], "1", "standard error of its line", True),
    }


def by_noise(model: DenoisingModel, judged: JudgedImages, training: JudgedImages) -> Found:
    """FLIPD over the noise that the model knows, and of the closed-form diffusion of its training images.

    If the model has classes: given the class, and without it, too.
    """
    times, known_class = times_of(model), bool(classes(model))
    gammas = [gamma_at(time) for time in times]
    curve, reference = _curve(model, judged, gammas, True), _reference(model, judged, training, gammas)
    given, at = ("the class of the image" if known_class else "no class"), times.index(AT)
    pixels = math.prod(judged.shape)
    further = {
        "gamma": variable(("gamma",), gammas, "1", "-log signal-to-noise ratio"),
        "time": variable(("gamma",), times, "1", "time of the variance-preserving SDE with beta from 0.1 to 20"),
        **_flipd("flipd", curve, f"FLIPD of the full model, given {given}"),
        "reference": _over_gamma(reference, "FLIPD of the closed-form diffusion of the training images"),
    }
    if known_class:
        further |= _flipd(
            "flipd_unconditional", _curve(model, judged, gammas, False), "FLIPD of the full model without a class"
        )
    if pixels <= EXACT_UP_TO:
        further["normal_bundle"] = _normal_bundle(model, judged, gammas[0])
    how = "exact trace" if pixels <= EXACT_UP_TO else f"trace from {PROBES} random signs"
    meaning = f"FLIPD of the full model at time {AT} (gamma {gamma_at(AT):.2f}), given {given}, {how}"
    dimension = Dimension(curve.value[at], curve.standard_error[at])
    return Found("flipd", dimension, pixels, meaning, further, reference[at].numpy())


def _flipd(name: str, curve: Dimension, meaning: str) -> dict[str, tuple]:
    return {
        name: _over_gamma(curve.value, meaning),
        f"{name}_standard_error": _over_gamma(curve.standard_error, f"standard error of {name} by its random signs"),
    }


def _over_gamma(values: Tensor, meaning: str) -> tuple:
    return variable(("gamma", "sample"), values.float(), "1", meaning)


def _curve(model: DenoisingModel, judged: JudgedImages, gammas: Sequence[float], with_class: bool) -> Dimension:
    """FLIPD of each image at every gamma, (gammas, n)."""
    size, parts = max(1, PIXELS_AT_ONCE // math.prod(judged.shape[1:])), []
    for _, some in judged.parts(size):
        x, label = some.x(model), conditions(model, some.label) if with_class else ()
        parts.append([_flipd_at(model, x, label, gamma, _probes(some, x)) for gamma in gammas])
    each = [[torch.cat(of_field) for of_field in zip(*of_gamma, strict=True)] for of_gamma in zip(*parts, strict=True)]
    return Dimension(*(torch.stack(of_field) for of_field in zip(*each, strict=True)))


def _flipd_at(
    model: DenoisingModel, x: Tensor, label: Sequence[Tensor], gamma: float, probes: Tensor | None
) -> Dimension:
    found = flipd(partial(_predicted, model, label), x, gamma, probes)
    return Dimension(found.value.detach().double(), found.standard_error.detach().double())


def _normal_bundle(model: DenoisingModel, judged: JudgedImages, gamma: float) -> tuple:
    """The normal bundle's dimension at little noise, of images small enough for 4 D evaluations each."""
    found = []
    for _, image in judged.parts(1):
        x, scores = image.x(model), SCORES * image.images.shape[1]
        label = tuple(values.expand(scores) for values in conditions(model, image.label))
        noise = image.normals((scores, *judged.shape), judged.dataset, "normal bundle").to(x)
        found.append(normal_bundle(partial(_predicted, model, label), x, gamma, noise))
    return variable(("sample",), torch.cat(found), "1", f"normal bundle of the full model at gamma {gamma:.2f}")


def _predicted(model: DenoisingModel, label: Sequence[Tensor], z: Tensor, gamma: Tensor) -> Tensor:
    return model.predict_noise(z, gamma, *label)


def _probes(judged: JudgedImages, x: Tensor) -> Tensor | None:
    """Random signs (PROBES, n, *image_shape), each image's own; None where the trace is exact."""
    if x[0].numel() <= EXACT_UP_TO:
        return None
    normals = judged.normals((PROBES, *judged.shape), judged.dataset)
    return torch.where(normals < 0, -1, 1).to(x).transpose(0, 1)


def _reference(model: DenoisingModel, judged: JudgedImages, training: JudgedImages, gammas: Sequence[float]) -> Tensor:
    """The dimension of the closed-form diffusion of all training images, or of those of the image's class, (gammas, n)."""
    found = torch.empty(len(gammas), len(judged), dtype=torch.float64)
    of_judged, of_training = (
        each.label if classes(model) else np.zeros_like(each.label) for each in (judged, training)
    )
    for each in np.unique(of_judged):
        here, there = np.flatnonzero(of_judged == each), np.flatnonzero(of_training == each)
        x, images = judged.part(here).x(model), training.part(there).x(model)
        found[:, here] = closed_form_dimension(x, images, gammas)
    return found
