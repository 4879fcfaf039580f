"""log p of every image under every model of one repeat, in bounded memory.

With `observation: fixed` all models of the project judge the same draws of x with the same importance noise (common random
numbers); with `resampled`, the published recipe, each model and epoch judges a draw of its own. A GPU draws the latter itself:
from the CPU they would take longer than the estimates.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engram.likelihood.bound import error_of_draws
from engram.likelihood.estimation import estimate, estimate_to_precision, is_bound, noise_of_sample
from engram.likelihood.importance import Estimate, join
from engram.models import observations
from engram.randomness import image_normals, image_uniforms, seed_sequence, torch_generator
from engram.runtime.device import at_once
from engram.runtime.jobs import Progress

CHUNK = 256  # images drawn at a time on a CPU, or fewer where their noise is more than so many numbers
NOISE = 2**21
OF_ESTIMATE = ("proposal", "samples", "newton_steps", "proposal_scale")  # settings of either way to estimate
OF_PRECISION = ("target_standard_error", "max_samples")


@dataclass(frozen=True)
class Evaluation:
    """How images are judged: by which estimator, on which draws of x, where.

    `estimator` holds the config's proposal, samples, observation, draws, newton_steps and proposal_scale, and
    target_standard_error and max_samples if samples are to depend on the image. `stream` is (root seed, data set), for the
    random streams.
    """

    estimator: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    stream: tuple[int | str, ...]
    device: torch.device

    @property
    def draws(self) -> int:
        return self.estimator.get("draws", 1)

    @property
    def fixed(self) -> bool:
        """Whether all models judge the same draws of x, with the same noise."""
        return self.estimator["observation"] == "fixed"


def evaluate(
    evaluation: Evaluation,
    models: Sequence[nn.Module],
    names: Sequence[tuple],
    images: np.ndarray,
    title: str = "likelihood",
    conditions: Sequence[Tensor] = (),
) -> Estimate:
    """Estimate log p of uint8 `images` (n, pixels) under `models`: every field is (models, draws, n), on the CPU.

    `names` has one name per model, for its random streams. `conditions` are what the models are given of each image beside x
    (engram.models.conditions). The standard error of a bound is that over its draws, if there are two or more.
    """
    chunk, parts = _images_at_once(evaluation, models[0]), []
    with Progress(len(models) * evaluation.draws * len(images), title, " images") as progress:
        for start in range(0, len(images), chunk):
            rows, of_draws = np.arange(start, min(start + chunk, len(images))), []
            given = [values[rows].to(evaluation.device) for values in conditions]
            for draw in range(evaluation.draws):
                estimates = []
                for of_model in _of_each_model(evaluation, models, names, images[rows], rows, draw, given):
                    estimates.append(of_model)
                    progress.update(len(rows))
                of_draws.append(join(estimates, torch.stack))
            parts.append(join(of_draws, lambda values: torch.stack(values, 1).cpu()))
    estimates = join(parts, lambda values: torch.cat(values, -1))
    if evaluation.draws > 1 and is_bound(models[0], evaluation.estimator["proposal"]):
        return replace(estimates, standard_error=error_of_draws(estimates.log_px))
    return estimates


def _images_at_once(evaluation: Evaluation, model: nn.Module) -> int:
    """As many as are drawn at a time: the noise of a bound is as large as all of its samples of an image."""
    settings, weights = evaluation.estimator, observations.some_weights(model)
    blank = torch.zeros(1, *evaluation.image_shape, dtype=observations.precision(model))
    blank = blank if weights is None else blank.to(weights.device)
    samples = settings.get("max_samples", settings.get("samples", 1))
    of_image = samples * math.prod(noise_of_sample(model, blank, settings["proposal"]))
    most = at_once(NOISE, evaluation.device) // max(1, of_image)
    return max(1, min(at_once(CHUNK, evaluation.device), most))


def _of_each_model(
    evaluation: Evaluation,
    models: Sequence[nn.Module],
    names: Sequence[tuple],
    images: np.ndarray,
    rows: np.ndarray,
    draw: int,
    conditions: Sequence[Tensor],
) -> Iterator[Estimate]:
    """The models' estimates for one draw of x from `images`, whose numbers in the data set are `rows`."""
    grey = torch.from_numpy(images).to(evaluation.device)
    x = noise = None
    for model, name in zip(models, names, strict=True):
        if x is None or not evaluation.fixed:
            stream = (*evaluation.stream, draw) if evaluation.fixed else (*evaluation.stream, draw, *name)
            of_x, noise = (
                Noise(stream, purpose, rows, evaluation.device, evaluation.fixed)
                for purpose in ("observation", "importance")
            )
            x = observations.draw(grey, of_x.uniforms(grey.shape[1]), model.observation)
            x = x.reshape(-1, *evaluation.image_shape)
        model = model.to(evaluation.device)
        yield _estimate(model, x.to(observations.precision(model)), noise, evaluation.estimator, conditions)


def _estimate(
    model: nn.Module, x: Tensor, noise: "Noise", estimator: Mapping[str, Any], conditions: Sequence[Tensor]
) -> Estimate:
    """The estimator's estimate: with its number of samples for every image, or to its precision."""
    settings = {key: estimator[key] for key in OF_ESTIMATE if key in estimator} | {"conditions": conditions}
    if "target_standard_error" in estimator:
        settings |= {key: estimator[key] for key in OF_PRECISION}
        return estimate_to_precision(model, x, **settings, seed=noise.seed(), images=torch.from_numpy(noise.rows))
    normals = noise.normals((estimator.get("samples", 1), *noise_of_sample(model, x, estimator["proposal"])))
    return estimate(model, x, noise=normals, **settings)


class Noise:
    """The named random numbers behind some images' estimates, on the device; normals are drawn when first used, then kept.

    What models share comes from the CPU, a stream for each image: it must be the same for jobs on any device.
    """

    def __init__(self, stream: tuple, purpose: str, rows: np.ndarray, device: torch.device, shared: bool):
        root, *names = stream
        self.stream, self.rows, self.device = (root, "likelihood", purpose, *names), rows, device
        self.of_each_image = shared or device.type == "cpu"
        self.drawn: dict[tuple, Tensor] = {}

    def normals(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normals, (images, *shape)."""
        if shape not in self.drawn:
            self.drawn[shape] = self._draw(shape, image_normals, torch.randn)
        return self.drawn[shape]

    def uniforms(self, pixels: int) -> Tensor:
        """Uniform draws on [0, 1), (images, pixels)."""
        return self._draw((pixels,), image_uniforms, torch.rand)

    def _draw(self, shape: tuple[int, ...], of_images: Callable, of_chunk: Callable) -> Tensor:
        if self.of_each_image:
            return of_images(self.rows, shape, *self.stream).to(self.device)
        stream = torch_generator(self.device, *self.stream, int(self.rows[0]))
        return of_chunk(len(self.rows), *shape, generator=stream, device=self.device)

    def seed(self) -> int:
        """A number that stands for the stream's name."""
        return int(seed_sequence(*self.stream).generate_state(1, np.uint64)[0])
