"""How well do attacks that ask the models themselves tell which images a model was trained on?

As in engram.analyses.membership_inference, members are the scored images that a target was trained on, and non-members the scored
images that it was not. Targets are the models of the first REPEATS repeats. Every attack has a second, difficulty-calibrated
form: its number minus the mean of its numbers under the target's out shadows (engram.analyses.attacks.minus_out_shadows).
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses import image_attacks, roc
from engram.analyses.attacks import minus_out_shadows
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.judged_images import JudgedImages
from engram.analyses.noise_attacks import GAMMAS, NOISE_ATTACKS, TIME, Attack, gamma_at
from engram.files.artifacts import AXES, variable
from engram.likelihood.estimation import noise_of_sample
from engram.models.conditions import conditions
from engram.models.diffusion import PIXELS_AT_ONCE
from engram.models.protocols import DenoisingModel, SamplingModel, classes, offers
from engram.models.samples import sample
from engram.scores.stage import Comparison

REPEATS = 10  # whose models are targets: those of more would cost more and tell little more
SAMPLES = 1000  # of each target
DRAWS = 8  # of z for each image
AT_ONCE = 256  # images


def reconstruction(model: image_attacks.ReconstructingModel, x: Tensor, block: JudgedImages) -> Tensor:
    """The attack of engram.analyses.image_attacks, with the same draws of z for all models."""
    noise = block.normals((DRAWS, *noise_of_sample(model, x)), "z", block.dataset).to(x).transpose(0, 1)
    return image_attacks.reconstruction(model, x, block.pixels().to(x), noise)


def by_noise(attack: Attack, model: DenoisingModel, x: Tensor, block: JudgedImages) -> Tensor:
    """An attack of engram.analyses.noise_attacks. The network sees so many pixels at once that memory stays bounded."""
    at_once = max(1, PIXELS_AT_ONCE // (block.shape[1] * block.shape[2]))
    label = conditions(model, block.label)

    def predict(z: Tensor, gamma: Tensor) -> Tensor:
        parts = zip(*(values.split(at_once) for values in (z, gamma, *label)), strict=True)
        return torch.cat([model.predict_noise(*part) for part in parts])

    return attack(predict, x, block.normals(block.shape, "epsilon", block.dataset).to(x))


OF_SAMPLES = "nearest_sample", "monte_carlo"
# Each takes a model, x, and the images behind it.
OF_BLOCKS = {"reconstruction": reconstruction} | {
    name: partial(by_noise, attack) for name, attack in NOISE_ATTACKS.items()
}
ATTACKS = ("reconstruction", *OF_SAMPLES, *NOISE_ATTACKS)
CALIBRATED = {name: f"{name}_calibrated" for name in ATTACKS}  # names of the attacks in their second form
NEEDS_SHADOWS = "needs shadow models, which come from other repeats, and so two repeats or more"


@torch.no_grad()
def attack(
    models: Sequence[nn.Module], judged: JudgedImages, experiment: str, seconds: Counter
) -> dict[str, np.ndarray]:
    """Every attack that the models offer what it needs for: by name (models, n) float32. Adds to `seconds` what each took."""
    names = [name for name in ATTACKS if name not in why_not(models[0])]
    scores = {name: np.empty((len(models), len(judged)), dtype=np.float32) for name in names}
    for row, model in enumerate(models) if {*OF_SAMPLES} <= {*names} else ():
        with _timed(seconds, *OF_SAMPLES):
            samples = torch.cat([*sample(model, SAMPLES, judged.seed, "model_attacks", experiment)])
            scores["nearest_sample"][row] = nearest = image_attacks.nearest_sample(judged.images, samples)
        with _timed(seconds, "monte_carlo"):
            epsilon = image_attacks.median_distance(nearest)
            scores["monte_carlo"][row] = image_attacks.monte_carlo(judged.images, samples, epsilon)
    of_blocks = [name for name in OF_BLOCKS if name in names]
    for here, block in judged.parts(AT_ONCE) if of_blocks else ():
        x = block.x(models[0])
        for name in of_blocks:
            with _timed(seconds, name):
                for row, model in enumerate(models):
                    scores[name][row, here] = OF_BLOCKS[name](model, x, block)
    return scores


@contextmanager
def _timed(seconds: Counter, *names: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    for name in names:
        seconds[name] += time.perf_counter() - started


def why_not(model: nn.Module) -> dict[str, str]:
    """What attacks need that a model does not offer, by the attack's name.

    >>> why_not(nn.Linear(2, 2))["monte_carlo"]
    'needs a model that draws samples'
    """
    without = {}
    if classes(model):
        without["reconstruction"] = "needs an encoder, which engram does not ask of a model with classes"
    elif not offers(model, image_attacks.ReconstructingModel):
        without["reconstruction"] = "needs an encoder, and a decoder whose mean is an image"
    if not offers(model, SamplingModel):
        without |= dict.fromkeys(OF_SAMPLES, "needs a model that draws samples")
    if not offers(model, DenoisingModel):
        without |= dict.fromkeys(NOISE_ATTACKS, "needs a model that predicts noise")
    elif not (getattr(model, "gamma_0", -np.inf) <= GAMMAS[0] and GAMMAS[1] <= getattr(model, "gamma_1", np.inf)):
        needs = "needs a model that knows noise of gamma from {:.1f} to {:.1f}".format(*GAMMAS)
        without |= dict.fromkeys(NOISE_ATTACKS, f"{needs}; this one learned {model.gamma_0:g} to {model.gamma_1:g}")
    return without


def analyse(given: Inputs) -> Answer:
    """ROC of every attack in both forms at the last scored epoch."""
    comparison = Comparison.of(given.membership)
    targets = comparison.repeat < REPEATS
    is_in, repeat = comparison.is_in[targets], comparison.repeat[targets]
    judged = JudgedImages.of(given.dataset, comparison.images, given.seed, "model attacks")
    scores, lacking, seconds = _of_targets(given, judged, repeat)
    curves = roc.rocs(scores, is_in, given.seed)
    for name, calibrated in CALIBRATED.items():  # one at a time, which bounds memory
        curves |= roc.rocs({calibrated: minus_out_shadows(scores[name], is_in, repeat)}, is_in, given.seed)
    variables = {
        "sample": variable(("sample",), comparison.images, "1", AXES["sample"]),
        **roc.axes(curves),
        **roc.variables(curves),
    }
    repeats = len(np.unique(repeat))
    settings = {"epoch": given.epoch, "repeats": repeats, "samples": SAMPLES, "draws_of_z": DRAWS}
    settings |= {"ddpm_time": TIME, "gamma": gamma_at(TIME), "resamples": roc.RESAMPLES}
    without_shadows = dict.fromkeys(CALIBRATED, NEEDS_SHADOWS) if repeats == 1 else {}
    lacking |= {CALIBRATED[name]: reason for name, reason in (without_shadows | lacking).items()}
    seconds |= {CALIBRATED[name]: taken for name, taken in seconds.items()}
    return Answer(variables, settings, {"targets": len(repeat)}, lacking, seconds)


def _of_targets(given: Inputs, judged: JudgedImages, repeat: np.ndarray) -> tuple[dict, dict, Counter]:
    """Every attack's scores (targets, n) float32, NaN where the models cannot have it, why not, and seconds, all by name."""
    scores = {name: np.full((len(repeat), len(judged)), np.nan, dtype=np.float32) for name in ATTACKS}
    lacking, seconds = {}, Counter()
    for number in np.unique(repeat):
        models = given.models[number](given.epoch)
        lacking = why_not(models[0])
        for name, values in attack(models, judged, given.experiment, seconds).items():
            scores[name][repeat == number] = values
    return scores, lacking, seconds
