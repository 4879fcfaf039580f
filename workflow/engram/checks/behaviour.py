"""What the methods of a model answer: shapes, finite values, and that an image's value is its own at every call.

Each check raises Fault at the first thing it finds. What is asked is asked in evaluation mode, the objective in both modes.
"""

from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from engram.checks.subject import SAMPLES, Subject, shape_of
from engram.models.protocols import noise_shape

TOLERANCE = 1e-4  # between two ways to the same numbers, relative to their size; rounding in float32 takes 1e-6 of it
SHOWN = 3  # images that a model is asked to sample

Ask = Callable[[slice], Tensor]


def objective(subject: Subject) -> None:
    """forward gives a finite objective of each image, in training and in evaluation mode."""
    in_training = subject.call(subject.build().train(), "forward", **subject.inputs())
    _require_shape(subject, "forward", in_training, (len(subject.x),), "(n,) from x (n, *image_shape) in training mode")
    _require_finite(subject, "forward", in_training, "training mode")

    def ask(rows: slice) -> Tensor:
        answer = subject.call(subject.model, "forward", **subject.inputs(rows))
        return _answered(subject, "forward", answer, (len(subject.x[rows]),), "(n,) from x (n, *image_shape)")

    _per_image(subject, "forward", 0, ask)
    _require_no_more_than_certain(subject, "forward", ask(slice(None)))


def draws_of_training(subject: Subject) -> None:
    """In training mode all chance comes from torch: the same seed gives the same objective."""

    def under_the_seed() -> Tensor:
        model = subject.build().train()
        return subject.call(model, "forward", **subject.inputs())

    if not _close(under_the_seed(), under_the_seed()):
        subject.fault(
            "forward",
            "the same objective under the same torch seed, in training mode",
            "another one: draw by torch, not by numpy or random",
        )


def encode(subject: Subject) -> None:
    """encode gives mean and log-variance."""

    def ask(rows: slice) -> Tensor:
        pair = subject.call(subject.model, "encode", x=subject.x[rows])
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            subject.fault("encode", "two tensors, mean and log-variance of q(z | x)", _kind(pair))
        shape, words = (len(subject.x[rows]), subject.latent_dim), "(n, latent_dim)"
        return torch.stack([_answered(subject, "encode", part, shape, words) for part in pair])

    _per_image(subject, "encode", 1, ask)


def decode(subject: Subject) -> None:
    """decode takes z of several samples at once."""

    def ask(rows: slice) -> Tensor:
        return _with_samples(subject, "decode", lambda z: subject.call(subject.model, "decode", z=z), rows)

    _per_image(subject, "decode", 1, ask)


def log_prob_given_latent(subject: Subject) -> None:
    """log_prob_given_latent takes z of several samples at once."""
    method = "log_prob_given_latent"

    def ask(rows: slice) -> Tensor:
        x = subject.x[rows]
        plain = subject.call(subject.model, method, x=x, z=subject.z[0, rows])
        _answered(subject, method, plain, (len(x),), "(n,) from z (n, latent_dim)")
        values = _with_samples(subject, method, lambda z: subject.call(subject.model, method, x=x, z=z), rows)
        return _answered(subject, method, values, (SAMPLES, len(x)), "(samples, n) from z (samples, n, latent_dim)")

    _per_image(subject, method, 1, ask)
    _require_no_more_than_certain(subject, method, ask(slice(None)))


def information(subject: Subject) -> None:
    """information has the shape of the parameters of p(x | z), and is not negative."""
    parameters = subject.call(subject.model, "decode", z=subject.z[0])
    answer = subject.call(subject.model, "information", parameters=parameters)
    _answered(subject, "information", answer, tuple(parameters.shape), "the shape of its parameters")
    if (answer < 0).any():
        subject.fault("information", "values of at least 0", f"{float(answer.min()):.3g}")


