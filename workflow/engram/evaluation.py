"""The likelihood stage: log p of every image under every model of one repeat, in bounded memory.

With `observation: fixed` all models of the project judge the same draws of x with the same importance noise (common random
numbers); with `resampled`, the published recipe, each model and epoch judges a draw of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engram import observations
from engram.importance import Estimate
from engram.jobs import Progress
from engram.likelihood import estimate, estimate_to_precision
from engram.randomness import image_normals, image_uniforms, seed_sequence

CHUNK = 256  # images drawn at a time


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
        for start in range(0, len(images), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(images)))
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
            x = _observe(model, grey, rows, image_shape, named)
            noise = Noise(_named(named, "importance"), rows)
        found, samples = _estimate(model.to(device), x, noise, estimator)
        for quantity, values in vars(found).items():
            getattr(result, quantity)[index, draw, rows] = values.cpu().numpy()
        result.samples[index, draw, rows] = samples.cpu().numpy()


class Noise:
    """The named importance noise of some images, drawn when first used and then shared by the models."""

    def __init__(self, stream: tuple, rows: np.ndarray):
        self.stream, self.rows = stream, rows
        self.drawn: dict[tuple, Tensor] = {}

    def normals(self, samples: int, latent_dim: int) -> Tensor:
        """Standard normals, (images, samples, latent_dim)."""
        shape = (samples, latent_dim)
        if shape not in self.drawn:
            self.drawn[shape] = image_normals(self.rows, shape, *self.stream)
        return self.drawn[shape]

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
    normals = noise.normals(estimator["samples"], getattr(model, "latent_dim", 0)).to(x.device)
    return estimate(model, x, noise=normals, **settings), torch.full((len(x),), estimator["samples"])


def _observe(model, grey: Tensor, rows: np.ndarray, image_shape: tuple, stream: tuple) -> Tensor:
    uniforms = image_uniforms(rows, (grey.shape[1],), *_named(stream, "observation")).to(grey.device)
    return observations.draw(grey, uniforms, model.observation).reshape(-1, *image_shape)


def _named(stream: tuple, purpose: str) -> tuple:
    root, *names = stream
    return root, "likelihood", purpose, *names
