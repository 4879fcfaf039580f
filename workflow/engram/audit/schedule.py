"""The noise of a checkpoint at every time: its scheduler's own, read between its times, never assumed.

A scheduler states alpha^2 at times 0, 1, ..., T - 1 as `alphas_cumprod`. gamma = -log signal-to-noise ratio is interpolated
linearly between these, so that it has a value and a slope at every time, and takes the scheduler's own at its own times.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from engram.errors import UserError

LEAST_ALPHA_SQUARED = 1e-6  # where times are cut: a schedule rescaled to no signal at all ends in an infinite gamma


class Schedule(NamedTuple):
    """gammas: (times,), float64, at times 0, 1, ... of the scheduler, rising. cut: last times left out for lack of signal."""

    gammas: Tensor
    cut: int = 0

    @property
    def gamma_0(self) -> float:
        return float(self.gammas[0])

    @property
    def gamma_1(self) -> float:
        return float(self.gammas[-1])

    def gamma(self, t: float) -> float:
        """gamma at a share t of the schedule, 0 to 1: at k / (T - 1) it is that of the scheduler's time k."""
        last = len(self.gammas) - 1
        before = min(int(t * last), last - 1)
        return float(torch.lerp(self.gammas[before], self.gammas[before + 1], t * last - before))

    def time(self, gamma: Tensor) -> Tensor:
        """The scheduler's time, (n,) as gamma (n,), between its whole numbers where gamma lies between two of its own.

        >>> Schedule(torch.tensor([-4.0, -2.0, 4.0])).time(torch.tensor([-4.0, -3.0, 1.0]))
        tensor([0.0000, 0.5000, 1.5000])
        """
        nodes = self.gammas.to(gamma.device)
        wanted = gamma.to(nodes.dtype).clamp(nodes[0], nodes[-1])
        after = torch.searchsorted(nodes, wanted).clamp(1, len(nodes) - 1)
        below, above = nodes[after - 1], nodes[after]
        return (after - 1 + (wanted - below) / (above - below)).to(gamma.dtype)


def schedule_of(alphas_cumprod: Tensor, where: str) -> Schedule:
    """The schedule of alpha^2 (times,) at a scheduler's times. Raises UserError, beginning with `where`, if it cannot be one."""
    alphas = alphas_cumprod.detach().double().cpu()
    kept = alphas[alphas >= LEAST_ALPHA_SQUARED]
    falls = len(kept) > 1 and bool((kept.diff() < 0).all()) and torch.equal(kept, alphas[: len(kept)])
    if not falls or not 0 < float(kept[-1]) < float(kept[0]) < 1:
        raise UserError(
            f"{where}: its alphas_cumprod do not fall from below 1; it must be a scheduler that adds noise to images"
        )
    return Schedule((1 - kept).log() - kept.log(), len(alphas) - len(kept))
