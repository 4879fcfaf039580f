"""Why are images memorized, by the geometry of data and model, and does low dimension tell which ones are?

Labels follow the dimension of the data and that of the model, with their errors (engram.geometry.labels). Then the honest question:
a low dimension is worth computing where it ranks images by M, or finds the memorized ones, better than the distance to the five
nearest other images does, which needs no model. Where a data set says of which dimension it is at an image, labels are compared
with those that the known dimension gives.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from engram.analyses import baselines
from engram.analyses.agreement import detection
from engram.analyses.inputs import Answer, Inputs
from engram.conventions import FDR
from engram.files import inputs
from engram.files.artifacts import TRAIN, variable
from engram.geometry import labels
from engram.geometry.labels import LABELS, UNLABELLED, Dimensions, Labelled, label
from engram.randomness import generator
from engram.scores import intervals
from engram.scores.intervals import Interval

TO_BEAT = "distance_5nn"
EXACT = "lidl"  # the way to a model's dimension whose scale is that of the data's
# Equal images. Two may be alike by chance, from rounding: of 300 on a circle of 64 pixels one in twenty is.
REPEATED = 3
MEANING = {
    "lid_data": f"the dimension of the data, 0 where {REPEATED} or more images are equal",
    "lid_model": "the dimension of the model",
    "gap": "what the model lacks of the dimension that is expected of it",
    TO_BEAT: f"mean distance to the {baselines.NEIGHBOURS} nearest other training images",
}


def analyse(given: Inputs) -> Answer:
    """A label for each scored image, what the labels hold of each estimator's score, and what dimensions predict of it."""
    sample, dataset = given.first["sample"].values, given.dataset
    data = _of_data(given.analyses["data_dimension"], sample)
    model = _dimensions(given.analyses["model_dimension"], "lid_model", sample)
    is_absolute = _is_absolute(given.analyses["model_dimension"], dataset.sizes["pixel"])
    found = label(data, model, is_absolute)
    variables = {
        "sample": given.first["sample"].variable,
        "estimator": variable(("estimator",), list(given.scores), "1", "estimator of the memorization score"),
        **_of_images(data, model, found),
        **_of_labels(found.labels, given.scores),
        **_predictions(_predictors(data, model, found, dataset, sample), given),
    }
    if "dimension" in dataset and not np.isnan(dataset["dimension"].values[sample].astype(float)).all():
        known = dataset["dimension"].values[sample].astype(float)
        variables |= _against_known(known, data, model, found, is_absolute)
    summary = {
        "why_none": found.why_none,
        "comparison": "absolute" if is_absolute else "relative",
        "way": given.analyses["model_dimension"].attrs["way"],
        "without_error": int(((found.labels != UNLABELLED) & np.isnan(model.standard_error)).sum()),
    }
    return Answer(variables, _settings(), summary)


def _of_data(analysis: xr.Dataset, sample: np.ndarray) -> Dimensions:
    """By distances to different images; 0 where REPEATED of them are equal: the data then have a point of their own there."""
    found = _dimensions(analysis, "lid_data", sample)
    is_repeated = analysis["equal_images"].reindex(sample=sample).values >= REPEATED
    return Dimensions(*(np.where(is_repeated, 0.0, part) for part in found))


def _dimensions(analysis: xr.Dataset, name: str, sample: np.ndarray) -> Dimensions:
    """Of the scored images; NaN of one that the analysis does not hold."""
    both = (analysis[each].reindex(sample=sample).values for each in (name, f"{name}_standard_error"))
    return Dimensions(*(values.astype(float) for values in both))


def _is_absolute(model_dimension: xr.Dataset, pixels: int) -> bool:
    """Whether the model's dimension is exact, and may be as large as any."""
    return bool(model_dimension.attrs["way"] == EXACT and model_dimension.attrs["most"] == pixels)


def _of_images(data: Dimensions, model: Dimensions, found: Labelled) -> dict[str, tuple]:
    of_images = ("sample",)
    return {
        "cause": variable(of_images, found.labels, "1", "why the image is memorized; empty where it got no label"),
        "gap": variable(of_images, found.gap, "1", MEANING["gap"], may_be_undefined=True),
        "lid_data": variable(of_images, data.value, "1", MEANING["lid_data"], may_be_undefined=True),
        "lid_model": variable(of_images, model.value, "1", MEANING["lid_model"], may_be_undefined=True),
    }


def _of_labels(cause: np.ndarray, scores: Mapping[str, xr.Dataset]) -> dict[str, tuple]:
    """Of each label: its share of the images that have one, and of its images the share found at FDR 5 % and the median score."""
    labelled, of_label = int((cause != UNLABELLED).sum()), [cause == each for each in LABELS]
    found, middle = [], []
    for scored in scores.values():
        memorized, score = scored["q_value"].values <= FDR, inputs.last(scored)
        found.append([intervals.share(int((memorized & here).sum()), int(here.sum())) for here in of_label])
        middle.append([np.median(score[here]) if here.any() else np.nan for here in of_label])
    axes = ("estimator", "cause_of")
    share = [intervals.share(int(here.sum()), labelled) for here in of_label]
    return {
        "cause_of": variable(("cause_of",), list(LABELS), "1", "label"),
        "images": variable(("cause_of",), [int(here.sum()) for here in of_label], "1", "images with the label"),
        **intervals.variables("share", share, "share of the labelled images", ("cause_of",)),
        **intervals.variables("memorized", found, "share of the label's images that are memorized at FDR 5 %", axes),
        "median_score": variable(axes, middle, "nats", "median score of the label's images", may_be_undefined=True),
    }


