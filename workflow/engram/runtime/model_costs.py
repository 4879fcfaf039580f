"""What the models cost that cost unlike the fully connected VAE: weights, and the work and memory of an image.

They are counted from the settings in config.yaml, without torch, since requests are made while Snakemake reads its rules.
tests/test_model_costs.py compares them with the networks themselves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

FLOW_RATE, UNET_RATE = 1e10, 4e10  # multiply-adds a second of one core of an AMD EPYC (benchmarks/model_rates.py)


class Cost(NamedTuple):
    """parameters: weights. multiply_adds: of an image on its way through the network. kept: numbers that training keeps of an
    image until its gradient is known. rate: multiply-adds a second that one CPU core does.
    """

    parameters: int
    multiply_adds: int
    kept: int
    rate: float


class Layer(NamedTuple):
    """Weights, multiply-adds and kept numbers of a part of a network."""

    parameters: int
    multiply_adds: int
    kept: int


def cost(model: Mapping[str, Any], image_shape: Sequence[int]) -> Cost | None:
    """Of a model as config.yaml describes it; None if it counts as the fully connected VAE.

    >>> cost({"name": "unet_diffusion"}, (1, 32, 32)).parameters
    634273
    """
    count = COUNTED.get(model["name"])
    if count is None:
        return None
    settings = {key: value for key, value in model.items() if key != "name"}
    return count(image_shape, **settings)


def _flow(image_shape: Sequence[int], transforms: int = 4, hidden: Sequence[int] = (256, 256)) -> Cost:
    """Coupling transforms, each a fully connected network from every second number to shift and scale of the others."""
    channels, height, width = image_shape
    pixels = channels * height * width
    given = [(pixels + (number + 1) % 2) // 2 for number in range(transforms)]
    networks = (_linear([known, *hidden, 2 * (pixels - known)]) for known in given)
    parameters, multiply_adds, kept = _sum(networks)
    return Cost(2 * pixels + parameters, multiply_adds, kept + 3 * transforms * pixels, FLOW_RATE)


def _unet(
    image_shape: Sequence[int], channels: Sequence[int] = (32, 64), layers: int = 1, classes: int = 0, **_: float | str
) -> Cost:
    """diffusers' UNet2DModel without attention, `layers` residual blocks on the way down at each resolution, one more up."""
    of_image, height, width = image_shape
    pixels = [height * width // 4**halvings for halvings in range(len(channels))]
    embedding = 4 * channels[0]
    parts = [
        _convolution(of_image, channels[0], pixels[0]),
        _linear([channels[0], embedding, embedding]),
        Layer((classes + 1) * embedding if classes else 0, 0, 0),
        *_down(channels, layers, pixels, embedding),
        *[_residual(channels[-1], channels[-1], pixels[-1], embedding)] * 2,
        *_up(channels, layers, pixels, embedding),
        _normalization(channels[0], pixels[0]),
        _convolution(channels[0], of_image, pixels[0]),
    ]
    return Cost(*_sum(parts), UNET_RATE)


def _down(channels: Sequence[int], layers: int, pixels: Sequence[int], embedding: int) -> Iterator[Layer]:
    for level, (before, after) in enumerate(pairwise([channels[0], *channels])):
        yield _residual(before, after, pixels[level], embedding)
        yield from [_residual(after, after, pixels[level], embedding)] * (layers - 1)
        if level + 1 < len(channels):
            yield _convolution(after, after, pixels[level + 1])


def _up(channels: Sequence[int], layers: int, pixels: Sequence[int], embedding: int) -> Iterator[Layer]:
    """Each block takes what the way down left beside what comes from below."""
    for level in reversed(range(len(channels))):
        here, below, above = channels[level], channels[min(level + 1, len(channels) - 1)], channels[max(level - 1, 0)]
        arriving, beside = [below, *[here] * layers], [*[here] * layers, above]
        for before, left in zip(arriving, beside, strict=True):
            yield _residual(before + left, here, pixels[level], embedding)
        if level:
            yield _convolution(here, here, pixels[level - 1])


def _residual(before: int, after: int, pixels: int, embedding: int) -> Layer:
    """Two convolutions, each of normalized input; time between them; a convolution of one pixel where channels change."""
    parts = [
        _normalization(before, pixels),
        _convolution(before, after, pixels),
        _linear([embedding, after]),
        _normalization(after, pixels),
        _convolution(after, after, pixels),
    ]
    return _sum([*parts, _convolution(before, after, pixels, side=1)] if before != after else parts)


def _normalization(channels: int, pixels: int) -> Layer:
    """With the activation that follows it."""
    return Layer(2 * channels, 0, 2 * channels * pixels)


def _convolution(before: int, after: int, pixels: int, side: int = 3) -> Layer:
    """`pixels` are those that come out."""
    weights = side**2 * before * after
    return Layer(weights + after, weights * pixels, before * pixels)


def _linear(widths: Sequence[int]) -> Layer:
    weights = sum(before * after for before, after in pairwise(widths))
    return Layer(weights + sum(widths[1:]), weights, sum(widths))


def _sum(layers: Iterable[Layer]) -> Layer:
    return Layer(*map(sum, zip(*layers, strict=True)))


COUNTED = {"flow": _flow, "unet_diffusion": _unet}
