"""Half precision, and by how much it changes what a checkpoint says: measured, not believed."""

import numpy as np
import torch

from engram.audit.checkpoint import Checkpoint
from engram.audit.judge import Block, Effort, judge
from engram.audit.loading import quiet

IMAGES = 4  # judged in both precisions


def halve(checkpoint: Checkpoint, block: Block, effort: Effort) -> dict[str, float]:
    """Let the networks compute in float16 from here on; and the largest change of the bound, nats, and of FLIPD, over the block."""
    exact = judge(checkpoint, block, effort)
    with quiet():
        checkpoint.pipeline.to(torch.float16)
    half = judge(checkpoint, block, effort)
    changes = {name: float(np.abs(half[name] - exact[name]).max()) for name in ("bound", "lid")}
    return {f"half_precision_changes_{name}_by": change for name, change in changes.items()}
