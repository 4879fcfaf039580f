"""The gradient of every image's objective, layer by layer, without holding one as large as the model for each image.

The output of a linear layer is W a + b. So the gradient of one image's objective with respect to (W, b) is the product g (a, 1)',
where a is the layer's input and g the gradient of the objective with respect to its output; of a convolution it is the sum of such
products over places. Its squared norm needs no gradient at all where there is one place: |g|^2 (|a|^2 + 1) (Goodfellow 2015,
"Efficient per-example gradient computations"). All parameters of other layers go through torch.func. A model must judge each image
by itself, as it does in eval mode.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import unfold

from engram.errors import UserError, first_line

TRIED = 3  # images on which every layer's products are compared with autograd, each on its own
TOLERANCE = 1e-3  # of the norm of a gradient, which float32 keeps far better
VALUES = 2**24  # numbers in the gradients that are held at once, so that memory stays bounded
Inputs = tuple[Tensor, ...]  # the arguments of forward: x, noise and, of a model with classes, label


class Factors(NamedTuple):
    """Gradients of a layer's weights for n images, as sums of products: rows (n, places, r), columns (n, places, c).

    That of one image is the matrix sum_t rows_t columns_t', (r, c).
    """

    rows: Tensor
    columns: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape[2], self.columns.shape[2]

    def matrices(self) -> Tensor:
        """The gradients themselves, (n, r, c)."""
        return self.rows.mT @ self.columns

    def squared_norm(self) -> Tensor:
        """Of each image's gradient, (n,); by inner products between places where these are fewer numbers.

        >>> float(Factors(torch.tensor([[[3.0]]]), torch.tensor([[[1.0, 2.0]]])).squared_norm())
        45.0
        """
        places, (r, c) = self.rows.shape[1], self.shape
        if r * c < places * (r + c):
            return torch.cat([part.matrices().square().sum((1, 2)) for part in self.parts()])
        return ((self.rows @ self.rows.mT) * (self.columns @ self.columns.mT)).sum((1, 2))

    def parts(self) -> Iterator["Factors"]:
        """The same of so few images at a time that their gradients can be held."""
        r, c = self.shape
        images = max(1, VALUES // (r * c))
        return starmap(Factors, zip(self.rows.split(images), self.columns.split(images), strict=True))


class Call(NamedTuple):
    """One use of a layer: what went in, and the objective's gradient with respect to what came out."""

    module: nn.Module
    input: Tensor
    gradient: Tensor

    def factors(self) -> dict[str, Factors]:
        """Of the layer's weights and bias together under "", and of a transposed convolution's bias under ".bias"."""
        a, g = self.input, self.gradient
        if isinstance(self.module, nn.ConvTranspose2d):
            factors = {"": Factors(_places(a), _patches(g, self.module))}
            if self.module.bias is not None:
                total = g.sum((2, 3))[:, None]
                factors[".bias"] = Factors(total, torch.ones_like(total[..., :1]))
            return factors
        if isinstance(self.module, nn.Conv2d):
            return {"": Factors(_places(g), _with_one(_patches(a, self.module), self.module))}
        rows, columns = (part.flatten(1, -2) if part.ndim > 2 else part[:, None] for part in (g, a))
        return {"": Factors(rows, _with_one(columns, self.module))}


def _places(channels: Tensor) -> Tensor:
    """(n, height x width, channels) from (n, channels, height, width)."""
    return channels.flatten(2).mT


def _patches(channels: Tensor, convolution: nn.Module) -> Tensor:
    """What a convolution multiplies with its weights at each place, (n, places, channels x kernel)."""
    of = convolution
    return unfold(channels, of.kernel_size, of.dilation, of.padding, of.stride).mT


def _with_one(columns: Tensor, module: nn.Module) -> Tensor:
    return columns if module.bias is None else torch.cat([columns, torch.ones_like(columns[..., :1])], -1)


@dataclass(frozen=True)
class Gradients:
    """Of n images: the objective in nats, (n,), the uses of each layer by name, and gradients of other parameters, (n, weights)."""

    objective: Tensor
    calls: dict[str, list[Call]]
    others: Tensor

    def layers(self) -> Iterator[tuple[str, Factors]]:
        """Each layer's name and factors, made when asked for; the layer that is used last comes last."""
        for name, calls in self.calls.items():
            uses = [call.factors() for call in calls]
            for part in uses[0]:
                rows, columns = zip(*(use[part] for use in uses), strict=True)
                yield name + part, Factors(torch.cat(rows, 1), torch.cat(columns, 1))

    def squared_norms(self) -> tuple[Tensor, Tensor]:
        """Of the gradient with respect to all parameters, and to those of the last layer alone: (n,), (n,)."""
        last = next(reversed(self.calls), None)
        total, of_last = self.others.square().sum(1), torch.zeros_like(self.objective)
        for name, factors in self.layers():
            squared = factors.squared_norm()
            total = total + squared
            of_last = of_last + squared if name in (last, f"{last}.bias") else of_last
        return total, of_last

    def matrix(self) -> Tensor:
        """All gradients, (n, weights): layer by layer, then those of the other parameters."""
        return torch.cat([*(factors.matrices().flatten(1) for _, factors in self.layers()), self.others], 1)


