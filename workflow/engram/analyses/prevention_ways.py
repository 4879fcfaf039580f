"""Samples of a diffusion model by every way of prevention, from the same noise, and the dimensions of samples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from engram.analyses.judged_images import JudgedImages
from engram.geometry.flipd import Predict, flipd, signs
from engram.geometry.guidance import guidance_norm
from engram.models.conditions import conditions
from engram.models.diffusion import PIXELS_AT_ONCE
from engram.models.observations import precision, to_pixels
from engram.models.protocols import classes
from engram.models.unet_diffusion import UNetDiffusion
from engram.prevention.class_embedding import class_embeddings, given_embedding
from engram.prevention.dimension import anywhere, upwards
from engram.prevention.embedding import lowered, moved_at_random
from engram.prevention.sampling import Change, sampled
from engram.randomness import generator, image_normals, torch_generator

STEPS = 25  # of DDIM
# Where a sample's LID is asked for: t = 0.01 of Kamkari et al. (2024), noise of 6 grey levels of 255, or else the least noise
# that the model knows, which must be below 15 levels.
GAMMA, AT_MOST = -6.2, -4.3
FIRST = 0.0  # gamma at which guidance begins; before, noise is stronger than the image, and what is predicted is a blur
PROBES = 8  # of a sample's LID
AT_ONCE = PIXELS_AT_ONCE // 4  # pixels: a gradient of a gradient keeps what plain sampling lets go


class Block(NamedTuple):
    """Some samples to be: noise z (n, *image_shape), the classes of a model with classes, and what else is drawn for them."""

    model: nn.Module
    z: Tensor
    label: tuple[Tensor, ...]
    generator: torch.Generator

    @property
    def predict(self) -> Predict:
        """What the model says of the noise, given the classes."""
        return _of_class(self.model, self.label)


Way = Callable[[Block], tuple[Predict, Change | None]]  # what a block is sampled by


def plain(block: Block) -> tuple[Predict, None]:
    """Without any prevention."""
    return block.predict, None


def guided(strength: float, gammas: Tensor, thresholds: Mapping[int, float]) -> Way:
    """By guidance up the gradient of LID, where it is below a step's threshold."""

    def way(block: Block) -> tuple[Predict, Change]:
        return block.predict, upwards(block.predict, gammas, thresholds, strength, block.generator)

    return way


def guided_at_random(strength: float, gammas: Tensor, thresholds: Mapping[int, float]) -> Way:
    """Its control: as far, in directions drawn at random."""

    def way(block: Block) -> tuple[Predict, Change]:
        return block.predict, anywhere(block.predict, gammas, thresholds, strength, block.generator)

    return way


def embedded(norm: float) -> Way:
    """By class embeddings, each moved until the guidance norm at the first step is `norm` at most."""

    def way(block: Block) -> tuple[Predict, None]:
        return _by_embedding(block, _lowered(block, norm)), None

    return way


def embedded_at_random(norm: float) -> Way:
    """Its control: class embeddings moved as far, in directions drawn at random."""

    def way(block: Block) -> tuple[Predict, None]:
        embedding = class_embeddings(block.model, *block.label)
        distance = (_lowered(block, norm) - embedding).norm(dim=1)
        return _by_embedding(block, moved_at_random(embedding, distance, block.generator)), None

    return way


def without_class(block: Block) -> tuple[Predict, None]:
    """By a model with classes that is told none."""
    return block.model.predict_noise, None


def _of_class(model: nn.Module, label: tuple[Tensor, ...]) -> Predict:
    return lambda z, gamma: model.predict_noise(z, gamma, *label)


def _lowered(block: Block, norm: float) -> Tensor:
    embedding = class_embeddings(block.model, *block.label)
    predict, without, gamma = given_embedding(block.model), block.model.predict_noise, block.model.gamma_1
    return lowered(predict, without, block.z, gamma, embedding, norm).embedding


def _by_embedding(block: Block, embedding: Tensor) -> Predict:
    predict = given_embedding(block.model)
    return lambda z, gamma: predict(z, gamma, embedding)


@dataclass(frozen=True)
class Source:
    """A model that predicts noise, the shape of its images, and the seed and names of what is drawn."""

    model: nn.Module
    shape: tuple[int, int, int]
    seed: int
    experiment: str

    @property
    def has_embeddings(self) -> bool:
        """Whether its classes have embeddings that can be moved."""
        return isinstance(self.model, UNetDiffusion) and classes(self.model) > 0

    @property
    def gamma(self) -> float:
        """Where a sample's LID is asked for."""
        return max(GAMMA, self.model.gamma_0)

    @property
    def gammas(self) -> Tensor:
        """Of the steps, from noise to image: (STEPS + 1,)."""
        return torch.linspace(self.model.gamma_1, self.model.gamma_0, STEPS + 1, dtype=precision(self.model))

    @property
    def guided_steps(self) -> list[int]:
        """Numbers of the steps in which guidance moves images: from FIRST to where a sample's LID is asked for."""
        return [step for step, gamma in enumerate(self.gammas[:-1].tolist()) if self.gamma <= gamma <= FIRST]

    def label(self, n: int) -> np.ndarray:
        """Classes of the first n samples, (n,), drawn uniformly: the same for all ways; 0 for a model without classes."""
        return generator(self.seed, "prevention", "label", self.experiment).integers(
            max(1, classes(self.model)), size=n
        )

    def images(self, n: int, name: str, way: Way) -> np.ndarray:
        """The first n samples by one way, (n, pixels) uint8."""
        gammas, pictures = self.gammas, []
        for block in self._blocks(n, name):
            predict, change = way(block)
            x = to_pixels(sampled(predict, block.z, gammas, change), self.model.observation)
            pictures.append((255 * x.clamp(0, 1)).round().byte().flatten(1).numpy())
        return np.concatenate(pictures)

    @torch.no_grad()
    def guidance_norm(self, n: int) -> float:
        """Median norm of the guidance vector at the first step of the first n samples."""
        norms = [
            guidance_norm(block.predict, block.model.predict_noise, block.z, self.model.gamma_1)
            for block in self._blocks(n, "guidance norm")
        ]
        return float(torch.cat(norms).median())

    def dimensions(
        self, name: str, images: np.ndarray, label: np.ndarray, gamma: float, probes: int = PROBES
    ) -> np.ndarray:
        """LID by FLIPD of images (n, pixels) uint8 of the classes `label`, (n,), in float64."""
        values = []
        for start, rows in self._rows(len(images)):
            judged = JudgedImages(rows, images[rows], label[rows], self.shape, name, self.seed, "prevention")
            x, predict = judged.x(self.model), _of_class(self.model, conditions(self.model, judged.label))
            drawn = signs((probes, *x.shape), self._generator(name, start), x)
            values.append(flipd(predict, x, gamma, drawn).value)
        return torch.cat(values).double().numpy()

    def _blocks(self, n: int, name: str) -> Iterator[Block]:
        label = self.label(n)
        for start, rows in self._rows(n):
            z = image_normals(rows, self.shape, self.seed, "prevention", "noise", self.experiment)
            drawn = self._generator(name, start)
            yield Block(self.model, z.to(precision(self.model)), conditions(self.model, label[rows]), drawn)

    def _rows(self, n: int) -> Iterator[tuple[int, np.ndarray]]:
        at_once = max(1, AT_ONCE // (self.shape[1] * self.shape[2]))
        for start in range(0, n, at_once):
            yield start, np.arange(start, min(n, start + at_once))

    def _generator(self, name: str, start: int) -> torch.Generator:
        return torch_generator("cpu", self.seed, "prevention", name, self.experiment, start)
