"""Whether a density is one: what it gives for x that is drawn from the model, and the sum over all x of a tiny image.

With x drawn from p_0 and any other density p_e of the same family, E[p_e(x) / p_0(x)] = 1. At e to both sides of 0, the difference
of the two ratios says that the score has mean 0, and their sum that its variance is the mean negative second derivative (Bartlett
1953); a log p that is averaged over pixels, scaled or without its normalizer breaks one of them. The size of e is chosen so
that log p changes by about a third of a nat, where neither rounding nor rare draws of x matter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from engram.checks.findings import NotChecked
from engram.checks.subject import Subject, shape_of

DRAWS = 512  # of x; enough to see a log p that is half or twice of what it should be
PILOT = AT_ONCE = 64  # draws by which the size of a step is found, and draws at a time: more would leave the cache
BLOCKS, OF_BLOCK = 32, 4  # blocks, and draws in each, over which the score about parameters is summed
NATS = 0.3  # by which log p changes, root mean square
LEAST_NATS = 0.03  # below, rounding hides what is looked for
LARGEST_STEP = 30.0  # of z, whose prior is standard normal
ERRORS = 6.0  # standard errors that no right model exceeds
ERRORS_OF_BLOCKS = 9.0  # the same, where the standard error itself rests on 32 blocks

LogP = Callable[[float, slice], Tensor]  # size of a step, and which draws -> log p of these after it, (draws,)


@dataclass(frozen=True)
class Ratios:
    """log p_e - log p_0 of each draw, (draws,) float64, for a step to either side of size `step`."""

    forth: Tensor
    back: Tensor
    step: float

    @classmethod
    def along(cls, log_p: LogP, largest: float) -> "Ratios":
        """The ratios for a step that changes log p by NATS, or the `largest`. Raises NotChecked if that changes too little."""
        step = 0.01 * largest
        for _ in range(4):
            nats = cls.of(log_p, step, PILOT).nats
            if NATS / 2 < nats < 2 * NATS or (nats < NATS and step == largest):
                break
            step = min(largest, step * min(100.0, NATS / max(nats, 1e-6)))
        ratios = cls.of(log_p, step, DRAWS)
        if not LEAST_NATS < ratios.nats < 10 * NATS:
            raise NotChecked("log p hardly changes before training" if ratios.nats < NATS else "log p is too rough")
        return ratios

    @classmethod
    def of(cls, log_p: LogP, step: float, draws: int) -> "Ratios":
        starts = range(0, draws, AT_ONCE)
        at_0, forth, back = (
            torch.cat([log_p(each, slice(start, min(start + AT_ONCE, draws))) for start in starts]).double()
            for each in (0.0, step, -step)
        )
        return cls(forth - at_0, back - at_0, step)

    @property
    def nats(self) -> float:
        """By how much log p changes, root mean square."""
        return float((self.forth - self.back).square().mean().sqrt()) / 2

    @property
    def mean_score(self) -> Tensor:
        """Of mean 0 for a density."""
        return (self.forth.exp() - self.back.exp()) / 2

    @property
    def excess(self) -> Tensor:
        """Of mean 0 for a density: the score's square less the second derivative, in units of the step."""
        return (self.forth.exp() + self.back.exp()) / 2 - 1

    @property
    def divergence(self) -> Tensor:
        """Of mean KL(p_0 | p_e) + KL(p_0 | p_-e)."""
        return -(self.forth + self.back)


def standard_errors(values: Tensor) -> float:
    """How many standard errors the mean of values (n,) is away from 0; 0 where none differs from 0."""
    error = float(values.std()) / math.sqrt(len(values))
    return 0.0 if not values.any() else float(values.mean()) / max(error, 1e-300)


@dataclass(frozen=True)
class Drawn:
    """x drawn from p(x | z) by the model's own `observe`, and log p(x | z) of it along a line in z."""

    subject: Subject

    @cached_property
    def z(self) -> Tensor:
        return self.subject.normals("density, z", DRAWS, self.subject.latent_dim)

    @cached_property
    def direction(self) -> Tensor:
        towards = self.subject.normals("density, direction", *self.z.shape)
        return towards / towards.norm(dim=-1, keepdim=True)

    @cached_property
    def x(self) -> Tensor:
        model = self.subject.model
        parameters = self.subject.call(model, "decode", z=self.z)
        stream = self.subject.stream("density, x")
        x = self.subject.attempt("observe", lambda: model.observe(parameters, stream), "parameters and generator")
        return _require_observations(self.subject, "observe", x)

    def log_p(self, step: float, draws: slice) -> Tensor:
        z = self.z[draws] + step * self.direction[draws]
        return self.subject.call(self.subject.model, "log_prob_given_latent", x=self.x[draws], z=z)

    @cached_property
    def ratios(self) -> Ratios:
        return Ratios.along(self.log_p, LARGEST_STEP)


