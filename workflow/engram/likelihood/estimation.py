"""log p(x) of images under a trained model, by importance sampling, with error bars.

    log p(x) ~ log (1/S) sum_s w_s,    w_s = p(x | z_s) p(z_s) / q(z_s),    z_s ~ q

where q is the encoder's approximate posterior (the paper's estimator, which is too low, and lower for images that the
encoder was not trained on) or a normal fitted to the true posterior (engram.likelihood.laplace). docs/estimators.md has the errors
of both.

What a model must offer for either is in engram.models.protocols. A model with a proposal of its own, `propose(x)`, is sampled from
that. An exact model, with log_prob(x) alone, is asked for its own log p; one with bound(x, noise) alone for its bound, averaged
over the samples. The model's `observation` says how x was drawn; without one x is binary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engram.errors import UserError
from engram.likelihood.bound import Bounds
from engram.likelihood.exact import Exact
from engram.likelihood.importance import Estimate, join, summarize
from engram.likelihood.laplace import laplace_proposal
from engram.likelihood.proposals import ModelsOwn, Proposal, encoder_proposal
from engram.models.observations import log_pixel_volume
from engram.models.protocols import (
    DESCRIBED_IN,
    BoundedModel,
    ExactModel,
    LatentModel,
    LatentModelWithInformation,
    ProposingModel,
    classes,
    lacking,
    noise_shape,
    offers,
)
from engram.randomness import image_normals
from engram.runtime.device import at_once

# Numbers at once on a CPU, which bounds memory: in the parameters of samples, where tensors of 4 MB stay in the cache, and in
# Jacobians of decoders, where larger matrix products gain more than the cache does (benchmarks/likelihood_chunks.py).
SAMPLES_CHUNK, JACOBIAN_CHUNK = 2**20, 2**22
PROTOCOL_OF = {"exact": ExactModel, "bound": BoundedModel}  # what a proposal without importance samples asks for
PROPOSALS = ("encoder", "laplace", *PROTOCOL_OF)


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
    conditions: Sequence[Tensor] = (),
) -> Estimate:
    """Estimate log p(x) for x (n, *image_shape), already drawn from the images (engram.models.observations.draw).

    `newton_steps` and `proposal_scale` belong to the Laplace proposal. `noise` (n, samples, *noise_of_sample(model, x)) are the
    standard normals behind the samples; without it they come from `seed` and the row's number. An exact model's own log
    p comes back, with no error. `conditions` are what a model is given of each image beside x (engram.models.conditions). Raises
    UserError for an unknown proposal, a setting out of range, or a model that offers no way to its log p.
    """
    _require(proposal, samples, newton_steps, proposal_scale)

    def of_chunk(chunk: Tensor, rows: Tensor) -> Estimate:
        given = tuple(values[rows] for values in conditions)
        sampling = _sampling(model, chunk, given, proposal, newton_steps, proposal_scale)
        normals = _normals(rows, samples, sampling, seed, 0) if noise is None else noise[rows]
        return sampling.estimate(sampling.values(normals.to(chunk)))

    return _by_chunks(model, x, samples, of_chunk)


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
    conditions: Sequence[Tensor] = (),
) -> Estimate:
    """As `estimate`, with the samples doubled of every image whose standard error exceeds the target (nats).

    `images` (n,) are the numbers that name each image's noise, its rows in x if not given. No image gets more than
    `max_samples`. All begin with `samples`; from fewer than 16 the standard error is too often small by chance, and stops
    too early.
    """
    _require(proposal, samples, newton_steps, proposal_scale)
    images = torch.arange(len(x)) if images is None else images

    def of_chunk(chunk: Tensor, rows: Tensor) -> Estimate:
        given = tuple(values[rows] for values in conditions)
        sampling = _sampling(model, chunk, given, proposal, newton_steps, proposal_scale)
        values = sampling.values(_normals(images[rows], samples, sampling, seed, 0))
        estimates, active = sampling.estimate(values), torch.arange(len(rows))
        while 2 * values.shape[1] <= max_samples:
            wanting = estimates.standard_error[active] > target_standard_error
            active, values = active[wanting.cpu()], values[wanting]
            if not len(active):
                break
            some = sampling[active]
            normals = _normals(images[rows[active]], values.shape[1], some, seed, values.shape[1])
            values = torch.cat([values, some.values(normals)], 1)
            _put(estimates, active, some.estimate(values))
        return estimates

    return _by_chunks(model, x, max_samples, of_chunk)


def propose(
    model: LatentModel | ProposingModel, x: Tensor, proposal: str, newton_steps: int, proposal_scale: float
) -> Proposal | ModelsOwn:
    """The proposal named "encoder" or "laplace" for images x (n, *image_shape).

    "encoder" is the model's own `propose`, if it has one. A model that has one, or no Fisher information, cannot have the
    Laplace proposal: all images keep the encoder's, marked as fallen back.
    """
    fell_back = proposal != "encoder"
    if offers(model, ProposingModel):
        return ModelsOwn(model, x, torch.full((len(x),), fell_back, device=x.device))
    if fell_back and offers(model, LatentModelWithInformation):
        return laplace_proposal(model, x, newton_steps, proposal_scale)
    encoder = encoder_proposal(model, x)
    return replace(encoder, fell_back=torch.ones_like(encoder.fell_back)) if fell_back else encoder


def log_weights(
    model: LatentModel | ProposingModel, x: Tensor, proposal: Proposal | ModelsOwn, noise: Tensor
) -> Tensor:
    """log p(x, z) - log q(z) in nats, (n, samples), at the z of standard normal noise (n, samples, latent_dim).

    Minus infinity where the model gives no density, or none that is a number.
    """
    z, log_ratio = proposal.draw(noise)
    some_samples = max(1, at_once(SAMPLES_CHUNK, x.device) // x.numel())
    parts = [model.log_prob_given_latent(x, some) for some in z.split(some_samples)]
    weights = (torch.cat(parts) + log_ratio).T
    return torch.where(weights.isfinite(), weights, -torch.inf)


@dataclass(frozen=True)
class Importance:
    """Importance samples of z for n images: their weights, and what these say."""

    model: LatentModel | ProposingModel
    x: Tensor
    proposal: Proposal | ModelsOwn

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.proposal.latent_dim,)

    def values(self, noise: Tensor) -> Tensor:
        return log_weights(self.model, self.x, self.proposal, noise)

    def estimate(self, values: Tensor) -> Estimate:
        return summarize(values, self.proposal.fell_back)

    def __getitem__(self, rows: Tensor) -> "Importance":
        return Importance(self.model, self.x[rows], self.proposal[rows])


def noise_of_sample(model: nn.Module, x: Tensor, proposal: str = "encoder") -> tuple[int, ...]:
    """Shape of the standard normals behind one sample of an image's estimate: (0,) for an exact model, which has none."""
    if proposal == "bound":
        return noise_shape(model)
    if is_latent(model) and not hasattr(model, "latent_dim"):
        with _evaluating(model), torch.no_grad():
            return (model.encode(x[:1])[0].shape[-1],)
    if is_latent(model):
        return (model.latent_dim,)
    return (0,) if offers(model, ExactModel) else noise_shape(model)