@dataclass(frozen=True)
class Differentiated:
    """A model in eval mode, the names of its layers that give products, and of all `others` of its parameters.

    `Differentiated.of` finds them. Called with the arguments of forward (x, noise and, of a model with classes, label), it gives
    the Gradients of these images.
    """

    model: nn.Module
    layers: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module, *inputs: Tensor) -> "Differentiated":
        """By trial on the first images of `inputs`: a layer's products must be autograd's gradient of each image, to 0.1 %.

        Raises UserError, with the reason, for a model whose other parameters torch.func cannot take.
        """
        some = tuple(values[:TRIED] for values in inputs)
        layers = _confirmed(model, some)
        own = {f"{name}.{part}" for name in layers for part in ("weight", "bias")}
        found = cls(model, layers, tuple(name for name, _ in model.named_parameters() if name not in own))
        try:
            found(*some)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            raise UserError(f"torch.func cannot take the model: {first_line(error)}") from error
        return found

    @property
    def images_at_once(self) -> int:
        """So many that the gradients which torch.func holds, one for each image, keep memory bounded."""
        parameters = dict(self.model.named_parameters())
        return max(1, VALUES // max(1, sum(parameters[name].numel() for name in self.others)))

    def __call__(self, *inputs: Tensor) -> Gradients:
        objective, calls = _calls(self.model, self.layers, inputs)
        return Gradients(objective, calls, self._of_others(inputs))

    def _of_others(self, inputs: Inputs) -> Tensor:
        """(n, weights)."""
        if not self.others:
            return inputs[0].new_zeros(len(inputs[0]), 0)
        fixed = _detached(self.model)
        free = {name: fixed.pop(name) for name in self.others}

        def objective(parameters: dict[str, Tensor], *of_image: Tensor) -> Tensor:
            one = tuple(values[None] for values in of_image)
            return functional_call(self.model, fixed | parameters, one)[0]

        gradients = vmap(grad(objective), (None, *[0] * len(inputs)))(free, *inputs)
        return torch.cat([gradients[name].reshape(len(inputs[0]), -1) for name in self.others], 1).detach()


def _may_be_linear(module: nn.Module) -> bool:
    """Whether to try it as a linear layer, or a convolution of the kind that `Call` knows."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.ndim == 2 and hasattr(module, "bias")


def _detached(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that autograd takes for constants: gradients with respect to weights would cost as much again."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _calls(model: nn.Module, names: Sequence[str], inputs: Inputs) -> tuple[Tensor, dict[str, list[Call]]]:
    """The objective of each image, and every use of the named layers, in the order of their last uses."""
    uses = []

    def keep(name: str) -> Callable[..., Tensor]:
        def hook(module: nn.Module, arguments: tuple, by_name: dict, output: Tensor) -> Tensor:
            output = output if output.requires_grad else output.detach().requires_grad_()
            uses.append((name, module, [*arguments, *by_name.values()][0].detach(), output))
            return output.clone()  # which the model may change in place

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(keep(name), with_kwargs=True) for name in names]
    try:
        with torch.enable_grad():
            objective = functional_call(model, _detached(model), inputs)
            outputs = [output for *_, output in uses]
            gradients = torch.autograd.grad(objective.sum(), outputs, materialize_grads=True) if outputs else ()
    finally:
        for hook in hooks:
            hook.remove()
    calls: dict[str, list[Call]] = {}
    for (name, module, given, _), gradient in zip(uses, gradients, strict=True):
        calls[name] = [*calls.pop(name, []), Call(module, given, gradient)]
    return objective.detach(), calls


def _confirmed(model: nn.Module, inputs: Inputs) -> tuple[str, ...]:
    """Layers whose products are, for each image, the gradient that autograd finds for it alone."""
    parameters, n = dict(model.named_parameters()), len(inputs[0])
    own = {
        name: [parameters.get(f"{name}.{part}") for part in ("weight", "bias")]
        for name, module in model.named_modules()
        if _may_be_linear(module) and f"{name}.weight" in parameters
    }
    objective, calls = _calls(model, [*own], inputs)
    calls = {name: uses for name, uses in calls.items() if all(len(call.input) == n for call in uses)}
    alone = [_by_autograd(model, own, tuple(values[image : image + 1] for values in inputs)) for image in range(n)]

    def agrees(name: str) -> bool:
        found = Gradients(objective, {name: calls[name]}, objective[:, None][:, :0]).matrix()
        wanted = torch.stack([of_image[name] for of_image in alone])
        return found.shape == wanted.shape and bool(
            ((found - wanted).norm(dim=1) <= TOLERANCE * wanted.norm(dim=1)).all()
        )

    return tuple(name for name in calls if agrees(name))


def _by_autograd(model: nn.Module, own: dict[str, list[Tensor | None]], inputs: Inputs) -> dict[str, Tensor]:
    """The gradient of one image's objective with respect to each layer's weights and bias, in the order of `matrix`."""
    wanted = [parameter for of_layer in own.values() for parameter in of_layer if parameter is not None]
    with torch.enable_grad():
        gradients = torch.autograd.grad(model(*inputs).sum(), wanted, materialize_grads=True) if wanted else ()
    found = iter(gradients)
    each = {name: [None if part is None else next(found) for part in of_layer] for name, of_layer in own.items()}
    return {name: _arranged(model.get_submodule(name), *parts) for name, parts in each.items()}


def _arranged(module: nn.Module, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A layer's weights and bias in the order of the numbers in `Gradients.matrix`, (weights,)."""
    if bias is None:
        return weight.flatten()
    if isinstance(module, nn.ConvTranspose2d):
        return torch.cat([weight.flatten(), bias])
    return torch.cat([weight.flatten(1), bias[:, None]], 1).flatten()
