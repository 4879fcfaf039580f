"""How exact is the bound on log p of a diffusion model, how many samples does it take, and how far is it from log p?

    uv run python benchmarks/diffusion_bound.py --experiment digits_diffusion

Takes the first two models of a repeat, which were trained on different halves of the data, and measures on `--images` of its
images: the standard deviation, over repetitions, of the difference of their bounds, by the number of samples, for fresh and for
common noise and for three ways to draw t; where on the way from image to noise that spread arises; the bound against the
density by the probability-flow ODE; and the time an image takes. About 20 minutes on one core.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import engram
from engram.designs.repeats import repeat_name
from engram.files import artifacts
from engram.models import observations
from engram.models.diffusion import DiffusionModel, alpha_and_sigma, prior_divergence

SAMPLES = (10, 25, 50, 100, 200)
REPETITIONS = 20
EPSILONS = 3  # at which the ODE is solved for an image
WIDTH = 3.0  # of the logistic density of gamma


def evenly_spaced(first: Tensor, samples: int, model: DiffusionModel) -> tuple[Tensor, Tensor]:
    """t (n, samples) from its first (n,), uniform on [0, 1), and the weight of each, (n, samples)."""
    t = (first[:, None] + torch.arange(samples) / samples).remainder(1)
    return t, torch.ones_like(t)


def independent(first: Tensor, samples: int, model: DiffusionModel) -> tuple[Tensor, Tensor]:
    """The same, uniform and one independent of the others."""
    t = torch.rand(len(first), samples, generator=torch.Generator().manual_seed(int(first.sum() * 2**40)))
    return t, torch.ones_like(t)


def logistic(first: Tensor, samples: int, model: DiffusionModel, centre: float) -> tuple[Tensor, Tensor]:
    """The same by evenly spaced quantiles of a logistic density of gamma about `centre`, cut off at gamma_0 and gamma_1."""
    even, _ = evenly_spaced(first, samples, model)
    low, high = (torch.sigmoid(torch.tensor((g - centre) / WIDTH)) for g in (model.gamma_0, model.gamma_1))
    share = low + (high - low) * even
    gamma = centre + WIDTH * torch.logit(share)
    span = model.gamma_1 - model.gamma_0
    density = share * (1 - share) / WIDTH / (high - low) * span  # of t = (gamma - gamma_0) / span
    return ((gamma - model.gamma_0) / span).clamp(0, 1), 1 / density


WAYS = {
    "evenly spaced": evenly_spaced,
    "logistic about gamma = -4": partial(logistic, centre=-4.0),
    "logistic about gamma = -8": partial(logistic, centre=-8.0),
    "independent": independent,
}


def difference(
    models: list[DiffusionModel], x: Tensor, samples: int, way: Callable, seed: int, is_common: bool
) -> Tensor:
    """Difference of two models' diffusion terms of x, (n,), nats: all in which their bounds differ."""
    terms = []
    for number, model in enumerate(models):
        generator = torch.Generator().manual_seed(seed if is_common else 2 * seed + number + 10**6)
        t, weight = way(torch.rand(len(x), generator=generator), samples, model)
        repeated = x.repeat_interleave(samples, 0)
        epsilon = torch.randn(repeated.shape, generator=generator)
        loss = model.diffusion_loss(repeated, t.flatten(), epsilon).reshape(len(x), samples)
        terms.append(-(weight * loss).mean(1))
    return terms[0] - terms[1]


def spread(models: list[DiffusionModel], x: Tensor, samples: int, way: Callable, is_common: bool) -> float:
    """Standard deviation over repetitions of `difference`, root mean square over images."""
    many = torch.stack([difference(models, x, samples, way, seed, is_common) for seed in range(REPETITIONS)])
    return float(many.double().var(0).mean().sqrt())


def spread_by_time(models: list[DiffusionModel], x: Tensor, samples: int = 240, bins: int = 6) -> np.ndarray:
    """Standard deviation over epsilon of one sample of the difference, in each of `bins` parts of the way, (bins,)."""
    t = ((torch.arange(samples) + 0.5) / samples).repeat(len(x))
    repeated = x.repeat_interleave(samples, 0)
    epsilon = torch.randn(repeated.shape, generator=torch.Generator().manual_seed(1))
    one, other = (model.diffusion_loss(repeated, t, epsilon) for model in models)
    parts = (other - one).reshape(len(x), bins, -1)
    return parts.double().var(2).mean(0).sqrt().numpy()


