"""Annealed importance sampling of log p(x): an estimate that shares nothing with engram.likelihood but the model.

Neal (2001), with Hamiltonian Monte Carlo between the prior and the posterior of z, as Wu et al. (2017) use it for decoders.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


def log_px(model: nn.Module, x: Tensor, chains: int, temperatures: int, leapfrogs: int = 5, seed: int = 0) -> Tensor:
    """log p(x) in nats, (n,): a lower bound on average, which tightens with chains and temperatures."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(chains, len(x), model.latent_dim, generator=rng)
    log_weight, step = torch.zeros(chains, len(x)), torch.full((len(x), 1), 0.1)
    betas = torch.sigmoid(torch.linspace(-4, 4, temperatures + 1))
    betas = (betas - betas[0]) / (betas[-1] - betas[0])
    for before, beta in pairwise(betas):
        with torch.no_grad():
            log_weight += (beta - before) * model.log_prob_given_latent(x, z)
        z, accepted = _hamiltonian_step(model, x, z, beta, step, leapfrogs, rng)
        # Wu et al.'s rule: the step grows while more than 65 % of proposals are accepted.
        step *= torch.where(accepted.mean(0) > 0.65, 1.02, 0.98).unsqueeze(-1)
    return log_weight.logsumexp(0) - math.log(chains)


def _hamiltonian_step(model, x, z, beta, step, leapfrogs, rng) -> tuple[Tensor, Tensor]:
    """One accept-reject move that leaves p(z) p(x | z)^beta as it is; also which chains moved."""
    momentum = torch.randn(z.shape, generator=rng)
    at, velocity = z, momentum
    energy, slope = _energy(model, x, at, beta)
    start = energy + 0.5 * (velocity**2).sum(-1)
    for _ in range(leapfrogs):
        velocity = velocity - 0.5 * step * slope
        at = at + step * velocity
        energy, slope = _energy(model, x, at, beta)
        velocity = velocity - 0.5 * step * slope
    end = energy + 0.5 * (velocity**2).sum(-1)
    accepted = torch.rand(start.shape, generator=rng) < torch.exp(start - end)
    return torch.where(accepted.unsqueeze(-1), at, z), accepted.float()


def _energy(model, x, z, beta) -> tuple[Tensor, Tensor]:
    """-log p(z) - beta log p(x | z), but for a constant, and its gradient by z."""
    z = z.detach().requires_grad_()
    energy = 0.5 * (z**2).sum(-1) - beta * model.log_prob_given_latent(x, z)
    (slope,) = torch.autograd.grad(energy.sum(), z)
    return energy.detach(), slope