def of_latent(subject: Subject, drawn: Drawn) -> None:
    """p(x | z) is a density: x that it draws has a score of mean 0, whose variance is the mean negative second derivative."""
    method = "log_prob_given_latent"
    _require_parameter_scores(
        subject, method, lambda model, rows: model.log_prob_given_latent(drawn.x[rows], drawn.z[rows])
    )
    _require_density(subject, method, drawn.ratios, "observe")


def of_exact(subject: Subject) -> None:
    """p(x) is a density: x that it draws has a score of mean 0, whose variance is the mean negative second derivative."""
    stream = subject.stream("density, x")
    x = subject.attempt(
        "sample", lambda: subject.model.sample(DRAWS, observation=True, generator=stream), "observation and generator"
    )
    x = _require_observations(subject, "sample", x)
    _require_parameter_scores(subject, "log_prob", lambda model, rows: model.log_prob(x[rows]))
    moved = subject.copy()
    weights = {name: value for name, value in moved.named_parameters() if value.is_floating_point()}
    if not weights:
        raise NotChecked("there are no parameters, about which x that it draws would have a score")
    start = {name: value.detach().clone() for name, value in weights.items()}
    directions = {name: subject.normals(f"density, {name}", *value.shape) for name, value in weights.items()}

    @torch.no_grad()
    def log_p(step: float, draws: slice) -> Tensor:
        for name, value in weights.items():
            value.copy_(start[name] + step * directions[name])
        return subject.call(moved, "log_prob", x=x[draws])

    _require_density(subject, "log_prob", Ratios.along(log_p, 1.0), "sample(n, observation=True)")


def _require_density(subject: Subject, method: str, ratios: Ratios, drawn_by: str) -> None:
    apart = max((standard_errors(values) for values in (ratios.mean_score, ratios.excess)), key=abs)
    if not abs(apart) < ERRORS:
        variance = ((ratios.forth - ratios.back) / 2).var()
        share = float(variance / ratios.divergence.mean())
        observed = f"a variance {share:.2g} times that, {abs(apart):.0f} standard errors off"
        subject.fault(method, _bartlett(drawn_by), observed)


def _require_parameter_scores(subject: Subject, method: str, log_p: Callable[[nn.Module, slice], Tensor]) -> None:
    """Raise Fault unless the score about each parameter has mean 0; a normalizer forgotten shows here, wherever it is."""
    model = subject.copy()
    weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
    directions = {name: subject.normals(f"score, {name}", *value.shape) for name, value in weights.items()}
    scores: dict[str, list[Tensor]] = {name: [] for name in weights}
    for start in range(0, BLOCKS * OF_BLOCK, OF_BLOCK):
        total = log_p(model, slice(start, start + OF_BLOCK)).sum()
        if not total.requires_grad:
            return
        of_block = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, of_block, strict=True):
            if gradient is not None:
                scores[name].append((gradient * directions[name]).sum().double())
    for name, values in scores.items():
        apart = standard_errors(torch.stack(values)) if values else 0.0
        if not abs(apart) < ERRORS_OF_BLOCKS:
            expected = f"a normalized density, whose score about {name} has mean 0 for x drawn from the model"
            subject.fault(method, expected, f"a mean {abs(apart):.0f} standard errors off")


def _bartlett(drawn_by: str) -> str:
    return (
        f"a density summed over pixels: for x drawn by {drawn_by}, a score of mean 0 and of variance equal to minus the "
        "mean second derivative"
    )


def _require_observations(subject: Subject, method: str, x: object) -> Tensor:
    shape = DRAWS, *subject.image_shape
    if not isinstance(x, Tensor) or tuple(x.shape) != shape:
        subject.fault(method, f"draws of x, (n, *image_shape) = {shape}", shape_of(x))
    if not x.isfinite().all():
        subject.fault(method, "finite draws of x", "nan or infinity")
    return x.detach().to(subject.dtype)
