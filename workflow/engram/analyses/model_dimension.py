"""Of which dimension is what the full model learned, at each training image?

Where the model's images about a training image have fewer dimensions than the data, it adds mass that the data have not (Ross
et al. 2024). Each family of models has one way to the dimension (engram.analyses.ways_to_dimension), and dimensions by
different ways are on scales of their own.
"""

import math

import numpy as np

from engram.analyses import ways_to_dimension
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.judged_images import JudgedImages
from engram.analyses.ways_to_dimension import dimension_of, why_none
from engram.files.artifacts import AXES, TRAIN, variable
from engram.geometry.jacobian import visible

NONE = "dimension of the full model, for which it offers no way"


def analyse(given: Inputs) -> Answer:
    """The dimension at every scored image, its standard error, and the spectra or curves behind it."""
    rows, model = given.first["sample"].values, given.full_model(given.epoch)
    training = np.flatnonzero(given.dataset["split"].values == TRAIN)
    judged, trained = (JudgedImages.of(given.dataset, each, given.seed, "model dimension") for each in (rows, training))
    reason = why_none(model, len(rows), math.prod(judged.shape))
    settings = {"epoch": given.epoch} | _settings()
    sample = {"sample": variable(("sample",), rows, "1", AXES["sample"])}
    if reason:
        nothing = np.full(len(rows), np.nan)
        return Answer(sample | _columns(nothing, nothing, nothing, NONE), settings, {"way": ""}, {"lid_model": reason})
    found = dimension_of(model, judged, trained)
    reference = np.full(len(rows), np.nan) if found.reference is None else found.reference
    columns = _columns(*(part.numpy() for part in found.dimension), reference, found.meaning)
    summary = {"way": found.way, "most": found.most, "visible": visible(math.prod(judged.shape))}
    return Answer(sample | columns | found.further, settings, summary)


def _columns(value: np.ndarray, error: np.ndarray, reference: np.ndarray, meaning: str) -> dict[str, tuple]:
    of_images = ("sample",)
    return {
        "lid_model": variable(of_images, value, "1", meaning, may_be_undefined=True),
        "lid_model_standard_error": variable(
            of_images, error, "1", f"standard error: {meaning}", may_be_undefined=True
        ),
        "lid_reference": variable(
            of_images, reference, "1", "the same of the closed-form diffusion of the training images", True
        ),
    }


def _settings() -> dict[str, object]:
    """What the ways were fixed to."""
    names = ("DRAWS", "WIDTHS", "TIMES", "AT", "EXACT_UP_TO", "PROBES", "SAMPLED", "SAMPLES")
    values = {name.lower(): getattr(ways_to_dimension, name) for name in names}
    return {name: list(map(float, value)) if np.ndim(value) else value for name, value in values.items()}
