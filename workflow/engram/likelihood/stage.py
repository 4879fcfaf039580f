"""The likelihood stage: log p of every image under every model of one repeat, in bounded memory.

With `observation: fixed` all models of the project judge the same draws of x with the same importance noise (common random
numbers); with `resampled`, the published recipe, each model and epoch judges a draw of its own. A GPU draws the latter itself:
from the CPU they would take longer than the estimates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engram.likelihood.estimation import estimate, estimate_to_precision
from engram.likelihood.importance import Estimate
from engram.models import observations
from engram.randomness import image_normals, image_uniforms, seed_sequence, torch_generator
from engram.runtime.device import at_once
from engram.runtime.jobs import Progress

CHUNK = 256  # images drawn at a time on a CPU


@dataclass
class Likelihoods:
    """Estimates for (models, draws, images), in nats."""

    log_px: np.ndarray
    elbo: np.ndarray
    standard_error: np.ndarray
    effective_samples: np.ndarray
    pareto_k: np.ndarray
    fell_back: np.ndarray = field(repr=False)
    samples: np.ndarray = field(repr=False)

    @classmethod
    def empty(cls, *shape: int) -> "Likelihoods":
        return cls(
            *(np.full(shape, np.nan) for _ in range(5)), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
        )


def evaluate(
    models: Sequence[torch.nn.Module],
    names: Sequence[tuple],
    images: np.ndarray,
    image_shape: tuple[int, int, int],
    estimator: dict,
    stream: tuple,
    device: torch.device,
    title: str = "likelihood",
) -> Likelihoods:
    """Estimate log p of uint8 `images` (n, pixels) under `models`.

    `estimator` holds the config's proposal, samples, observation, draws, newton_steps and proposal_scale. `stream` is
    (root seed, data set) and `names` one name per model, for the random streams.
    """
    draws = estimator.get("draws", 1)
    result = Likelihoods.empty(len(models), draws, len(images))
    with Progress(len(models) * draws * len(images), title, " images") as progress:
        chunk = at_once(CHUNK, device)
        for start in range(0, len(images), chunk):
            rows = np.arange(start, min(start + chunk, len(images)))
            for draw in range(draws):
                _evaluate_chunk(models, names, images[rows], rows, draw, image_shape, estimator, stream, device, result)
                progress.update(len(models) * len(rows))
    return result


def _evaluate_chunk(models, names, images, rows, draw, image_shape, estimator, stream, device, result) -> None:
    fixed = estimator["observation"] == "fixed"
    grey = torch.from_numpy(images).to(device)
    x = noise = None
    for index, (model, name) in enumerate(zip(models, names, strict=True)):
        if x is None or not fixed:
            named = (*stream, draw) if fixed else (*stream, draw, *name)
            x = _observe(model, grey, Noise(named, "observation", rows, device, shared=fixed), image_shape)
            noise = Noise(named, "importance", rows, device, shared=fixed)
        found, samples = _estimate(model.to(device), x, noise, estimator)
        for quantity, values in vars(found).items():
            getattr(result, quantity)[index, draw, rows] = values.cpu().numpy()
        result.samples[index, draw, rows] = samples.cpu().numpy()


class Noise:
    """The named random numbers behind some images' estimates, on the device; normals are drawn when first used, then kept.

    What models share comes from the CPU, a stream for each image: it must be the same for jobs on any device.
    """

    def __init__(self, stream: tuple, purpose: str, rows: np.ndarray, device: torch.device, shared: bool):
        root, *names = stream
        self.stream, self.rows, self.device = (root, "likelihood", purpose, *names), rows, device
        self.of_each_image = shared or device.type == "cpu"
        self.drawn: dict[tuple, Tensor] = {}

    def normals(self, samples: int, latent_dim: int) -> Tensor:
        """Standard normals, (images, samples, latent_dim)."""
        shape = (samples, latent_dim)
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


def _estimate(model: torch.nn.Module, x: Tensor, noise: Noise, estimator: dict) -> tuple[Estimate, Tensor]:
    """The estimator's estimate, and the number of samples each image got."""
    settings = {
        key: estimator[key] for key in ("proposal", "samples", "newton_steps", "proposal_scale") if key in estimator
    }
    if "target_standard_error" in estimator:
        precision = {key: estimator[key] for key in ("target_standard_error", "max_samples")}
        images = torch.from_numpy(noise.rows)
        return estimate_to_precision(model, x, **precision, **settings, seed=noise.seed(), images=images)
    normals = noise.normals(estimator["samples"], getattr(model, "latent_dim", 0))
    return estimate(model, x, noise=normals, **settings), torch.full((len(x),), estimator["samples"])


def _observe(model, grey: Tensor, noise: Noise, image_shape: tuple) -> Tensor:
    return observations.draw(grey, noise.uniforms(grey.shape[1]), model.observation).reshape(-1, *image_shape)
