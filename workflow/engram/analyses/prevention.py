"""Can a diffusion model be kept from emitting copies of its training images while it samples, and what does that cost?

The full model draws samples from the same noise by every way of prevention (engram.prevention), each at several strengths, and
without any. Of each: copies per 1,000 samples (engram.analyses.copying), and how far samples and held-out images lie from each
other. Every way has a control that does as much at random: what the control does, too, is not due to the way. Held-out images
are half of the test images; the other half stands in the samples' place, and says what real images come to.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from engram.analyses import copying
from engram.analyses.copying import COPY
from engram.analyses.duplicates import NEAR, groups_within, without_copies
from engram.analyses.features import Features, load
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.prevention_ways import (
    AT_MOST,
    FIRST,
    STEPS,
    Source,
    Way,
    embedded,
    embedded_at_random,
    guided,
    guided_at_random,
    plain,
    without_class,
)
from engram.analyses.trade_off import NEAR_COPY, SET, Judged, Sets, judged, trade_off
from engram.datasets.duplicates import groups
from engram.files import inputs
from engram.files.artifacts import TRAIN, variable
from engram.models.protocols import DenoisingModel, offers
from engram.prevention.dimension import PROBES, kept
from engram.randomness import generator
from engram.scores import intervals

SAMPLES = 1000  # without prevention: of these, rejection keeps some
CHANGED = 300  # by each way that changes the sampling: the first of them, from the same noise
WITH_DIMENSION = 200  # held-out images whose LID is asked for, at every step of guidance
HELD_OUT = 1000  # images at most, and as many in the samples' place
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the samples, that rejection takes out
STRENGTHS = (0.1, 0.2, 0.4)  # of guidance by LID
NORMS = (0.5, 0.25)  # of the guidance vector, over its median for the model's own classes
QUANTILE = 0.05  # of held-out images' LID at every step: the threshold below which guidance moves an image
SHOWN = 10  # samples for the figure
SHOWN_WAYS = "guidance", "embedding"
OF_SETTING = {
    "copies": "copies per 1,000 samples",
    "near_copies": f"the same with those near to copies, of ratios below {NEAR_COPY:g}",
    "distance": "mean distance of samples to their nearest held-out images",
    "coverage": f"mean distance of held-out images to their nearest of {SET} samples",
}


class Setting(NamedTuple):
    """A way at one strength: how many samples were drawn, and what those are like that it kept."""

    way: str
    strength: float
    drawn: int
    samples: Judged


class Shown(NamedTuple):
    """Pictures (rows, shown, pixels) uint8 by what each row is of, and the ratio that tells a copy, NaN of training images."""

    row: list[str]
    pictures: np.ndarray
    ratio: np.ndarray


class Found(NamedTuple):
    """All settings, the pictures to show, and LID of samples drawn without prevention and of held-out images."""

    settings: list[Setting]
    shown: Shown
    dimension: np.ndarray
    dimension_held_out: np.ndarray


def analyse(given: Inputs) -> Answer:
    """The trade-off of every way that the full model at the last scored epoch allows.

    All is lacking of a model that predicts no noise, or none of the levels that are needed, where features come from a file, which
    holds none of samples, and where no two training images, or fewer than two test images and the training images, differ.
    """
    dataset, model = given.dataset, given.full_model(given.epoch)
    images, train = dataset["images"].values, dataset["split"].values == TRAIN
    features = load(given.features, len(images))
    near = groups(images, NEAR)
    unit = copying.units(groups_within(images, near, train)[train])
    held_out, real = _halves(given, without_copies(inputs.test_samples(dataset), near, train))
    values = {"epoch": given.epoch, "features": features.name, "samples": SAMPLES, "changed": CHANGED}
    values |= {"ddim_steps": STEPS, "held_out_quantile": QUANTILE, "near_distance": NEAR}
    if why := why_not(model) or _why_not(features, unit, real):
        return Answer(_variables(_nothing(images.shape[1]), np.empty((0, 1))), values, lacking={"prevention": why})
    training, fresh, of_real = (features.of_dataset(dataset, rows) for rows in (np.flatnonzero(train), held_out, real))
    sets = Sets(training, fresh, unit)
    shape = tuple(int(size) for size in dataset.attrs["image_shape"])
    source = Source(model.requires_grad_(False), shape, given.seed, given.experiment)
    rows = held_out[:WITH_DIMENSION]
    of_held_out = partial(source.dimensions, "held-out images", images[rows], dataset["label"].values[rows])
    found = _found(source, features, sets, of_held_out, images[train])
    found.settings.append(Setting("real images", 0.0, len(real), judged(of_real, sets)))
    return Answer(_variables(found, fresh), values | {"gamma": source.gamma})


def why_not(model: nn.Module) -> str:
    """What a model lacks for it; empty if nothing.

    >>> why_not(nn.Linear(2, 2))
    'it needs a model that predicts noise'
    """
    if not offers(model, DenoisingModel):
        return "it needs a model that predicts noise"
    least, most = (getattr(model, name, np.nan) for name in ("gamma_0", "gamma_1"))
    if not (least <= AT_MOST and most >= FIRST):
        return f"it needs a model that knows noise of gamma from {AT_MOST} to {FIRST}; this one learned {least:g} to {most:g}"
    return ""


def _why_not(features: Features, unit: np.ndarray, real: np.ndarray) -> str:
    """Why features and images allow no trade-off; empty if they do."""
    if features.of_file is not None:
        return f"features come from the file {features.name}, which has no row for samples of a model; name a function"
    if not unit.max():
        return "all training images are copies of one another, so that a sample is near to none alone"
    if not len(real):
        return "fewer than two test images are no copies of training images, so that there is nothing to compare with"
    return ""


def _halves(given: Inputs, fresh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Held-out images, and as many real ones to stand in the samples' place, in random order."""
    order = generator(given.seed, "prevention", "halves", given.experiment).permutation(fresh)
    half = min(len(order) // 2, HELD_OUT)
    return order[:half], order[half : 2 * half]


def _found(
    source: Source, features: Features, sets: Sets, of_held_out: Callable[..., np.ndarray], training: np.ndarray
) -> Found:
    """Everything about samples. of_held_out: LID of held-out images at a gamma; training: images (n, pixels) uint8."""

    def judge(pictures: np.ndarray) -> Judged:
        return judged(features.of_images(pictures.reshape(-1, *source.shape).astype(np.float32) / 255), sets)

    pictures = source.images(SAMPLES, "none", plain)
    at = source.gamma
    dimensions = source.dimensions("samples", pictures, source.label(SAMPLES), at), of_held_out(at)
    without = judge(pictures)
    settings = [Setting("none", 0.0, SAMPLES, without), *_rejections(without, *dimensions, source)]
    is_other = without.ratio[:CHANGED] >= COPY
    shown = np.argsort(is_other, kind="stable")[:SHOWN]  # the first copies, then the first others
    rows = {"nearest training image": training[without.owner[shown]], "no prevention": pictures[shown]}
    ratios = [np.full(len(shown), np.nan), without.ratio[shown]]
    for way, strength, how in _ways(source, of_held_out):
        pictures = source.images(CHANGED, f"{way} {strength}", how)
        settings.append(Setting(way, strength, CHANGED, judge(pictures)))
        if way in SHOWN_WAYS:
            rows[f"{way} {strength:g}"] = pictures[shown]
            ratios.append(settings[-1].samples.ratio[shown])
    return Found(settings, Shown([*rows], np.stack([*rows.values()]), np.stack(ratios)), *dimensions)


def _rejections(without: Judged, dimension: np.ndarray, of_held_out: np.ndarray, source: Source) -> Iterator[Setting]:
    """Samples without those of lowest LID, without as many at random, and without those below a quantile of held-out images'."""
    n = len(dimension)
    at_random = generator(source.seed, "prevention", "rejection", source.experiment).permutation(n)
    for way, order in (("rejection", np.argsort(dimension, kind="stable")), ("rejection at random", at_random)):
        for share in SHARES:
            yield Setting(way, share, n, without.some(np.sort(order[round(share * n) :])))
    is_kept = kept(dimension, np.quantile(of_held_out, QUANTILE))
    yield Setting("rejection by held-out images", QUANTILE, n, without.some(is_kept))


def _ways(source: Source, of_held_out: Callable[..., np.ndarray]) -> Iterator[tuple[str, float, Way]]:
    """The ways that change the sampling, each with a strength, and its control."""
    gammas = source.gammas
    thresholds = {
        step: np.quantile(of_held_out(float(gammas[step]), probes=PROBES), QUANTILE) for step in source.guided_steps
    }
    for strength in STRENGTHS:
        yield "guidance", strength, guided(strength, gammas, thresholds)
        yield "guidance at random", strength, guided_at_random(strength, gammas, thresholds)
    if source.has_embeddings:
        norm = source.guidance_norm(CHANGED)
        for share in NORMS:
            yield "embedding", share, embedded(share * norm)
            yield "embedding at random", share, embedded_at_random(share * norm)
        yield "without class", 0.0, without_class


def _nothing(pixels: int) -> Found:
    none = np.empty(0)
    return Found([], Shown([], np.empty((0, 0, pixels), np.uint8), np.empty((0, 0))), none, none)


def _variables(found: Found, held_out: np.ndarray) -> dict[str, Any]:
    """`held_out`: features of the held-out images."""
    settings, axes = found.settings, ("setting",)
    numbers = [trade_off(setting.samples, held_out) for setting in settings]
    strength = "share of samples rejected, strength of guidance, share left of the guidance norm, or quantile of held-out images"
    variables = {
        "way": variable(axes, np.array([setting.way for setting in settings], dtype=object), "1", "way of prevention"),
        "strength": variable(axes, np.array([setting.strength for setting in settings], float), "1", strength),
        "drawn": variable(axes, np.array([setting.drawn for setting in settings], int), "1", "samples drawn"),
        "kept": variable(
            axes, np.array([len(setting.samples.ratio) for setting in settings], int), "1", "samples kept"
        ),
        "dimension": variable(("generated",), found.dimension, "1", "LID of each sample without prevention, by FLIPD"),
        "dimension_held_out": variable(("test",), found.dimension_held_out, "1", "LID of held-out images, by FLIPD"),
        "shown_row": variable(("row",), np.array(found.shown.row, dtype=object), "1", "what a row of pictures is of"),
        "picture": variable(
            ("row", "shown", "pixel"), found.shown.pictures, "1", "pictures from the same noise, grey levels"
        ),
    }
    for name, meaning in OF_SETTING.items():
        values = np.array([getattr(each, name) for each in numbers], float).reshape(-1, 3)
        variables |= intervals.variables(name, values, meaning, axes)
    of_ratio = "distance to the nearest training image over that to the nearest different one"
    ratio = found.settings[0].samples.ratio if found.settings else np.empty(0)
    variables["ratio"] = variable(("generated",), ratio, "1", f"{of_ratio}, of each sample without prevention")
    variables["shown_ratio"] = variable(("row", "shown"), found.shown.ratio, "1", of_ratio, may_be_undefined=True)
    return variables
