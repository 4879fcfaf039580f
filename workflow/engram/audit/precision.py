"""Half precision, and by how much it changes what a checkpoint says: measured, not believed."""

from collections.abc import Mapping

import numpy as np
import torch

from engram.audit.checkpoint import Checkpoint
from engram.audit.loading import quiet

IMAGES = 4  # judged in both precisions


def halve(checkpoint: Checkpoint) -> None:
    """Let the networks compute in float16 from here on."""
    with quiet():
        checkpoint.pipeline.to(torch.float16)


def changes(half: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest change of the bound, nats, and of FLIPD, over the first images, which `exact` is of."""
    largest = {name: float(np.abs(half[name][: len(exact[name])] - exact[name]).max()) for name in ("bound", "lid")}
    return {f"half_precision_changes_{name}_by": change for name, change in largest.items()}
