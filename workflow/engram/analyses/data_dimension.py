"""How many dimensions does the data have at each training image, and are images where it has few the memorized ones?

The manifold memorization hypothesis (Ross et al. 2024) expects memorization driven by the data where their local dimension is low.
Estimators (engram.geometry.data_dimension) look at each image's nearest different training images, by Euclidean distance of
pixels; equal images count as one, and only `equal_images` knows of them. Where the data set knows the dimension of its images
(engram.datasets.manifolds), the estimates are held against it.
"""

import time
from collections.abc import Mapping

import numpy as np
import xarray as xr

from engram.analyses.inputs import Answer, Inputs
from engram.files import inputs
from engram.files.artifacts import TRAIN, variable
from engram.geometry import data_dimension as estimators
from engram.geometry.data_dimension import NEIGHBOURS, PATCH
from engram.geometry.nearest import Nearest, distinct, nearest_different
from engram.scores import intervals

ERROR = "_standard_error"
SCALES = (5, 10, 20, 50, 100)  # neighbours by which all images together have a dimension
COVERED = 1.96  # standard errors on either side of an estimate
# What each measure is, and how many neighbours it takes, by name.
MEASURES = {
    "lid_data": ("maximum likelihood", NEIGHBOURS),
    "lid_data_two_nn": ("TwoNN over the image and its neighbours", NEIGHBOURS),
    "lid_data_ess": ("expected simplex skewness", PATCH),
    "lid_data_tle": ("tight estimator", NEIGHBOURS),
    "lid_data_pca": ("principal components with 5 % of the largest variance", PATCH),
}
WITH_ERROR = ("lid_data", "lid_data_two_nn", "lid_data_ess")
COLUMNS = (*MEASURES, *(name + ERROR for name in WITH_ERROR))


def analyse(given: Inputs) -> Answer:
    """Every estimate at each scored image and its correlation with scores, and one for all images by the number of neighbours.

    Neighbours are sought among the training images; log p of one's own may score others, which are then among them.
    """
    dataset, scored = given.dataset, given.first["sample"].values
    rows = np.union1d(np.flatnonzero(dataset["split"].values == TRAIN), scored)
    images, place = dataset["images"].values[rows], np.searchsorted(rows, scored)
    started = time.perf_counter()
    nearest = nearest_different(images, PATCH)
    searching = time.perf_counter() - started
    found, seconds = {}, {}
    for ask in (by_distances, by_directions):
        started = time.perf_counter()
        answers = ask(images, nearest)
        found |= answers
        seconds |= dict.fromkeys(answers, searching + time.perf_counter() - started)
    undefined = np.full(len(rows), np.nan)
    columns = {name: found.get(name, undefined)[place] for name in COLUMNS}
    variables = _per_image(columns, equal_images(images)[place], given) | _of_all(nearest)
    variables |= _correlations(columns, given.scores)
    if "dimension" in dataset:
        variables |= _known(columns, dataset["dimension"].values[scored])
    settings = {"neighbours": NEIGHBOURS, "patch": PATCH, "images": len(rows)}
    return Answer(variables, settings, _of_all_by_two_nn(nearest), _lacking(nearest), seconds)


def by_distances(images: np.ndarray, nearest: Nearest) -> dict[str, np.ndarray]:
    """Values (n,) of the measures that look at distances to neighbours, and their standard errors; none where those are too few."""
    index, distance = (each[:, :NEIGHBOURS] for each in nearest)
    if distance.shape[1] < NEIGHBOURS:
        return {}
    of_image, over_neighbours = estimators.maximum_likelihood(distance), estimators.local_two_nn(distance, index)
    return {
        "lid_data": of_image.value,
        f"lid_data{ERROR}": of_image.standard_error,
        "lid_data_two_nn": over_neighbours.value,
        f"lid_data_two_nn{ERROR}": over_neighbours.standard_error,
    }


def by_directions(images: np.ndarray, nearest: Nearest) -> dict[str, np.ndarray]:
    """The same of the measures that look at where neighbours of `images` (n, pixels) lie, as far as there are enough."""
    if nearest.index.shape[1] < NEIGHBOURS:
        return {}
    parts, done = [], 0
    for gram in estimators.centred_grams(images, nearest.index):
        distance = nearest.distance[done : done + len(gram), :NEIGHBOURS]
        done += len(gram)
        parts.append({"lid_data_tle": estimators.tight(distance, gram[:, :NEIGHBOURS, :NEIGHBOURS])})
        if gram.shape[1] == PATCH:
            skewness = estimators.simplex_skewness(gram)
            parts[-1] |= {"lid_data_ess": skewness.value, f"lid_data_ess{ERROR}": skewness.standard_error}
            parts[-1] |= {"lid_data_pca": estimators.principal_components(gram).astype(float)}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def equal_images(images: np.ndarray) -> np.ndarray:
    """How many of `images` (n, pixels) equal each of them, itself included: (n,)."""
    place = distinct(images)[1]
    return np.bincount(place)[place]


