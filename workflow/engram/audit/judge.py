"""What a checkpoint says of some images: the bound, attacks on membership, its dimension at them, and what a prompt changes.

Every random number belongs to an image, by its pixels. So two checkpoints judge an image by the same noise, and a number does
not depend on what else was asked.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engram.analyses.noise_attacks import NOISE_ATTACKS, STEP, TIME
from engram.audit.bound import Predict, bound
from engram.audit.checkpoint import Checkpoint
from engram.conventions import DRAWS_OF_A_BOUND as DRAWS
from engram.geometry.flipd import flipd
from engram.geometry.guidance import guidance_norm
from engram.models.diffusion import alpha_and_sigma
from engram.randomness import image_normals, image_uniforms

TIMES = (0.01, 0.03, 0.1, 0.2, 0.4)  # shares of the schedule; 0.01, 0.1 and 0.2 are those that FLIPD's authors watch
# Numbers of x up to which FLIPD's trace is exact whatever is asked: it costs a backward pass for each of them.
EXACT = 64
STATISTICS = ("bound", *NOISE_ATTACKS)  # by which membership is told, higher for a member
LAST_TIME = 999  # of DDPM's, as engram.analyses.noise_attacks counts them


class Block(NamedTuple):
    """Some images: levels (n, C, H, W) from 0 to 255, the number of each, (n,) uint64, and their prompts if there are any."""

    levels: Tensor
    digest: np.ndarray
    prompts: list[str] | None


class Effort(NamedTuple):
    """evaluations of the bound, a multiple of DRAWS; probes: signs that estimate FLIPD's trace, 0 for an exact one."""

    evaluations: int
    probes: int
    seed: int


class Draws(NamedTuple):
    """The named random numbers of a block, on x's device."""

    digest: np.ndarray
    seed: int
    like: Tensor

    def normals(self, *names: str | int) -> Tensor:
        shape = tuple(self.like.shape[1:])
        return image_normals(self.digest, shape, self.seed, "audit", *names).to(self.like)

    def uniforms(self, draws: int, *names: str | int) -> Tensor:
        """(draws, n)."""
        return image_uniforms(self.digest, (draws,), self.seed, "audit", *names).to(self.like).T


def judge(checkpoint: Checkpoint, block: Block, effort: Effort) -> dict[str, np.ndarray]:
    """Columns (n,), and curves over TIMES (n, times), by name."""
    x = checkpoint.observe(block.levels)
    draws = Draws(block.digest, effort.seed, x)
    given = predicting(checkpoint, block.prompts)
    bounds = bounds_of(checkpoint, given, x, draws, effort.evaluations)
    found = _mean_and_error("bound", bounds) | _attacks(checkpoint, given, x, draws)
    probes = _probes(x, draws, effort.probes)
    found |= _lid(checkpoint, given, x, probes, "lid")
    if block.prompts is not None:
        without = predicting(checkpoint, [""] * len(x))
        alone = bounds_of(checkpoint, without, x, draws, effort.evaluations)
        found |= _mean_and_error("bound_without_prompt", alone) | _mean_and_error("prompt_gain", bounds - alone)
        found |= _guidance(checkpoint, given, without, x) | _lid(checkpoint, without, x, probes, "lid_without_prompt")
        found["lid_ratio"] = ratio_of_dimensions(found["lid"], found["lid_without_prompt"])
    return {name: values.double().cpu().numpy() for name, values in found.items()}


def predicting(checkpoint: Checkpoint, prompts: list[str] | None) -> Predict:
    """The noise that is predicted given each image's prompt."""
    return partial(checkpoint.predict_noise, condition=None if prompts is None else checkpoint.conditions(prompts))


def bounds_of(checkpoint: Checkpoint, predict: Predict, x: Tensor, draws: Draws, evaluations: int) -> Tensor:
    """The bound, (n, DRAWS)."""
    each = evaluations // DRAWS
    epsilon = torch.stack([draws.normals("bound", number) for number in range(evaluations)])
    ends = checkpoint.schedule.gamma_0, checkpoint.schedule.gamma_1
    epsilon = epsilon.reshape(DRAWS, each, *x.shape)
    return bound(predict, x, epsilon, draws.uniforms(DRAWS, "first time"), ends, checkpoint.is_latent)


def _mean_and_error(name: str, values: Tensor) -> Mapping[str, Tensor]:
    return {name: values.mean(1), f"{name}_standard_error": values.std(1) / values.shape[1] ** 0.5}


@torch.no_grad()
def _attacks(checkpoint: Checkpoint, predict: Predict, x: Tensor, draws: Draws) -> dict[str, Tensor]:
    """Those of engram.analyses.noise_attacks, at the same shares of the checkpoint's own schedule."""
    epsilon = draws.normals("attacks")

    def gammas(time: int) -> float:
        return checkpoint.schedule.gamma(time / LAST_TIME)

    return {name: attack(predict, x, epsilon, gammas) for name, attack in NOISE_ATTACKS.items()}


def _probes(x: Tensor, draws: Draws, number: int) -> Tensor | None:
    """Signs (number, n, *shape), two or more; None where the trace is exact."""
    if not number or x[0].numel() <= EXACT:
        return None
    return torch.stack([draws.normals("signs", probe) for probe in range(number)]).sign()


def _lid(checkpoint: Checkpoint, predict: Predict, x: Tensor, probes: Tensor | None, name: str) -> dict[str, Tensor]:
    """FLIPD and its standard error, (n, times)."""
    found = [flipd(predict, x, checkpoint.schedule.gamma(time), probes) for time in TIMES]
    return {
        name: torch.stack([each.value for each in found], 1),
        f"{name}_standard_error": torch.stack([each.standard_error for each in found], 1),
    }


def ratio_of_dimensions(given: Tensor, without: Tensor) -> Tensor:
    """NaN unless both are positive: FLIPD of a network may be negative, and a ratio of such numbers ranks nothing."""
    return torch.where((given > 0) & (without > 0), given / without, torch.nan)


@torch.no_grad()
def _guidance(checkpoint: Checkpoint, given: Predict, without: Predict, x: Tensor) -> dict[str, Tensor]:
    """Norm of the guidance vector at z = alpha x, (n, times)."""
    norms = []
    for time in TIMES:
        gamma = checkpoint.schedule.gamma(time)
        alpha = alpha_and_sigma(torch.tensor(gamma))[0]
        norms.append(guidance_norm(given, without, alpha.to(x) * x, gamma))
    return {"guidance_norm": torch.stack(norms, 1)}


def calls_per_image(effort: Effort, size: int, has_prompts: bool) -> dict[str, int]:
    """Forward and backward passes of the network for one image, whose x has `size` numbers."""
    of_attacks = 1 + (TIME // STEP + 2) + 2 + 1  # loss at t, SecMI, PIA, SimA
    of_guidance = 2 * len(TIMES) * has_prompts
    directions = size if not effort.probes or size <= EXACT else effort.probes
    forward = (effort.evaluations + len(TIMES)) * (1 + has_prompts) + of_attacks + of_guidance
    return {"forward": forward, "backward": len(TIMES) * directions * (1 + has_prompts)}
