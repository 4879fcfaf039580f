"""All checks of one model on one batch: in which order, and what each stands on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from engram.checks import behaviour, density, ratios, structure, tiny
from engram.checks.density import Drawn
from engram.checks.findings import AnyFinding, Fault, Finding, Lacking, NotChecked, Outcome
from engram.checks.subject import Subject
from engram.likelihood.estimation import PROTOCOL_OF, is_latent, lacks_samples_of_class
from engram.models.protocols import (
    DESCRIBED_IN,
    WAYS_TO_LOG_P,
    BoundedModel,
    ExactModel,
    LatentModel,
    classes,
    has,
    lacking,
    offers,
)


class Check(NamedTuple):
    """What is checked, in words; how; the methods that a model must have for it; and others that it also stands on."""

    says: str
    run: Callable[[Subject], None]
    needs: tuple[str, ...] = ()
    stands_on: tuple[str, ...] = ()


# Each stands on the ones before it: the first fault ends the examination.
FIRST = (
    Check("types of settings", structure.settings),
    Check("building", structure.building),
    Check("parameters", structure.parameters),
)

OF_LATENT = ("decode", "log_prob_given_latent")
WITHOUT_CLASS = {"encode", *OF_LATENT, "propose"}  # which engram does not call of a model with classes
OF_OBJECTIVE = ("encode", *OF_LATENT, "log_prob", "predict_noise", "bound", "propose")  # what a forward is made of

METHODS = (
    Check("initial weights", structure.same_weights),
    Check("encode", behaviour.encode, ("encode",), ("forward",)),
    Check("decode", behaviour.decode, ("decode",), ("forward",)),
    Check("log_prob_given_latent", behaviour.log_prob_given_latent, ("log_prob_given_latent",), ("forward", "decode")),
    Check("log_prob", behaviour.log_prob, ("log_prob",), ("forward",)),
    Check("predict_noise", behaviour.predict_noise, ("predict_noise",), ("forward",)),
    Check("bound", behaviour.bound, ("bound",), ("forward", "predict_noise")),
    Check("propose", behaviour.propose, ("propose",), ("forward", "encode")),
    Check("objective", behaviour.objective, ("forward",), OF_OBJECTIVE),
    Check("draws of training", behaviour.draws_of_training, ("forward",), ("__init__", *OF_OBJECTIVE)),
    Check("gradients", structure.gradients, ("forward",), OF_OBJECTIVE),
    Check("buffers", structure.buffers, ("forward",)),
    Check("saving and loading", structure.round_trip, ("forward",), ("__init__", *OF_OBJECTIVE)),
    Check("information", behaviour.information, ("information", "decode")),
    Check("mean", behaviour.mean, ("mean", "decode")),
    Check("sample", behaviour.sample, ("sample",), ("mean", "decode")),
)


class Uses(NamedTuple):
    """What an experiment asks of its model beside what every model must have.

    analyses: those that look at the model's own images, for which it must have `sample`. proposals: by estimator, which may ask
    for exact log p or a bound. is_fitted: whether the experiment states no training; None where there is no experiment.
    """

    analyses: Sequence[str] = ()
    proposals: Mapping[str, str] = {}
    is_fitted: bool | None = None


NOTHING_MORE = Uses()


def examine(name: str, settings: dict[str, Any], images: Tensor, uses: Uses = NOTHING_MORE, seed: int = 0) -> Outcome:
    """What is wrong with the model `name` under its `settings`, on images uint8 (n, *image_shape), n at least 2.

    `uses` is what else is asked of it; `seed` is that of all draws. Nothing is trained.

        >>> examine("bernoulli_mlp_vae", {}, torch.zeros(4, 1, 8, 8, dtype=torch.uint8)).findings
        []
    """
    subject, outcome = Subject(name, settings, images, seed), Outcome()
    with torch.random.fork_rng(devices=[]):
        for check in FIRST:
            _run(check, subject, outcome)
            if outcome.findings:
                return outcome
        outcome.findings += _missing(subject, uses)
        not_called = WITHOUT_CLASS if classes(subject.fresh) else set()
        for check in (*METHODS, *_of_densities(subject)):
            at_fault = {finding.method for finding in outcome.findings}
            has_all = all(has(subject.fresh, method) and method not in not_called for method in check.needs)
            if has_all and not at_fault & {*check.needs, *check.stands_on}:
                _run(check, subject, outcome)
    return outcome


def _run(check: Check, subject: Subject, outcome: Outcome) -> None:
    try:
        check.run(subject)
    except Fault as fault:
        outcome.findings += [fault.finding] if fault.finding not in outcome.findings else []
    except NotChecked as reason:
        outcome.not_checked.append(f"{check.says}, since {reason}")
    else:
        outcome.checked.append(check.says)


def _missing(subject: Subject, uses: Uses) -> Iterator[AnyFinding]:
    """What the model lacks for its log p to be had, for its own images to be looked at, and for what is done with it."""
    model, name = subject.fresh, subject.class_name
    if classes(model):
        yield from _missing_with_classes(model, name, uses)
    elif not any(offers(model, way) for way in WAYS_TO_LOG_P):
        ways = "encode, decode and log_prob_given_latent, or log_prob, or bound, by which its log p is had"
        absent = lacking(model, LatentModel)
        observed = "none" if len(absent) == 3 else f"no {' and no '.join(absent)}"
        yield Finding(name, absent[0] if len(absent) < 3 else "log_prob", ways, observed)
    either = f"define it ({DESCRIBED_IN}) or leave"
    if uses.analyses and not hasattr(model, "sample"):
        who = f"which the analyses {' and '.join(uses.analyses)} need"
        yield Lacking(name, "sample(n, observation, generator)", f"{who}; {either} them out of {{experiment}}.analyses")
    for estimator, proposal in uses.proposals.items():
        asked = PROTOCOL_OF.get(proposal)
        if asked and not offers(model, asked):
            who = f"by which the estimator {estimator}, whose proposal is {proposal}, has log p"
            yield Lacking(
                name, lacking(model, asked)[0], f"{who}; {either} the estimator out of {{experiment}}.estimators"
            )
    stated = "{experiment}.training and {experiment}.scored_epochs"
    if uses.is_fitted is True and not has(model, "fit"):
        yield Lacking(name, "fit(x)", f"so it must be trained; state {stated}")
    if uses.is_fitted is False and not has(model, "forward"):
        yield Lacking(name, "forward(x, noise)", f"so it can only be fitted; leave out {stated}")


def _missing_with_classes(model: nn.Module, name: str, uses: Uses) -> Iterator[AnyFinding]:
    """What a model that learns log p(x | class) lacks, which has two ways to it only."""
    if not (offers(model, ExactModel) or offers(model, BoundedModel)):
        yield Lacking(
            name, "bound(x, noise, label)", f"nor log_prob(x, label), by which log p(x | class) is had ({DESCRIBED_IN})"
        )
    if not has(model, "forward"):
        yield Lacking(name, "forward(x, noise, label)", f"by which it learns classes: fit takes none ({DESCRIBED_IN})")
    for estimator, proposal in uses.proposals.items():
        if lacks_samples_of_class(model, proposal):
            yield Lacking(
                name,
                "importance samples given a class",
                f"by which the estimator {estimator}, whose proposal is {proposal}, has log p; in {{experiment}}.estimators name "
                f"one whose proposal is bound or exact ({DESCRIBED_IN})",
            )


def _of_densities(subject: Subject) -> Iterator[Check]:
    """Checks by draws from the model and over all tiny images."""
    model, drawn = subject.fresh, Drawn(subject)
    if classes(model) and offers(model, ExactModel):
        yield Check("density", _of_each_class)
    elif is_latent(model):
        draws = hasattr(model, "observe") and hasattr(model, "decode")
        by_draws = partial(density.of_latent, drawn=drawn) if draws else _cannot_draw
        ways = partial(_either, ways=(by_draws, tiny.normalized))
        yield Check("density given z", ways, ("log_prob_given_latent",), ("decode", "mean"))
    elif offers(model, ExactModel):
        by_draws = density.of_exact if hasattr(model, "sample") else _cannot_draw
        yield Check("density", partial(_either, ways=(by_draws, tiny.normalized)), ("log_prob",), ("sample",))
    elif offers(model, BoundedModel):
        yield Check("density", _only_a_bound)
    if hasattr(model, "information") and is_latent(model):
        by_draws = partial(ratios.information, drawn=drawn) if hasattr(model, "observe") else _cannot_draw
        yield Check("Fisher information", by_draws, ("information", *OF_LATENT), ("mean", "observe"))
    yield Check("weights of propose", ratios.of_own_proposal, ("propose",))


def _either(subject: Subject, ways: Sequence[Callable[[Subject], None]]) -> None:
    """Check in every way that there is; NotChecked only if there is none."""
    reasons = []
    for way in ways:
        try:
            way(subject)
        except NotChecked as reason:
            reasons.append(str(reason))
    if len(reasons) == len(ways):
        raise NotChecked(" and ".join(reasons))


def _cannot_draw(subject: Subject) -> None:
    method = "observe(parameters, generator)" if is_latent(subject.fresh) else "sample(n, observation, generator)"
    raise NotChecked(f"{subject.class_name} has no {method} to draw x by")


def _of_each_class(subject: Subject) -> None:
    raise NotChecked(f"{subject.class_name} has one for each class")


def _only_a_bound(subject: Subject) -> None:
    raise NotChecked(f"{subject.class_name} gives a bound alone")
