"""A normal approximation to the posterior p(z | x): Laplace's, then the best one near it.

    H(z) = I + J' W J,   J = d decode(z) / dz,   W = Fisher information of p(x | decode(z)) about decode(z)
    proposal N(m, s^2 A^-1),   s slightly above 1 to cover heavier tails

Gauss-Newton steps from the encoder's mean find the mode, where A = H. But the mode of a skewed posterior is off its
middle, and the curvature at one point of a network of ReLUs is not that of the whole: the best normal has mean gradient
0 and A = mean curvature over itself (Opper and Archambeau 2009). Quasi-Newton steps on pairs of gradients, m +- a
standard deviation, go there for the price of decoding four samples for each latent dimension, and leave a third of the
variance of the weights (docs/estimators.md). In a linear Gaussian model they change nothing, and the proposal is exact at
s = 1.
"""

import warnings

import torch
from torch import Tensor

from engram.likelihood.proposals import Proposal, encoder_proposal
from engram.models.protocols import LatentModel, LatentModelWithInformation

STEP_LENGTHS = (1.0, 0.5, 0.25, 0.125)  # tried at once
LEAST_PAIRS, PAIR_STEP = 16, 0.2  # a gradient over one pair is noisy, so the mean goes a fifth of the way
LEAST_CHANGE, MOST_CHANGE = 0.5, 2.0  # of the curvature along one direction in one update
TAIL_POWER = 10  # the tail of the proposal is s^10 times as wide, 2.6 at s = 1.1


def laplace_proposal(
    model: LatentModelWithInformation, x: Tensor, newton_steps: int, proposal_scale: float
) -> Proposal:
    """The proposal for images x (n, *image_shape) after `newton_steps` >= 1; the encoder's where it cannot be had."""
    encoder = encoder_proposal(model, x)
    mode, scale = find_mode(model, x, encoder.mean, encoder.scale, newton_steps)
    mean, scale = fit_normal(model, x, mode, scale)
    fell_back = ~scale.isfinite().all(-1).all(-1)
    return Proposal(
        torch.where(fell_back[:, None], encoder.mean, mean),
        torch.where(fell_back[:, None, None], encoder.scale, proposal_scale * scale),
        torch.where(fell_back, encoder.tail, proposal_scale**TAIL_POWER),
        fell_back,
    )


def find_mode(model: LatentModel, x: Tensor, z: Tensor, scale: Tensor, newton_steps: int) -> tuple[Tensor, Tensor]:
    """The mode of p(z | x), (n, latent_dim), from z, and a scale with scale scale' = H^-1, not finite where H is not.

    H costs as much as decoding latent_dim samples, so it is computed for the last step alone; until then `scale`
    (n, latent_dim, latent_dim) stands in for it. H at the start is no better: where the decoder is sure of a wrong image,
    the Fisher information is next to nothing, and the step far too long.
    """
    for step in range(newton_steps):
        if step == newton_steps - 1:
            scale = inverse_root(curvature(model, z))
        value, gradient = _value_and_gradient(model, x, z)
        steps = z + z.new_tensor(STEP_LENGTHS)[:, None, None] * _up(gradient, scale)
        # z itself comes first, so that a tie leaves an image where it is.
        best = torch.cat([value[None], log_joint(model, x, steps)]).argmax(0)
        z = torch.cat([z[None], steps])[best, torch.arange(len(z), device=z.device)]
    return z, scale


