"""Seeds that come from names, never from the order of calls.

Every random stream of engram is named, for example (42, "training", "quickstart", "repeat-00", 3, "noise", 7). So a model
trained alone, resumed after a kill, or trained beside others sees the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Name = str | int


def _word(name: Name) -> int:
    kind = "text" if isinstance(name, str) else "number"
    return int.from_bytes(hashlib.sha256(f"{kind}:{name}".encode()).digest()[:8], "little")


def seed_sequence(root: int, *names: Name) -> np.random.SeedSequence:
    """The SeedSequence of one named stream. The text 1 and the number 1 are different names."""
    return np.random.SeedSequence([root, *map(_word, names)])


def generator(root: int, *names: Name) -> np.random.Generator:
    """A NumPy generator for one named stream."""
    return np.random.Generator(np.random.Philox(seed_sequence(root, *names)))


def torch_generator(device: torch.device | str, root: int, *names: Name) -> torch.Generator:
    """A torch generator on `device` for one named stream. CPU and GPU streams of one name differ."""
    import torch  # here, because stages that need no torch draw numbers too, and its import costs them seconds

    seed = int(seed_sequence(root, *names).generate_state(1, np.uint64)[0])
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def inside_models(device: torch.device, root: int, *names: Name) -> Iterator[None]:
    """A named stream for what models draw themselves, from torch's own generators: dropout and sampling layers.

    Afterwards the generators go on as if nothing had been drawn.
    """
    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed_sequence(root, *names).generate_state(1, np.uint64)[0]))
        yield


def _per_image(images: np.ndarray, shape: tuple[int, ...], fill, root: int, names: tuple[Name, ...]) -> torch.Tensor:
    import torch

    bits = np.random.Philox(key=seed_sequence(root, *names).generate_state(2, np.uint64))
    rng, start = (
        np.random.Generator(bits),
        bits.state,
    )  # one for all images: a new one each would cost four times as much
    out = np.empty((len(images), *shape), dtype=np.float32)
    for row, image in zip(out, images, strict=True):
        # The image's index is the counter's highest word: streams of 2^192 draws each, which never meet.
        start["state"]["counter"][:] = 0, 0, 0, int(image)
        bits.state = start
        fill(rng, row)
    return torch.from_numpy(out)


def image_uniforms(images: np.ndarray, shape: tuple[int, ...], root: int, *names: Name) -> torch.Tensor:
    """Uniform draws on [0, 1), one stream per image index: (len(images), *shape), float32.

    An image's draws do not depend on which other images are asked for with it.
    """
    return _per_image(images, shape, lambda rng, row: rng.random(out=row, dtype=np.float32), root, names)


def image_normals(images: np.ndarray, shape: tuple[int, ...], root: int, *names: Name) -> torch.Tensor:
    """Standard normal draws, one stream per image index: (len(images), *shape), float32."""
    return _per_image(images, shape, lambda rng, row: rng.standard_normal(out=row, dtype=np.float32), root, names)