def mean(subject: Subject) -> None:
    """mean gives images in [0, 1]."""
    parameters = subject.call(subject.model, "decode", z=subject.z[0])
    answer = subject.call(subject.model, "mean", parameters=parameters)
    _require_images(subject, "mean", answer, len(subject.x))


def sample(subject: Subject) -> None:
    """sample gives images in [0, 1]."""
    stream = subject.stream("sample")
    answer = subject.attempt("sample", lambda: subject.model.sample(SHOWN, generator=stream), "n and generator")
    _require_images(subject, "sample", answer, SHOWN)


def log_prob(subject: Subject) -> None:
    """log_prob gives log p of each image."""

    def ask(rows: slice) -> Tensor:
        answer = subject.call(subject.model, "log_prob", **subject.of_images(rows))
        return _answered(subject, "log_prob", answer, (len(subject.x[rows]),), "(n,) from x (n, *image_shape)")

    _per_image(subject, "log_prob", 0, ask)
    _require_no_more_than_certain(subject, "log_prob", ask(slice(None)))


def bound(subject: Subject) -> None:
    """bound gives an estimate for each image and sample of noise."""
    noise = subject.normals("bound", len(subject.x), SAMPLES, *noise_shape(subject.model))

    def ask(rows: slice) -> Tensor:
        answer = subject.call(subject.model, "bound", **(subject.inputs(rows) | {"noise": noise[rows]}))
        shape = len(subject.x[rows]), SAMPLES
        return _answered(subject, "bound", answer, shape, "(n, samples) from noise (n, samples, *noise_shape)")

    _per_image(subject, "bound", 0, ask)
    _require_no_more_than_certain(subject, "bound", ask(slice(None)).mean(1))


def predict_noise(subject: Subject) -> None:
    """predict_noise gives noise in the shape of z, of each image at its own gamma."""
    z = subject.normals("predict_noise", *subject.x.shape)
    gamma = torch.linspace(-5, 5, len(z)).to(subject.dtype)

    def ask(rows: slice) -> Tensor:
        answer = subject.call(subject.model, "predict_noise", z=z[rows], gamma=gamma[rows])
        shape = (len(z[rows]), *subject.image_shape)
        return _answered(
            subject, "predict_noise", answer, shape, "(n, *image_shape) from z of that shape and gamma (n,)"
        )

    _per_image(subject, "predict_noise", 0, ask)


def propose(subject: Subject) -> None:
    """propose gives proposals, whose draws are z and log p(z) - log q(z | x)."""
    noise = subject.normals("propose", len(subject.x), SAMPLES, subject.latent_dim)

    def ask(rows: slice) -> Tensor:
        n = len(subject.x[rows])
        own = subject.call(subject.model, "propose", x=subject.x[rows])
        given = noise[rows].clone()
        pair = subject.attempt("propose", lambda: own.draw(given), "draw(noise)")
        if not torch.equal(given, noise[rows]):
            subject.fault("propose", "noise to be left as it is by draw", "noise changed in place")
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            subject.fault("propose", "draw(noise) to give z and log p(z) - log q(z | x)", _kind(pair))
        z = _answered(
            subject, "propose", pair[0], (SAMPLES, n, subject.latent_dim), "z (samples, n, latent_dim) by draw(noise)"
        )
        ratio = _answered(
            subject, "propose", pair[1], (SAMPLES, n), "log p(z) - log q(z | x) (samples, n) by draw(noise)"
        )
        return torch.cat([z, ratio.unsqueeze(-1)], -1)

    _per_image(subject, "propose", 1, ask)


