"""Samples once more, from the same noise, with the embedding of each prompt moved until its guidance vector is short.

What that prevents, and what it costs: copies among the samples, and their distance to held-out images, before and after.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engram.analyses.copy_tests import SHOWN
from engram.analyses.neighbors import nearest
from engram.audit.checkpoint import TextToImage
from engram.audit.copies import Copies
from engram.audit.images import means, small
from engram.audit.judge import predicting
from engram.files.artifacts import variable
from engram.prevention.embedding import Lowered, lowered
from engram.scores import intervals


class Prevented(NamedTuple):
    """samples: (samples, pixels) uint8, whose guidance vector was `before` long at the first step, and is `norm`: (samples,).

    steps: by which each embedding was moved, to a norm of `threshold` at most; those whose norm stayed above are said to.
    """

    samples: np.ndarray
    before: np.ndarray
    norm: np.ndarray
    steps: np.ndarray
    threshold: float


def lower(
    checkpoint: TextToImage, prompts: list[str], z: Tensor, gamma: float, threshold: float = float("inf")
) -> Lowered:
    """Embeddings of prompts, moved until the guidance norm at z (n, *shape) and gamma is at most the threshold."""
    without = predicting(checkpoint, [""] * len(z))
    return lowered(checkpoint.predict_noise, without, z, gamma, checkpoint.conditions(prompts).float(), threshold)


def first_norm(
    checkpoint: TextToImage, prompts: list[str], generators: list[torch.Generator], steps: int
) -> dict[str, np.ndarray]:
    """Norm of the guidance vector, (n,), at the first step of samples of these prompts, as they are, by these generators."""
    return {"norm": lower(checkpoint, prompts, *checkpoint.first_step(generators, steps)).norm.cpu().numpy()}


def sample_lowered(
    checkpoint: TextToImage, prompts: list[str], generators: list[torch.Generator], steps: int, threshold: float
) -> tuple[Tensor, Lowered]:
    """Images (n, C, H, W) on [0, 1] as `checkpoint.sample` draws them, but for embeddings that were lowered at its first step."""
    z, gamma = checkpoint.first_step(generators, steps)
    moved = lower(checkpoint, prompts, z, gamma, threshold)
    return checkpoint.sample_from(z, moved.embedding, generators, steps), moved


def variables_of(
    found: Prevented, samples: np.ndarray, before: Copies | None, after: Copies | None, fresh: np.ndarray, shape: tuple
) -> dict[str, tuple]:
    """Of each sample, of both sets of samples, and pictures; copies where there are any, distances where there are fresh images."""
    of_samples = ("generated",)
    shown = before.shown if before else np.argsort(-found.before, kind="stable")[:SHOWN]
    meaning = "norm of the guidance vector at the first step of each sample"
    variables = {
        "first_guidance_norm": variable(of_samples, found.before, "1", meaning, may_be_undefined=True),
        "first_guidance_norm_prevented": variable(
            of_samples, found.norm, "1", f"{meaning}, with its embedding moved", may_be_undefined=True
        ),
        "embedding_steps": variable(of_samples, found.steps, "1", "steps by which each sample's embedding was moved"),
        "prevented_from": variable(
            ("compared",), shown, "1", "index of the samples that are shown without and with it"
        ),
    }
    for name, images in {"shown_without_prevention": samples, "shown_prevented": found.samples}.items():
        pictures = small(images[shown], shape)
        variables[name] = variable(("compared", "pixel"), pictures, "1", "grey level from 0 to 255, as `picture`")
    if after:
        meaning = "share of samples that are copies, with embeddings moved"
        of_ratio = "`ratio` of each sample, with its embedding moved"
        variables["ratio_prevented"] = variable(of_samples, after.ratio, "1", of_ratio)
        variables |= intervals.variables("share_of_copies_prevented", after.shares["share_of_copies"], meaning, axes=())
    return variables | (_of_distance(samples, found.samples, fresh, shape) if len(fresh) else {})


def _of_distance(samples: np.ndarray, prevented: np.ndarray, fresh: np.ndarray, shape: tuple) -> dict[str, tuple]:
    """Mean distances of both sets of samples to their nearest fresh images, in grey levels."""
    variables, of_fresh = {}, means(fresh, shape)[0]
    for ending, images in {"": samples, "_prevented": prevented}.items():
        distance = intervals.mean(nearest(means(images, shape)[0], of_fresh)[1])
        meaning = "mean distance of samples to their nearest held-out images, in grey levels"
        variables |= intervals.variables(f"distance_to_held_out{ending}", distance, meaning, axes=())
    return variables


def attributes_of(found: Prevented) -> Mapping[str, float]:
    """The threshold, the median norms, and how many samples' norms stayed above it."""
    return {
        "prevention_threshold": found.threshold,
        "first_guidance_norm_median": float(np.median(found.before)),
        "first_guidance_norm_prevented_median": float(np.median(found.norm)),
        "samples_not_below_threshold": int((~(found.norm <= found.threshold)).sum()),
    }
