"""What importance samples rest on: the Fisher information behind the Laplace proposal, and the ratios of a model's own one."""

import math

from engram.checks.density import ERRORS, Drawn
from engram.checks.findings import NotChecked
from engram.checks.subject import Subject
from engram.likelihood.importance import pareto_k

SLACK = 0.1  # relative error of a divergence that is taken as a quadratic form over a step of finite size
DRAWS = 512  # from each image's proposal
HEAVY_K = 0.5  # Pareto shape above which weights have no variance, so that their mean has no standard error


def information(subject: Subject, drawn: Drawn) -> None:
    """information is the Fisher information of p(x | z): its quadratic form is the divergence between neighbouring z."""
    along, model = drawn.ratios, subject.model
    at_0, *moved = (
        subject.call(model, "decode", z=drawn.z + step * drawn.direction) for step in (0.0, along.step, -along.step)
    )
    weights = subject.call(model, "information", parameters=at_0)
    stated = sum(0.5 * (weights * (parameters - at_0) ** 2).flatten(1).sum(1) for parameters in moved).double()
    apart, mean = along.divergence - stated, float(along.divergence.mean())
    error = float(apart.std()) / math.sqrt(len(apart))
    if not abs(float(apart.mean())) < ERRORS * error + SLACK * mean:
        subject.fault(
            "information",
            "the Fisher information of p(x | z) about its parameters, as x drawn by observe shows it",
            f"{float(stated.mean()) / mean:.2g} times that, in a direction of z",
        )


def of_own_proposal(subject: Subject) -> None:
    """propose gives log p(z) - log q(z | x), whose exponential has mean 1 over draws from q. NotChecked if they vary too much."""
    noise = subject.normals("propose, many", len(subject.x), DRAWS, subject.latent_dim)
    own = subject.call(subject.model, "propose", x=subject.x)
    log_weights = subject.attempt("propose", lambda: own.draw(noise)[1]).double().flatten()
    if not log_weights.isfinite().all() or float(pareto_k(log_weights[None])) > HEAVY_K:
        raise NotChecked("the ratios log p(z) - log q(z | x) of propose vary too much before training")
    weights = log_weights.exp()
    mean, error = float(weights.mean()), float(weights.std()) / math.sqrt(len(weights))
    if not abs(mean - 1) < ERRORS * error + 1e-3:
        subject.fault(
            "propose",
            "log p(z) - log q(z | x) from draw, the mean of whose exponential is 1",
            f"{mean:.3g} +- {error:.1g}",
        )