def fit_normal(model: LatentModel, x: Tensor, mode: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale of the normal nearest to p(z | x) in KL(q || p), starting from Laplace's.

    Each step takes the gradients of log p(x, z) at a pair mean +- scale @ signs: their mean moves the mean, their
    difference is what A should have done to scale @ signs, by which BFGS updates A. An image whose evidence lower bound
    has become much worse on the way keeps Laplace's. (log p at the mean says nothing: the mode of a hardly trained model
    is a spike, tens of nats above all that has mass.)
    """
    latent_dim = mode.shape[-1]
    directions = _directions(latent_dim).to(mode)
    mean, laplace_scale, bounds = mode, scale, []
    for signs in directions:
        values, (above, below) = _value_and_gradient(model, x, _pair(mean, scale, signs))
        bounds.append(_bound(values, scale))
        mean = mean + PAIR_STEP * _up((above + below) / 2, scale)
        scale = _bfgs(scale, signs, ((below - above) / 2).unsqueeze(-2) @ scale)
    bounds.append(_bound(log_joint(model, x, _pair(mean, scale, directions[0])), scale))
    lost = ~(bounds[-1] > bounds[0] - latent_dim)
    return torch.where(lost[:, None], mode, mean), torch.where(lost[:, None, None], laplace_scale, scale)


def _directions(latent_dim: int) -> Tensor:
    """Signs of the pairs, (at least latent_dim, latent_dim): rows of a Hadamard matrix, built as Sylvester did.

    Where latent_dim is a power of 2 from 16 on they are orthogonal, and each pair teaches A what none before it has:
    random signs need a quarter more pairs for the same error.
    """
    pairs = max(LEAST_PAIRS, latent_dim)
    signs = torch.ones(1, 1)
    while len(signs) < pairs:
        signs = torch.kron(torch.tensor([[1, 1], [1, -1]]), signs)
    return signs[:pairs, :latent_dim]


def _pair(mean: Tensor, scale: Tensor, signs: Tensor) -> Tensor:
    return torch.stack([mean + scale @ signs, mean - scale @ signs])


def _bound(values: Tensor, scale: Tensor) -> Tensor:
    """The evidence lower bound of a normal, (n,), from log p(x, z) at a pair of its points (2, n), up to a constant."""
    return values.mean(0) + scale.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


def _bfgs(scale: Tensor, signs: Tensor, change: Tensor) -> Tensor:
    """The scale after A has learnt what A (scale @ signs) should be: `change`, (n, 1, latent_dim), in units of scale.

    In those units A was the identity; its update is factored there, where it is well conditioned. As Powell damps it,
    the curvature along `signs` changes by no more than LEAST_CHANGE to MOST_CHANGE.
    """
    old = signs.expand_as(change)
    ratio = (change @ signs).unsqueeze(-1) / len(signs)
    blend = torch.where(ratio == 1, 1, (ratio.clamp(LEAST_CHANGE, MOST_CHANGE) - 1) / (ratio - 1))
    new = blend * change + (1 - blend) * old
    new = torch.where(new.isfinite().all(-1, keepdim=True), new, old)
    identity = torch.eye(len(signs), dtype=scale.dtype, device=scale.device)
    updated = identity - old.mT @ old / len(signs) + new.mT @ new / (new @ signs).unsqueeze(-1)
    return torch.linalg.solve_triangular(torch.linalg.cholesky_ex(updated).L.mT, scale, upper=True, left=False)


def log_joint(model: LatentModel, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) in nats without the prior's constant, (..., n); minus infinity where it is not a number."""
    value = model.log_prob_given_latent(x, z) - 0.5 * (z**2).sum(-1)
    return value.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


@torch.no_grad()
def curvature(model: LatentModelWithInformation, z: Tensor) -> Tensor:
    """H = I + J' W J, (n, latent_dim, latent_dim): positive definite, whatever the decoder, as long as it is finite."""
    parameters, jacobian = _parameters_and_jacobian(model.decode, z)
    jacobian, information = jacobian.flatten(2).transpose(0, 1), model.information(parameters).flatten(1)
    # Images first in memory, too: a batched product would copy both of its arguments to get that.
    weighted = torch.mul(jacobian, information.sqrt().unsqueeze(1), out=z.new_empty(jacobian.shape))
    return torch.eye(z.shape[-1], dtype=z.dtype, device=z.device) + weighted @ weighted.mT


def inverse_root(matrix: Tensor) -> Tensor:
    """Upper triangular R with R R' = matrix^-1, (n, d, d); not a number where the matrix is not positive definite."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    root = torch.linalg.solve_triangular(factor.mT, identity, upper=True)
    return torch.where((failed == 0)[:, None, None], root, torch.nan)


def _up(gradient: Tensor, scale: Tensor) -> Tensor:
    """A^-1 gradient, (n, latent_dim); zero where it is not finite."""
    direction = (scale @ (scale.mT @ gradient.unsqueeze(-1))).squeeze(-1)
    return torch.where(direction.isfinite().all(-1, keepdim=True), direction, 0)


def _value_and_gradient(model: LatentModel, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, z) as `log_joint` has it, (..., n), and its derivative by z, in the shape of z."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = log_joint(model, x, z)
        return value.detach(), torch.autograd.grad(value.sum(), z)[0]


def _parameters_and_jacobian(decode, z: Tensor) -> tuple[Tensor, Tensor]:
    """decode(z) and its derivative by each latent dimension, (latent_dim, n, *anything), in forward mode."""
    latent_dim = z.shape[-1]
    tangents = torch.eye(latent_dim, dtype=z.dtype, device=z.device).unsqueeze(1).expand(-1, len(z), -1)

    def push(tangent: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(decode, (z,), (tangent,))

    with warnings.catch_warnings():
        # torch warns of its own use of torch.jit when a process first needs forward mode.
        warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
        return torch.func.vmap(push, out_dims=(None, 0))(tangents)
