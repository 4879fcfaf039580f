"""Mean images drawn from a trained model, as the paper compared them with training images."""

from collections.abc import Iterator

import torch

from engram.errors import UserError
from engram.files.inputs import AT_ONCE
from engram.models.protocols import DESCRIBED_IN, SamplingModel, offers
from engram.randomness import torch_generator


def sample(model: SamplingModel, n: int, seed: int, *names: str | int) -> Iterator[torch.Tensor]:
    """`n` mean images of a model from one named stream, in parts (at most 4096, channels, height, width) in [0, 1].

    Raises UserError for a model that cannot give them.
    """
    if not offers(model, SamplingModel):
        raise UserError(
            f"{type(model).__name__} has no sample(n, observation, generator), by which its own images are had; define it "
            f"({DESCRIBED_IN}) or leave out what needs them, by `analyses` of the experiment"
        )
    generator = torch_generator("cpu", seed, "sample", *names)
    for start in range(0, n, AT_ONCE):
        with torch.no_grad():
            part = model.sample(min(AT_ONCE, n - start), generator=generator)
        yield part