def log_density(model: DiffusionModel, z: Tensor, tolerance: float = 1e-5) -> tuple[float, int]:
    """log p(z) in nats of one z at time 0, (1, *image_shape), by the probability-flow ODE, and how many evaluations it took.

    dz/dt = gamma'/2 (sigma epsilon_hat - sigma^2 z), whose divergence along the way is added up exactly (Song et al. 2021).
    """
    slope, pixels = model.gamma_1 - model.gamma_0, z.numel()

    def velocity(flat: Tensor, gamma: Tensor) -> Tensor:
        sigma = alpha_and_sigma(gamma)[1]
        predicted = model.predict_noise(flat.reshape(-1, *z.shape[1:]), gamma.expand(len(flat))).flatten(1)
        return 0.5 * slope * (sigma * predicted - sigma**2 * flat)

    def change(t: float, state: np.ndarray) -> np.ndarray:
        flat, gamma = torch.from_numpy(state[None, :-1]).float(), model.gamma(torch.tensor(t)).float()
        jacobian = torch.func.vmap(torch.func.jacrev(lambda row: velocity(row[None], gamma)[0]), chunk_size=1)(flat)[0]
        with torch.no_grad():
            rate = velocity(flat, gamma)[0]
        return np.append(rate.double().numpy(), float(jacobian.detach().diagonal().double().sum()))

    start = np.append(z.double().flatten().numpy(), 0.0)
    solved = solve_ivp(change, (0, 1), start, method="RK45", rtol=tolerance, atol=tolerance)
    end = solved.y[:, -1]
    return float(-0.5 * (end[:-1] ** 2).sum() - 0.5 * pixels * np.log(2 * np.pi) + end[-1]), solved.nfev


def by_ode(model: DiffusionModel, x: Tensor, epsilon: Tensor) -> tuple[float, int]:
    """log p(z_0) - log q(z_0 | x), nats: what -(diffusion + prior) bounds in the mean over epsilon, of one x and epsilon."""
    alpha, sigma = alpha_and_sigma(torch.tensor(model.gamma_0))
    log_q = float((-0.5 * epsilon.double() ** 2 - 0.5 * np.log(2 * np.pi) - sigma.double().log()).sum())
    log_p, evaluations = log_density(model, alpha * x + sigma * epsilon)
    return log_p - log_q, evaluations


def without_reconstruction(model: DiffusionModel, x: Tensor, samples: int) -> Tensor:
    """-(diffusion + prior) of x, (n,), nats."""
    t, _ = evenly_spaced(torch.rand(len(x), generator=torch.Generator().manual_seed(3)), samples, model)
    repeated = x.repeat_interleave(samples, 0)
    epsilon = torch.randn(repeated.shape, generator=torch.Generator().manual_seed(4))
    loss = model.diffusion_loss(repeated, t.flatten(), epsilon).reshape(len(x), samples)
    return -loss.mean(1) - prior_divergence(x, model.gamma_1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="digits_diffusion")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--images-by-ode", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    experiment = engram.load(arguments.results / arguments.experiment)
    stored = artifacts.read(experiment.folder / "models" / f"{repeat_name(arguments.repeat)}.h5", "models", ["epoch"])
    epoch = int(stored.epoch.values[-1])
    models = experiment.models(arguments.repeat, epoch)[:2]
    grey = torch.from_numpy(experiment.dataset.images.values[: arguments.images])
    x = observations.draw(grey, torch.zeros(grey.shape), models[0].observation).reshape(-1, *models[0].image_shape)
    with torch.no_grad():
        print(f"sd in nats of the difference of two models' bounds, {len(x)} images, epoch {epoch}")
        print("| noise, t | " + " | ".join(f"{samples} samples" for samples in SAMPLES) + " |")
        print("|---|" + "---|" * len(SAMPLES))
        for is_common in (False, True):
            for name, way in WAYS.items() if is_common else [("evenly spaced", evenly_spaced)]:
                values = [spread(models, x, samples, way, is_common) for samples in SAMPLES]
                print(
                    f"| {'common' if is_common else 'fresh'}, {name} | " + " | ".join(f"{v:.2f}" for v in values) + " |"
                )
        by_time = spread_by_time(models, x)
        edges = np.linspace(models[0].gamma_0, models[0].gamma_1, len(by_time) + 1)
        for low, high, value in zip(edges, edges[1:], by_time, strict=False):
            print(f"gamma {low:.1f} to {high:.1f}: sd of one sample of the difference {value:.1f} nats")
        started = time.perf_counter()
        exact = without_reconstruction(models[0], x[: arguments.images_by_ode], 2000)
        seconds = (time.perf_counter() - started) / (2000 * arguments.images_by_ode)
        print(f"one sample of the bound of one image: {1000 * seconds:.2f} ms on one core")
    for image in range(arguments.images_by_ode):
        values = []
        for number in range(EPSILONS):
            epsilon = torch.randn(x[:1].shape, generator=torch.Generator().manual_seed(image + 100 * number))
            values.append(by_ode(models[0], x[image : image + 1], epsilon)[0])
        error = np.std(values, ddof=1) / np.sqrt(EPSILONS)
        print(f"image {image}: bound {exact[image]:.1f}, ODE {np.mean(values):.1f} +- {error:.1f} nats")


if __name__ == "__main__":
    main()