def _with_samples(subject: Subject, method: str, of_z: Callable[[Tensor], Tensor], rows: slice) -> Tensor:
    """What a function of z gives for z (samples, n, latent_dim); raises Fault unless that is what it gives sample by sample."""
    z = subject.z[:, rows]
    together, alone, again = of_z(z), [of_z(one) for one in z], of_z(z[0])
    for answer in alone:
        _require_tensor(subject, method, answer)
        if answer.ndim < 1 or len(answer) != z.shape[1]:
            subject.fault(method, f"(n, ...) from z (n, latent_dim) = {tuple(z[0].shape)}", shape_of(answer))
        _require_finite(subject, method, answer, "evaluation mode")
    if not _close(alone[0], again):
        _not_the_same(subject, method)
    expected = f"(samples, n, ...) = {(SAMPLES, *alone[0].shape)} from z (samples, n, latent_dim) = {tuple(z.shape)}"
    if not isinstance(together, Tensor) or together.shape != (SAMPLES, *alone[0].shape):
        subject.fault(method, expected, shape_of(together))
    if not _close(together, torch.stack(alone)):
        subject.fault(method, "for z (samples, n, latent_dim) the values of each sample alone", "other values")
    return together


def _per_image(subject: Subject, method: str, axis: int, ask: Ask) -> None:
    """Raise Fault unless values are the same at every call and an image's own; `axis` of the answers is that of images."""
    everything = ask(slice(None))
    if not _close(everything, ask(slice(None))):
        _not_the_same(subject, method)
    images = everything.shape[axis]
    for first, number in ((0, 1), (0, 2), (images - 1, 1)):
        if not _close(everything.narrow(axis, first, number), ask(slice(first, first + number))):
            subject.fault(
                method,
                "values of an image that do not depend on the others of its batch, in evaluation mode",
                f"others in a batch of {number}",
            )


def _not_the_same(subject: Subject, method: str) -> NoReturn:
    subject.fault(method, "the same values at every call in evaluation mode", "others at the second call")


def _answered(subject: Subject, method: str, answer: object, shape: tuple[int, ...], words: str) -> Tensor:
    """An answer that is a finite tensor of the shape that `words` explain, in evaluation mode; raises Fault if it is not."""
    _require_shape(subject, method, answer, shape, words)
    _require_finite(subject, method, answer, "evaluation mode")
    return answer


def _require_shape(subject: Subject, method: str, answer: object, shape: tuple[int, ...], words: str) -> None:
    _require_tensor(subject, method, answer, f"the shape {shape}, {words}")
    if tuple(answer.shape) != shape:
        subject.fault(method, f"the shape {shape}, {words}", shape_of(answer))


def _require_tensor(subject: Subject, method: str, answer: object, words: str = "a tensor") -> None:
    if not isinstance(answer, Tensor):
        subject.fault(method, words, shape_of(answer))
    if not answer.is_floating_point():
        subject.fault(method, "real numbers", str(answer.dtype))


def _require_finite(subject: Subject, method: str, answer: Tensor, mode: str) -> None:
    if not answer.isfinite().all():
        worst = "nan" if answer.isnan().any() else "infinity"
        subject.fault(method, "finite values", f"{worst} in {mode}")


def _require_images(subject: Subject, method: str, answer: object, n: int) -> None:
    _answered(subject, method, answer, (n, *subject.image_shape), "(n, *image_shape)")
    if answer.min() < 0 or answer.max() > 1:
        subject.fault(method, "images in [0, 1]", f"values from {float(answer.min()):.3g} to {float(answer.max()):.3g}")


def _require_no_more_than_certain(subject: Subject, method: str, nats: Tensor) -> None:
    if subject.of_discrete and nats.max() > TOLERANCE:
        subject.fault(
            method,
            f"at most 0 nats, since {subject.model.observation} x has probabilities of at most 1",
            f"{float(nats.max()):.3g} nats",
        )


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree to rounding, relative to their largest value."""
    scale = max(float(one.detach().abs().max()), 1e-6) if one.numel() else 1.0
    return one.shape == other.shape and float((one - other).detach().abs().max()) <= TOLERANCE * scale


def _kind(answer: object) -> str:
    return f"{len(answer)} of them" if isinstance(answer, tuple | list) else shape_of(answer)