def is_latent(model: nn.Module) -> bool:
    """Whether log p is estimated by importance samples of z, which is not offered given a class."""
    return _has_latent(model) and not classes(model)


def lacks_samples_of_class(model: nn.Module, proposal: str) -> bool:
    """Whether the proposal asks a model with classes for importance samples of z."""
    return proposal not in PROTOCOL_OF and _has_latent(model) and classes(model) > 0


def _has_latent(model: nn.Module) -> bool:
    return offers(model, LatentModel) or offers(model, ProposingModel)


def is_bound(model: nn.Module, proposal: str) -> bool:
    """Whether what stands for log p is a lower bound on it: the proposal asks for one, or the model offers nothing else."""
    return proposal == "bound" or not (is_latent(model) or offers(model, ExactModel))


def _sampling(
    model: nn.Module,
    x: Tensor,
    conditions: tuple[Tensor, ...],
    proposal: str,
    newton_steps: int,
    proposal_scale: float,
) -> Importance | Exact | Bounds:
    """How log p of images x is had from a model. Raises UserError if it offers no way, or not the one that is asked for."""
    asked = PROTOCOL_OF.get(proposal)
    if asked and not offers(model, asked):
        raise UserError(
            f"{type(model).__name__} has no {lacking(model, asked)[0]}, by which the proposal {proposal} has log p"
        )
    if lacks_samples_of_class(model, proposal):
        raise UserError(
            f"{type(model).__name__} has classes, and there are no importance samples given a class, by which the proposal "
            f"{proposal} has log p; choose the proposal bound or exact, and define its method ({DESCRIBED_IN})"
        )
    if is_latent(model) and proposal in ("encoder", "laplace"):
        return Importance(model, x, propose(model, x, proposal, newton_steps, proposal_scale))
    if offers(model, ExactModel) and proposal != "bound":
        return Exact(model, x, conditions)
    if offers(model, BoundedModel):
        return Bounds(model, x, conditions)
    raise UserError(
        f"{type(model).__name__} has neither encode, decode and log_prob_given_latent, nor log_prob, nor bound: "
        f"there is no log p(x) to estimate; see {DESCRIBED_IN}"
    )


def _by_chunks(model: nn.Module, x: Tensor, samples: int, of_chunk: Callable[[Tensor, Tensor], Estimate]) -> Estimate:
    """Join of_chunk(images, their rows) over chunks that fit into memory, and go to pixel space."""
    chunk, numbers = SAMPLES_CHUNK, x[0].numel()
    if is_latent(model):
        chunk, numbers = JACOBIAN_CHUNK, numbers * noise_of_sample(model, x)[0]
    elif not offers(model, ExactModel):
        numbers *= samples
    images = max(1, at_once(chunk, x.device) // numbers)
    volume = log_pixel_volume(x, getattr(model, "observation", "binary"))
    with _evaluating(model):
        of_x = join(of_chunk(x[rows], rows) for rows in torch.arange(len(x)).split(images))
    return replace(of_x, log_px=of_x.log_px + volume, elbo=of_x.elbo + volume)


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


def _normals(images: Tensor, samples: int, sampling: Importance | Exact | Bounds, seed: int, batch: int) -> Tensor:
    shape = (samples, *sampling.noise_shape)
    return image_normals(images.numpy(), shape, seed, "importance", batch).to(sampling.x)


def _require(proposal: str, samples: int, newton_steps: int, proposal_scale: float) -> None:
    if proposal not in PROPOSALS:
        raise UserError(f"proposal {proposal!r} is unknown; choose {', '.join(PROPOSALS)}")
    if samples < 1 or newton_steps < 1 or not proposal_scale > 0:
        given = f"samples {samples}, newton_steps {newton_steps}, proposal_scale {proposal_scale}"
        raise UserError(f"{given}: samples and newton_steps must be at least 1, proposal_scale above 0")
