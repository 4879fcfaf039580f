"""log p(x) of images under a trained model, by importance sampling, with error bars.

    log p(x) ~ log (1/S) sum_s w_s,    w_s = p(x | z_s) p(z_s) / q(z_s),    z_s ~ q

where q is the encoder's approximate posterior (the paper's estimator, which is too low, and lower for images that the encoder
was not trained on) or a normal fitted to the true posterior (engram.laplace). docs/estimators.md has the errors of both.

A model is a module with encode(x), decode(z) and log_prob_given_latent(x, z), and information(parameters) for the Laplace proposal
(engram.models.base); or an exact one with log_prob(x) alone. Its `observation` says how x was drawn; without one x is binary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from engram.errors import UserError
from engram.importance import Estimate, summarize
from engram.laplace import laplace_proposal
from engram.observations import log_pixel_volume
from engram.proposals import Proposal, encoder_proposal
from engram.randomness import image_normals

CHUNK = 2**19  # samples x pixels at once: tensors of 2 MB stay in a core's cache, where all is up to twice as fast


@torch.no_grad()
def estimate(
    model: nn.Module,
    x: Tensor,
    proposal: str = "laplace",
    samples: int = 16,
    newton_steps: int = 3,
    proposal_scale: float = 1.1,
    seed: int = 0,
    noise: Tensor | None = None,
) -> Estimate:
    """Estimate log p(x) for x (n, *image_shape), already drawn from the images (engram.observations.draw).

    `newton_steps` and `proposal_scale` belong to the Laplace proposal. `noise` (n, samples, latent_dim) are the standard normals
    behind the samples; without it they come from `seed` and the row's number. An exact model's own log p comes back, with no error.
    Raises UserError for an unknown proposal or a setting out of range.
    """
    _require(proposal, samples, newton_steps, proposal_scale)

    def of_chunk(chunk: Tensor, rows: np.ndarray) -> Estimate:
        proposals = propose(model, chunk, proposal, newton_steps, proposal_scale)
        normals = _normals(rows, samples, proposals, seed, 0) if noise is None else noise[rows]
        return summarize(log_weights(model, chunk, proposals, normals.to(chunk)), proposals.fell_back)

    return _by_chunks(model, x, of_chunk)


@torch.no_grad()
def estimate_to_precision(
    model: nn.Module,
    x: Tensor,
    target_standard_error: float,
    max_samples: int,
    proposal: str = "laplace",
    samples: int = 16,
    newton_steps: int = 3,
    proposal_scale: float = 1.1,
    seed: int = 0,
) -> tuple[Estimate, Tensor]:
    """As `estimate`, but images whose standard error exceeds the target (nats) get their samples doubled until it does not.

    No image gets more than `max_samples`. Also returns how many each got, (n,) int64. `samples`, at least 16, is what all begin with:
    the standard error from fewer is too often too small by chance, and stops too early.
    """
    _require(proposal, samples, newton_steps, proposal_scale)
    spent = torch.full((len(x),), samples, device=x.device)

    def of_chunk(chunk: Tensor, rows: np.ndarray) -> Estimate:
        proposals = propose(model, chunk, proposal, newton_steps, proposal_scale)
        weights = log_weights(model, chunk, proposals, _normals(rows, samples, proposals, seed, 0))
        found = summarize(weights, proposals.fell_back)
        active = torch.arange(len(chunk), device=x.device)
        for doubling in range(1, int(np.log2(max_samples / samples)) + 1):
            wanting = found.standard_error[active] > target_standard_error
            active, weights = active[wanting], weights[wanting]
            if not len(active):
                break
            some = proposals[active]
            normals = _normals(rows[active.cpu().numpy()], weights.shape[1], some, seed, doubling)
            weights = torch.cat([weights, log_weights(model, chunk[active], some, normals)], 1)
            spent[rows[active.cpu().numpy()]] = weights.shape[1]
            found = _with_rows(found, active, summarize(weights, some.fell_back))
        return found

    return _by_chunks(model, x, of_chunk), spent


def propose(model: nn.Module, x: Tensor, proposal: str, newton_steps: int, proposal_scale: float) -> Proposal:
    """The proposal named "encoder" or "laplace" for images x (n, *image_shape).

    A model without Fisher information cannot have the Laplace proposal: it keeps its encoder's, marked as fallen back.
    """
    if proposal == "laplace":
        try:
            return laplace_proposal(model, x, newton_steps, proposal_scale)
        except (AttributeError, NotImplementedError):
            ...
    return encoder_proposal(model, x)


def log_weights(model: nn.Module, x: Tensor, proposal: Proposal, noise: Tensor) -> Tensor:
    """log p(x, z) - log q(z) in nats, (n, samples), at the z of standard normal noise (n, samples, latent_dim).

    Minus infinity where the model gives no density, or none that is a number.
    """
    parts = []
    for normals in noise.split(max(1, CHUNK // x.numel()), dim=1):
        z = proposal.sample(normals)
        parts.append(model.log_prob_given_latent(x, z) + proposal.log_prior_ratio(z, normals))
    weights = torch.cat(parts).T
    return torch.where(weights.isfinite(), weights, -torch.inf)