def _predictors(
    data: Dimensions, model: Dimensions, found: Labelled, dataset: xr.Dataset, sample: np.ndarray
) -> dict[str, np.ndarray]:
    """What might tell which images are memorized, (n,) each, higher where it says so."""
    train = np.flatnonzero(dataset["split"].values == TRAIN)
    distance = baselines.distance_to_nearest(dataset["images"].values[train])[np.searchsorted(train, sample)]
    return {"lid_data": -data.value, "lid_model": -model.value, "gap": found.gap, TO_BEAT: distance}


def _predictions(predictors: Mapping[str, np.ndarray], given: Inputs) -> dict[str, tuple]:
    """Of every predictor: rank correlation with the score, area for images at FDR 5 %, and by how much they exceed TO_BEAT's."""
    correlation, gain, area, area_gain = found = [], [], [], []
    for values in predictors.values():
        there = ~np.isnan(values)
        of_scores = [
            _prediction(values[there], predictors[TO_BEAT][there], scored.isel(sample=there), given.seed)
            for scored in given.scores.values()
        ]
        for each, part in zip(found, zip(*of_scores, strict=True), strict=True):
            each.append(part)
    axes, turned = ("predictor", "estimator"), "turned so that higher says memorized"
    title = f"Spearman's rank correlation of the predictor with the score, {turned}"
    of_area = "area under the ROC curve for images at FDR 5 %"
    return {
        "predictor": variable(("predictor",), list(predictors), "1", f"dimensions, and {MEANING[TO_BEAT]}; {turned}"),
        **intervals.variables("spearman", correlation, title, axes),
        **intervals.variables("gain_over_5nn", gain, f"{title}, minus that of {TO_BEAT}", axes),
        **intervals.variables("area_memorized", area, of_area, axes),
        **intervals.variables("area_gain_over_5nn", area_gain, f"{of_area}, minus that of {TO_BEAT}", axes),
    }


def _prediction(values: np.ndarray, to_beat: np.ndarray, scored: xr.Dataset, seed: int) -> Sequence[Interval]:
    """Of one predictor and one estimator's scores, over images that have a value, (n,)."""
    score, memorized = inputs.last(scored), scored["q_value"].values <= FDR
    # The same resamples for both gains.
    one, same = (generator(seed, "geometry", "resamples") for _ in range(2))
    gain = intervals.spearman_gains([values], to_beat, score, one)[0]
    area_gain = intervals.area_gain(values, to_beat, memorized, same)
    return intervals.spearman(values, score), gain, detection(values, memorized), area_gain


def _against_known(
    known: np.ndarray, data: Dimensions, model: Dimensions, found: Labelled, is_absolute: bool
) -> dict[str, tuple]:
    """Labels against those that the known dimension (n,) gives in place of the data's, and dimensions where it is the same."""
    truth = label(Dimensions(known, np.zeros_like(known)), model, is_absolute).labels
    each = np.unique(known[~np.isnan(known)])
    of_known = {name: _medians(values, known, each) for name, values in (("data", data.value), ("model", model.value))}
    counts = [[int(((found.labels == ours) & (truth == theirs)).sum()) for theirs in LABELS] for ours in LABELS]
    return {
        "dimension": variable(("sample",), known, "1", "known dimension of the data", may_be_undefined=True),
        "known_cause": variable(("sample",), truth, "1", "label by the known dimension of the data"),
        "known_cause_of": variable(("known_cause_of",), list(LABELS), "1", "label by the known dimension of the data"),
        "confusion": variable(("cause_of", "known_cause_of"), counts, "1", "images by both labels"),
        "known_dimension": variable(("known_dimension",), each, "1", "known dimension of the data"),
        **{
            f"median_lid_{name}": variable(("known_dimension",), values, "1", f"median {MEANING[f'lid_{name}']}", True)
            for name, values in of_known.items()
        },
    }


def _medians(values: np.ndarray, known: np.ndarray, each: np.ndarray) -> list[float]:
    """Of the images of each known dimension that have a value; NaN where none has."""
    parts = [values[(known == one) & ~np.isnan(values)] for one in each]
    return [float(np.median(part)) if len(part) else np.nan for part in parts]


def _settings() -> dict[str, object]:
    """The thresholds of the labels, and the resamples."""
    names = ("LEAST_GAP", "GAP", "SPREADS", "GROUPS", "FEWEST", "ALIKE", "SMALL", "ERRORS", "VARIES")
    return {name.lower(): getattr(labels, name) for name in names} | {
        "repeated": REPEATED,
        "resamples": intervals.RESAMPLES,
        "fdr": FDR,
    }
