"""log p(x) of images under a trained model, by importance sampling, with error bars.

    log p(x) ~ log (1/S) sum_s w_s,    w_s = p(x | z_s) p(z_s) / q(z_s),    z_s ~ q

where q is the encoder's approximate posterior (the paper's estimator, which is too low, and lower for images that the
encoder was not trained on) or a normal fitted to the true posterior (engram.likelihood.laplace). docs/estimators.md has the errors
of both.

What a model must offer for either is in engram.models.protocols; an exact model, with log_prob(x) alone, is asked for its
own log p. The model's `observation` says how x was drawn; without one x is binary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from engram.errors import UserError
from engram.likelihood.importance import Estimate, join, summarize
from engram.likelihood.laplace import laplace_proposal
from engram.likelihood.proposals import Proposal, encoder_proposal
from engram.models.observations import log_pixel_volume
from engram.models.protocols import ExactModel, LatentModel, LatentModelWithInformation
from engram.randomness import image_normals
from engram.runtime.device import at_once

# Numbers at once on a CPU, which bounds memory: in the parameters of samples, where tensors of 4 MB stay in the cache, and in
# Jacobians of decoders, where larger matrix products gain more than the cache does (benchmarks/likelihood_chunks.py).
SAMPLES_CHUNK, JACOBIAN_CHUNK = 2**20, 2**22


@torch.no_grad()
def estimate(
    model: nn.Module,
    x: Tensor,
    proposal: str = "laplace",
    samples: int = 16,
    newton_steps: int = 2,
    proposal_scale: float = 1.1,
    seed: int = 0,
    noise: Tensor | None = None,
) -> Estimate:
    """Estimate log p(x) for x (n, *image_shape), already drawn from the images (engram.models.observations.draw).

    `newton_steps` and `proposal_scale` belong to the Laplace proposal. `noise` (n, samples, latent_dim) are the
    standard normals behind the samples; without it they come from `seed` and the row's number. An exact model's own log
    p comes back, with no error. Raises UserError for an unknown proposal, a setting out of range, or a model that is neither
    a latent-variable model nor exact.
    """
    _require(proposal, samples, newton_steps, proposal_scale)

    def of_chunk(chunk: Tensor, rows: Tensor) -> Estimate:
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
    newton_steps: int = 2,
    proposal_scale: float = 1.1,
    seed: int = 0,
    images: Tensor | None = None,
) -> Estimate:
    """As `estimate`, with the samples doubled of every image whose standard error exceeds the target (nats).

    `images` (n,) are the numbers that name each image's noise, its rows in x if not given. No image gets more than
    `max_samples`. All begin with `samples`; from fewer than 16 the standard error is too often small by chance, and stops
    too early.
    """
    _require(proposal, samples, newton_steps, proposal_scale)
    images = torch.arange(len(x)) if images is None else images

    def of_chunk(chunk: Tensor, rows: Tensor) -> Estimate:
        proposals = propose(model, chunk, proposal, newton_steps, proposal_scale)
        weights = log_weights(model, chunk, proposals, _normals(images[rows], samples, proposals, seed, 0))
        estimates, active = summarize(weights, proposals.fell_back), torch.arange(len(rows))
        while 2 * weights.shape[1] <= max_samples:
            wanting = estimates.standard_error[active] > target_standard_error
            active, weights = active[wanting.cpu()], weights[wanting]
            if not len(active):
                break
            some = proposals[active]
            normals = _normals(images[rows[active]], weights.shape[1], some, seed, weights.shape[1])
            weights = torch.cat([weights, log_weights(model, chunk[active], some, normals)], 1)
            _put(estimates, active, summarize(weights, some.fell_back))
        return estimates

    return _by_chunks(model, x, of_chunk)


def propose(model: LatentModel, x: Tensor, proposal: str, newton_steps: int, proposal_scale: float) -> Proposal:
    """The proposal named "encoder" or "laplace" for images x (n, *image_shape).

    A model without Fisher information cannot have the Laplace proposal: all images keep the encoder's, marked as fallen
    back.
    """
    if proposal == "encoder":
        return encoder_proposal(model, x)
    if isinstance(model, LatentModelWithInformation):
        return laplace_proposal(model, x, newton_steps, proposal_scale)
    encoder = encoder_proposal(model, x)
    return replace(encoder, fell_back=torch.ones_like(encoder.fell_back))


def log_weights(model: LatentModel, x: Tensor, proposal: Proposal, noise: Tensor) -> Tensor:
    """log p(x, z) - log q(z) in nats, (n, samples), at the z of standard normal noise (n, samples, latent_dim).

    Minus infinity where the model gives no density, or none that is a number.
    """
    z, log_ratio = proposal.draw(noise)
    some_samples = max(1, at_once(SAMPLES_CHUNK, x.device) // x.numel())
    parts = [model.log_prob_given_latent(x, some) for some in z.split(some_samples)]
    weights = (torch.cat(parts) + log_ratio).T
    return torch.where(weights.isfinite(), weights, -torch.inf)


def _by_chunks(model: nn.Module, x: Tensor, of_chunk: Callable[[Tensor, Tensor], Estimate]) -> Estimate:
    """Join of_chunk(images, their rows) over chunks small enough for the proposal, and go to pixel space."""
    volume = log_pixel_volume(x, getattr(model, "observation", "binary"))
    with _evaluating(model):
        if isinstance(model, LatentModel):
            latent_dim = model.encode(x[:1])[0].shape[-1]
            images = max(1, at_once(JACOBIAN_CHUNK, x.device) // (latent_dim * x[0].numel()))
            chunks = torch.arange(len(x)).split(images)
            of_x = join(of_chunk(x[rows], rows) for rows in chunks)
        elif isinstance(model, ExactModel):
            of_x = _exact(model.log_prob(x))
        else:
            raise UserError(
                f"{type(model).__name__} has neither encode, decode and log_prob_given_latent, nor log_prob: "
                "there is no log p(x) to estimate"
            )
    return replace(of_x, log_px=of_x.log_px + volume, elbo=of_x.elbo + volume)


def _exact(log_px: Tensor) -> Estimate:
    """A model's own log p, as one sample of constant weight would give it."""
    zero = torch.zeros_like(log_px)
    return Estimate(log_px, log_px, zero, zero + 1, zero, zero.bool(), torch.ones_like(zero, dtype=torch.int64))


def _put(estimates: Estimate, rows: Tensor, update: Estimate) -> None:
    """Replace the estimates of some rows."""
    for name, values in vars(estimates).items():
        values[rows] = getattr(update, name)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Batch norm and dropout as in evaluation, whatever mode the model is in; restored afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _normals(images: Tensor, samples: int, proposal: Proposal, seed: int, batch: int) -> Tensor:
    shape = (samples, proposal.mean.shape[-1])
    return image_normals(images.numpy(), shape, seed, "importance", batch).to(proposal.mean)


def _require(proposal: str, samples: int, newton_steps: int, proposal_scale: float) -> None:
    if proposal not in ("encoder", "laplace"):
        raise UserError(f"proposal {proposal!r} is unknown; choose encoder or laplace")
    if samples < 1 or newton_steps < 1 or not proposal_scale > 0:
        given = f"samples {samples}, newton_steps {newton_steps}, proposal_scale {proposal_scale}"
        raise UserError(f"{given}: samples and newton_steps must be at least 1, proposal_scale above 0")
