"""A model under examination, and the one batch that it is examined on.

Every call of a method goes through `Subject.call`, which shows an exception as a finding and notices inputs that were changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from engram.checks.findings import Fault, Finding
from engram.errors import UserError, first_line, in_users_code
from engram.models import observations
from engram.models.building import build, class_named
from engram.models.protocols import classes, has, noise_shape
from engram.randomness import torch_generator
from engram.training.trained import put_state, state_of

SAMPLES = 3  # importance samples, a number that no other axis has
PASSES = 20  # in training mode before the model is evaluated, so that batch normalization has seen images


@dataclass(frozen=True)
class Subject:
    """The model `name` with its `settings`, for `images` uint8 (n, *image_shape), n at least 2; `seed` is that of all draws."""

    name: str
    settings: dict[str, Any]
    images: Tensor
    seed: int = 0

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    def build(self, image_shape: tuple[int, ...] | None = None, other_seed: bool = False) -> nn.Module:
        """A fresh model, its initial weights drawn under torch's seed."""
        torch.manual_seed(self.seed + other_seed)
        return build(self.name, image_shape or self.image_shape, **self.settings)

    @cached_property
    def model(self) -> nn.Module:
        """The model in evaluation mode, fitted to the batch, or after some passes in training mode without a step."""
        model = self.build().train()
        if not has(model, "forward"):
            self.call(model, "fit", x=self.x)
            return model.eval()
        for _ in range(PASSES):
            self.call(model, "forward", **self.inputs())
        return model.eval().requires_grad_(False)

    def copy(self) -> nn.Module:
        """The model, a second time, its parameters free to be changed and trained."""
        copy = self.build().eval()
        put_state(copy, state_of(self.model))
        return copy

    @cached_property
    def fresh(self) -> nn.Module:
        """A model as it is built, to look at, not to call."""
        return self.build()

    @cached_property
    def x(self) -> Tensor:
        """What the model sees of the images, (n, *image_shape)."""
        uniforms = torch.rand(self.images.shape, generator=self.stream("observation"))
        return observations.draw(self.images, uniforms, self.fresh.observation).to(self.dtype)

    @cached_property
    def noise(self) -> Tensor:
        """Of one objective for each image, (n, *noise_shape)."""
        return self.normals("noise", len(self.images), *noise_shape(self.fresh))

    @cached_property
    def conditions(self) -> dict[str, Tensor]:
        """The label of each image, (n,), every class in turn; nothing for a model without classes."""
        known = classes(self.fresh)
        return {"label": torch.arange(len(self.images)) % known} if known else {}

    def inputs(self, rows: slice = slice(None)) -> dict[str, Tensor]:
        """What forward takes of the images `rows`."""
        inputs = {"x": self.x, "noise": self.noise} | self.conditions
        return {name: values[rows] for name, values in inputs.items()}

    def of_images(self, rows: slice) -> dict[str, Tensor]:
        """The same without noise."""
        return {name: values for name, values in self.inputs(rows).items() if name != "noise"}

    @cached_property
    def z(self) -> Tensor:
        """(samples, n, latent_dim)."""
        return self.normals("z", SAMPLES, len(self.images), self.latent_dim)

    @cached_property
    def latent_dim(self) -> int:
        stated = getattr(self.model, "latent_dim", None)
        return self.call(self.model, "encode", x=self.x)[0].shape[-1] if stated is None else stated

    @property
    def dtype(self) -> torch.dtype:
        return observations.precision(self.fresh)

    @property
    def of_discrete(self) -> bool:
        """Whether x has probabilities, not densities."""
        return self.fresh.observation in ("binary", "pixels", "centred")

    def stream(self, *names: str) -> torch.Generator:
        return torch_generator("cpu", self.seed, "model check", *names)

    def normals(self, name: str, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.stream(name)).to(self.dtype)

    def call(self, model: nn.Module, method: str, **inputs: Any) -> Any:
        """What `method` of a model answers to `inputs`, in their order. Raises Fault for an exception and for inputs changed."""
        given = {name: value.clone() if isinstance(value, Tensor) else value for name, value in inputs.items()}
        answer = self.attempt(method, lambda: getattr(model, method)(*given.values()), _described(given))
        for name, value in inputs.items():
            if isinstance(value, Tensor) and not torch.equal(value, given[name]):
                mode = "training" if model.training else "evaluation"
                self.fault(method, f"{name} to be left as it is", f"{name} changed in place, in {mode} mode")
        return answer

    def attempt(self, method: str, act: Callable[[], Any], to: str = "") -> Any:
        """What `act` gives; whatever it raises is a fault of `method`."""
        try:
            return act()
        except Fault:
            raise
        except Exception as error:  # whatever a user's own code raises
            said = str(error) if isinstance(error, UserError) else in_users_code(error)
            said = said or f"{type(error).__name__}: {first_line(error)}"
            self.fault(method, f"an answer{to and f' to {to}'}", said)

    def fault(self, method: str, expected: str, observed: str) -> NoReturn:
        raise Fault(Finding(self.class_name, method, expected, observed))

    @cached_property
    def class_name(self) -> str:
        return class_named(self.name).__name__


def _described(inputs: dict[str, Any]) -> str:
    return " and ".join(
        f"{name} {shape_of(value)}" if isinstance(value, Tensor) else name for name, value in inputs.items()
    )


def shape_of(value: object) -> str:
    """The shape of a tensor as (n, m), or what else a value is.

    >>> shape_of(torch.zeros(2, 3)), shape_of(1.5)
    ('(2, 3)', 'a float')
    """
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"
