"""What scores and tests are asked to compare, checked once: log p, who was trained on what, and the repeats."""

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from engram.arrays import first_place, labelled
from engram.errors import UserError

# Beyond this a number stands for an infinity (as numpy's finfo.min does), and differences would overflow.
LARGEST = 1e30

WHY_NOT = {
    "nan": "a missing or failed estimate: estimate it again, or leave out this model or this image",
    "-inf": "density 0, which has no log p to compare: estimate it again, or leave out this model or this image",
    "inf": "log p in nats is a finite number: leave out this model or this image",
}


@dataclass(frozen=True)
class Matrices:
    """log_px: (models, n) or (models, draws, n) float32 or float64, finite; in_training: (models, n) bool, both sides in
    every column; repeat: (models,) integers from 0, in the order of the labels given, or None; images: the columns' labels.
    """

    log_px: np.ndarray
    in_training: np.ndarray
    repeat: np.ndarray | None
    images: np.ndarray


def matrices(log_px: Any, in_training: Any, repeat: Any = None) -> Matrices:
    """The arguments that scores and tests share, checked. Raises UserError, naming model and image."""
    values, mask = labelled(log_px, "log_px"), labelled(in_training, "in_training")
    groups = None if repeat is None else labelled(repeat, "repeat", numeric=False)
    _require_shapes(values.values, mask.values, None if groups is None else groups.values)
    for name, other in (("in_training", mask), ("repeat", groups)):
        if other is not None:
            _require_same_labels(name, "models", other.models, values.models)
    _require_same_labels("in_training", "images", mask.images, values.images)
    images = next((labels for labels in (values.images, mask.images) if labels is not None), None)
    places = Places(values.models if values.models is not None else mask.models, images)
    return Matrices(
        _log_px(values.values, places),
        _in_training(mask.values, places),
        None if groups is None else _repeat(groups.values, places),
        np.arange(mask.values.shape[1]) if images is None else images,
    )


@dataclass(frozen=True)
class Places:
    """Words for a place in the matrices: "model 3, image 7", with the labels where there are any."""

    models: np.ndarray | None
    images: np.ndarray | None

    def model(self, position: int) -> str:
        return f"model {position}{_label(self.models, position)}"

    def image(self, position: int) -> str:
        return f"image {position}{_label(self.images, position)}"

    def value(self, place: tuple[int, ...]) -> str:
        draw = f"draw {place[1]}, " if len(place) == 3 else ""
        return f"{self.model(place[0])}, {draw}{self.image(place[-1])}"


def _label(labels: np.ndarray | None, position: int) -> str:
    return "" if labels is None or str(labels[position]) == str(position) else f" ({labels[position]})"


def _require_shapes(log_px: np.ndarray, in_training: np.ndarray, repeat: np.ndarray | None) -> None:
    if log_px.ndim not in (2, 3) or not log_px.size:
        raise UserError(f"log_px: has the shape {log_px.shape}, must be (models, images) or (models, draws, images)")
    models, images = log_px.shape[0], log_px.shape[-1]
    if repeat is not None and repeat.shape != (models,):
        if repeat.shape == (images,) and log_px.ndim == 2:
            both = "log_px.T and in_training.T" if in_training.shape == log_px.shape else "log_px.T"
            raise UserError(
                f"log_px: is {log_px.shape}, but repeat names {images} models: it is transposed; give {both}, a row a model"
            )
        raise UserError(f"repeat: has the shape {repeat.shape}, must be ({models},), one entry for each row of log_px")
    if in_training.shape != (models, images):
        transposed = in_training.shape == (images, models)
        remedy = "it is transposed; give in_training.T" if transposed else f"must be ({models}, {images})"
        raise UserError(f"in_training: has the shape {in_training.shape} beside log_px {log_px.shape}; {remedy}")


def _require_same_labels(name: str, axis: str, labels: np.ndarray | None, of_log_px: np.ndarray | None) -> None:
    """Labels must agree, but for those that only number a table's rows or columns beside real ones."""
    if labels is None or of_log_px is None or np.array_equal(labels, of_log_px):
        return
    numbered = any(np.array_equal(some, np.arange(len(some))) for some in (labels, of_log_px))
    if numbered and set(labels.tolist()) != set(of_log_px.tolist()):
        return
    place = next(i for i, pair in enumerate(zip(labels, of_log_px, strict=True)) if pair[0] != pair[1])
    raise UserError(
        f"{name}: its {axis} are not those of log_px, or in another order: number {place} is {labels[place]!s} and not "
        f"{of_log_px[place]!s}"
    )


def _log_px(values: np.ndarray, places: Places) -> np.ndarray:
    if values.dtype == bool:
        raise UserError("log_px: holds only true and false; log p in nats comes first, in_training second")
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    wrong = ~(abs(values) < LARGEST)  # true of NaN, too
    if wrong.any():
        place = first_place(wrong)
        value = float(values[place])
        kind = "nan" if np.isnan(value) else "-inf" if value < 0 else "inf"
        count = f" (and {wrong.sum() - 1} more)" if wrong.sum() > 1 else ""
        raise UserError(f"log_px: is {value:g} for {places.value(place)}{count}; {WHY_NOT[kind]}")
    return values


def _in_training(values: np.ndarray, places: Places) -> np.ndarray:
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        place = first_place(wrong)
        raise UserError(
            f"in_training: is {values[place]:g} for {places.value(place)}; must be 1 (or true) where the model was trained on "
            "the image, else 0"
        )
    mask = values.astype(bool)
    one_sided = mask.all(axis=0) | ~mask.any(axis=0)
    if one_sided.any():
        image = int(one_sided.argmax())
        models = "all models were" if mask[0, image] else "no model was"
        count = f" (and {one_sided.sum() - 1} more images)" if one_sided.sum() > 1 else ""
        raise UserError(
            f"in_training: {models} trained on {places.image(image)}{count}; a score compares models of both kinds: leave "
            "such images out"
        )
    return mask


def _repeat(values: np.ndarray, places: Places) -> np.ndarray:
    """Numbers from 0 in the order of the values; whatever names repeats must name every model's."""
    for model, value in enumerate(values.tolist()):
        if not isinstance(value, str | bytes | numbers.Real) or value != value:
            raise UserError(f"repeat: is {value!s} for {places.model(model)}; must be the number or name of its repeat")
    try:
        return np.unique(values, return_inverse=True)[1]
    except TypeError as error:
        raise UserError("repeat: mixes numbers and names; use one or the other") from error