def errors_at(dimension: float, columns: Mapping[str, np.ndarray], truth: np.ndarray) -> dict[str, np.ndarray]:
    """Of the images whose dimension it is, by measure: mean estimate, root mean square error, and share whose interval covers it.

    columns: the measures and standard errors (n,) by name; truth: (n,). NaN where there is no estimate or no standard error.
    """
    here = truth == dimension
    values = np.array([columns[name][here] for name in MEASURES])
    errors = np.array([columns.get(name + ERROR, np.full(len(truth), np.nan))[here] for name in MEASURES])
    covered = np.where(np.isnan(errors), np.nan, np.abs(values - dimension) <= COVERED * errors)
    return {
        "mean_estimate": values.mean(axis=1),
        "root_mean_square_error": np.sqrt(np.square(values - dimension).mean(axis=1)),
        "coverage": covered.mean(axis=1),
    }


def _per_image(columns: Mapping[str, np.ndarray], equal: np.ndarray, given: Inputs) -> dict[str, tuple]:
    meanings = {name: f"local dimension of the data by {how}" for name, (how, _) in MEASURES.items()}
    meanings |= {name + ERROR: f"standard error of {name}, of the sampling alone" for name in WITH_ERROR}
    return {
        "sample": given.first["sample"].variable,
        **{name: variable(("sample",), columns[name], "1", meanings[name], may_be_undefined=True) for name in COLUMNS},
        "equal_images": variable(("sample",), equal, "1", "training images equal to it, itself included"),
    }


def _of_all(nearest: Nearest) -> dict[str, tuple]:
    """One dimension for all images, by the number of neighbours that maximum likelihood looks at."""
    there = nearest.distance.shape[1]
    by_scale = [
        estimators.pooled(estimators.maximum_likelihood(nearest.distance[:, :k]).value) if k <= there else np.nan
        for k in SCALES
    ]
    meaning = "dimension of all images together, maximum likelihood with inverse pooling"
    return {
        "neighbours": variable(("neighbours",), SCALES, "1", "nearest different images that are looked at"),
        "pooled_dimension": variable(("neighbours",), by_scale, "1", meaning, may_be_undefined=True),
    }


def _of_all_by_two_nn(nearest: Nearest) -> dict[str, float]:
    """The dimension of all images together by TwoNN, in both forms; none of fewer than three different images."""
    if nearest.distance.shape[1] < 2:
        return {}
    return {
        "two_nn": estimators.two_nn(nearest.distance),
        "two_nn_maximum_likelihood": estimators.two_nn_maximum_likelihood(nearest.distance),
    }


def _correlations(columns: Mapping[str, np.ndarray], scores: Mapping[str, xr.Dataset]) -> dict[str, tuple]:
    score = [inputs.last(scored) for scored in scores.values()]
    correlations = [[intervals.spearman(columns[name], each) for each in score] for name in MEASURES]
    meaning = "Spearman's rank correlation of the dimension with the score"
    return {
        "measure": variable(("measure",), list(MEASURES), "1", "estimate of the local dimension"),
        "estimator": variable(("estimator",), list(scores), "1", "estimator of the memorization score"),
        **intervals.variables("spearman", correlations, meaning, ("measure", "estimator")),
    }


def _known(columns: Mapping[str, np.ndarray], truth: np.ndarray) -> dict[str, tuple]:
    """The known dimension of each image, and how the estimates at images of one dimension lie about it."""
    dimensions = np.unique(truth[~np.isnan(truth)])
    errors = [errors_at(dimension, columns, truth) for dimension in dimensions]
    meanings = {
        "mean_estimate": "mean estimate at images of this dimension",
        "root_mean_square_error": "root mean square difference of estimate and dimension",
        "coverage": f"share of images whose dimension is within {COVERED} standard errors of the estimate",
    }
    axes = ("known_dimension", "measure")
    return {
        "dimension": variable(("sample",), truth, "1", "known local dimension of the data", may_be_undefined=True),
        "known_dimension": variable(axes[:1], dimensions, "1", "dimension of some of the images"),
        "images": variable(axes[:1], [(truth == each).sum() for each in dimensions], "1", "images of this dimension"),
        **{
            name: variable(axes, [each[name] for each in errors], "1", meaning, may_be_undefined=True)
            for name, meaning in meanings.items()
        },
    }


def _lacking(nearest: Nearest) -> dict[str, str]:
    """The measures for which there are too few different images, and why."""
    there = nearest.distance.shape[1]
    return {
        name: f"needs {needed + 1} different training images, of which there are {there + 1}"
        for name, (_, needed) in MEASURES.items()
        if there < needed
    }
