"""What a model is made of: its settings, parameters and buffers, and whether they can be stored."""

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from engram.checks.findings import Fault, NotBuilt, WrongSetting
from engram.checks.subject import Subject
from engram.errors import UserError
from engram.models.building import class_named
from engram.models.protocols import has
from engram.training.trained import put_state, state_of

NAMED = 3  # parameters or buffers in one line

# What a setting must be, by the type of its default in the model's __init__.
KINDS = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number (1.0e-3, not 1e-3, which YAML reads as text)"),
    str: ((str,), "text"),
    tuple: ((list, tuple), "a list"),
    list: ((list, tuple), "a list"),
}


def settings(subject: Subject) -> None:
    """Settings are of the type of their defaults."""
    taken = inspect.signature(class_named(subject.name)).parameters
    for name, value in subject.settings.items():
        default = taken[name].default if name in taken else inspect.Parameter.empty
        wrong = _must_be(value, default)
        if wrong:
            raise Fault(WrongSetting(name, value, f"{wrong}, as the default {default!r} is"))


def _must_be(value: Any, default: Any) -> str | None:
    """What a setting must be in place of `value`; None where it is that, or where the default does not tell."""
    if type(default) not in KINDS:
        return None
    types, words = KINDS[type(default)]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        return words
    if isinstance(value, list | tuple) and default:
        entry = next(filter(None, (_must_be(each, default[0]) for each in value)), None)
        return entry and f"a list of which each entry is {entry}"
    return None


def building(subject: Subject) -> None:
    """The model can be built, and has what every model has."""
    try:
        _ = subject.fresh
    except UserError as error:
        raise Fault(NotBuilt(str(error))) from error


def parameters(subject: Subject) -> None:
    """There are parameters, of known shapes, that can be trained, and `observation` names an x that engram can draw."""
    model = subject.fresh
    lazy = [name for name, value in [*model.named_parameters(), *model.named_buffers()] if is_lazy(value)]
    if lazy:
        subject.fault(
            "__init__",
            "parameters whose shapes are known from image_shape",
            f"{_some(lazy)} uninitialized (lazy layers)",
        )
    if has(model, "forward") and not any(value.requires_grad for value in model.parameters()):
        subject.fault("__init__", "at least one parameter that can be trained", "none that requires a gradient")
    try:
        _ = subject.x
    except UserError:
        subject.fault("observation", "binary, logit, pixels or centred", repr(model.observation))


def same_weights(subject: Subject) -> None:
    """Initial weights are the same under the same torch seed."""
    one, other = state_of(subject.fresh), state_of(subject.build())
    apart = [name for name, value in one.items() if not _alike(value, other.get(name))]
    if apart:
        subject.fault(
            "__init__",
            "the same initial weights under the same torch seed",
            f"others in {_some(apart)}: draw them by torch, not by numpy or random",
        )


def buffers(subject: Subject) -> None:
    """Buffers are changed in place, never replaced: under training a replaced one is lost."""
    model = subject.build().train()
    before = dict(model.named_buffers(remove_duplicate=False))
    subject.call(model, "forward", **subject.inputs())
    after = dict(model.named_buffers(remove_duplicate=False))
    replaced = [name for name, value in before.items() if after.get(name) is not value]
    if replaced:
        subject.fault(
            "forward",
            "buffers changed in place, such as self.count.add_(1)",
            f"{_some(replaced)} replaced by another tensor, which is lost in training",
        )


def gradients(subject: Subject) -> None:
    """In training mode the objective has a gradient, finite, about every parameter that can be trained."""
    model = subject.build().train()
    unreached = trained = {name for name, value in model.named_parameters() if value.requires_grad}
    for x in _various(subject):
        objective = subject.call(model, "forward", **(subject.inputs() | {"x": x}))
        if not objective.requires_grad:
            subject.fault(
                "forward", "an objective with a gradient", "one without: .item(), .detach() or no_grad cut it off"
            )
        subject.attempt("forward", objective.sum().backward, "backward()")
        unreached = {name for name in unreached if model.get_parameter(name).grad is None}
        if not unreached:
            break
    if unreached:
        subject.fault("forward", "an objective that depends on every parameter", f"{_some(unreached)} without gradient")
    bad = [name for name in trained if not model.get_parameter(name).grad.isfinite().all()]
    if bad:
        subject.fault("forward", "finite gradients", f"nan or infinity in that of {_some(bad)}, in training mode")


def _various(subject: Subject) -> list[Tensor]:
    """The batch, and others beside it: a model whose way depends on its data may use some parameters on some images only."""
    x = subject.x
    return [x, -x if subject.fresh.observation == "logit" else 1 - x, torch.zeros_like(x), torch.ones_like(x)]


def round_trip(subject: Subject) -> None:
    """Parameters and buffers, stored and loaded into a model built anew, give the same objective to the bit."""
    loaded = subject.build(other_seed=True)
    stored = subject.attempt("__init__", lambda: {k: v.numpy() for k, v in state_of(subject.model).items()}, "saving")
    put = partial(put_state, loaded, {name: torch.as_tensor(value) for name, value in stored.items()})
    subject.attempt("__init__", put, "loading")
    one, other = (subject.call(model.eval(), "forward", **subject.inputs()) for model in (subject.model, loaded))
    if not torch.equal(one, other):
        subject.fault(
            "__init__",
            "all that the objective depends on among parameters and buffers",
            "another objective after saving and loading: something is a plain attribute, so that it is not stored",
        )


def _alike(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def _some(names: Any) -> str:
    """Names for one line, the first few of many."""
    first, more = sorted(names)[:NAMED], len(names) - NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")
