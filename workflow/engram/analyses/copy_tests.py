"""Does the full model emit copies of its training images, which ones, and how often?

Samples of the full model are held against all images that it was trained on. Test images in the samples' place say what no
copying looks like. Of each training image: engram.analyses.copying, and the density of engram.analyses.generalization_gap. Of
the whole set: the share of samples that are copies, authenticity, engram.analyses.data_copying, and the gap. Training images
connected by steps of at most NEAR grey levels (engram.analyses.duplicates) are copies of one another, and count as one wherever
a nearest *different* image is asked for. Test images that are copies of training images are left out.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from engram.analyses import copying, generalization_gap
from engram.analyses.copying import nearest_different
from engram.analyses.data_copying import FEWEST, DataCopying, cells_of, data_copying
from engram.analyses.duplicates import NEAR, groups_within, without_copies
from engram.analyses.features import Features, load
from engram.analyses.inputs import Answer, Inputs
from engram.analyses.neighbors import nearest
from engram.analyses.principal_axes import on_principal_axes
from engram.datasets.duplicates import groups
from engram.files import inputs
from engram.files.artifacts import TRAIN, variable
from engram.models.samples import sample
from engram.randomness import generator
from engram.scores import intervals
from engram.scores.intervals import Interval

SAMPLES_PER_IMAGE, MOST_SAMPLES = 10, 10_000
SHOWN = 7  # samples for the figure
NOT_DEFINED = Interval(np.nan, np.nan, np.nan)
PER_IMAGE = copying.PER_IMAGE | {
    "density_under_samples": "largest log density under normals about the samples, in nats per dimension",
}
OF_SET = {
    "share_of_copies": "share of samples that are copies",
    "share_of_copies_fresh": "share of test images that are copies by the same rule",
    "authenticity": "share of samples that are authentic",
    "authenticity_fresh": "share of test images that are authentic",
    "generalization_gap": "100 nats per dimension by which held-out images are likelier than training images under samples",
    "generalization_gap_fresh": "the same under half of the test images in the samples' place",
}


class Sets(NamedTuple):
    """Features (images, d) of training images, samples and fresh images, and the unit of copies of each training image, (n,)."""

    training: np.ndarray
    samples: np.ndarray
    fresh: np.ndarray
    unit: np.ndarray


class Found(NamedTuple):
    """What stands in the artifact: columns over all training images, numbers of the set, and ratios of samples and fresh images."""

    per_image: Mapping[str, np.ndarray]
    of_set: Mapping[str, Interval]
    data_copying: DataCopying
    ratio: np.ndarray
    ratio_fresh: np.ndarray
    shown: np.ndarray  # index of the samples to show
    training_of_shown: np.ndarray  # index of the training image beside each


def analyse(given: Inputs) -> Answer:
    """Copy tests of the full model at the last scored epoch, by 10 mean images for each training image, at most 10,000.

    All is lacking where features come from a file, which holds none of samples, and where no two training images, or no test
    image and the training images, differ.
    """
    dataset = given.dataset
    images, train = dataset["images"].values, dataset["split"].values == TRAIN
    features = load(given.features, len(images))
    near = groups(images, NEAR)
    unit = copying.units(groups_within(images, near, train)[train])
    number = min(SAMPLES_PER_IMAGE * len(unit), MOST_SAMPLES)
    fresh = without_copies(inputs.test_samples(dataset), near, train)
    left_out = len(inputs.test_samples(dataset)) - len(fresh)
    settings = {"epoch": given.epoch, "samples": number, "features": features.name, "near_distance": NEAR}
    summary = {"fresh_images": len(fresh), "test_images_left_out": left_out}
    if why_not := _why_not(features, unit, fresh):
        lacking, nothing = dict.fromkeys(PER_IMAGE, why_not), np.empty((0, images.shape[1]), np.uint8)
        return Answer(_variables(given, train, _nothing(len(unit)), nothing), settings, summary, lacking)
    started = time.perf_counter()
    pictures, of_samples = _drawn(given, features, number)
    of_training, of_fresh = (features.of_dataset(dataset, rows) for rows in (np.flatnonzero(train), fresh))
    drawing = time.perf_counter() - started
    found, seconds = _found(Sets(of_training, of_samples, of_fresh, unit), given)
    seconds = {name: drawing + taken for name, taken in seconds.items()}
    return Answer(_variables(given, train, found, pictures[found.shown]), settings, summary, seconds=seconds)


def _why_not(features: Features, unit: np.ndarray, fresh: np.ndarray) -> str:
    """Why there can be no copy tests; empty if there can."""
    if features.of_file is not None:
        return (
            f"features come from the file {features.name}, which has a row for each image of the data set and none for samples of "
            "a model; name a function, module:function"
        )
    if not unit.max():
        return "all training images are copies of one another, so that a sample is near to none alone"
    if not len(fresh):
        return "all test images are copies of training images, so that nothing fresh is left to compare with"
    return ""


def _drawn(given: Inputs, features: Features, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples as pictures, (samples, pixels) uint8, and their features, (samples, d)."""
    pictures, rows = [], []
    for part in sample(given.full_model(given.epoch), number, given.seed, "copy_tests", given.experiment):
        pictures.append((255 * part).round().byte().flatten(1).numpy())
        rows.append(features.of_images(part))
    return np.concatenate(pictures), np.concatenate(rows)


def _found(sets: Sets, given: Inputs) -> tuple[Found, dict[str, float]]:
    """All numbers, and the seconds that each column took."""
    started = time.perf_counter()
    of_samples = nearest_different(sets.samples, sets.training, sets.unit, copying.NEIGHBOURS + 1)
    of_fresh = nearest_different(sets.fresh, sets.training, sets.unit, 2)
    ratios = copying.sample_ratio(of_samples), copying.sample_ratio(of_fresh)
    per_image = copying.per_image(of_samples, *nearest(sets.training, sets.samples), sets.unit)
    seconds = dict.fromkeys(per_image, time.perf_counter() - started)
    started = time.perf_counter()
    training, samples, fresh = on_principal_axes(sets.training, sets.samples, sets.fresh)
    per_image["density_under_samples"], gap = _under_samples(training, samples, fresh)
    seconds["density_under_samples"] = time.perf_counter() - started
    rng = generator(given.seed, "copy tests", "cells", given.experiment)
    cells = cells_of(training, samples, fresh, rng=rng)
    test = data_copying((fresh, cells[2]), (samples, cells[1]), (training, cells[0]))
    of_set = copying.shares(of_samples, sets.training, sets.unit)
    of_set |= copying.shares(of_fresh, sets.training, sets.unit, "_fresh")
    of_set |= {"generalization_gap": gap, "generalization_gap_fresh": _gap_of_fresh(training, fresh, given)}
    shown = most_like_copies(ratios[0], sets.unit[of_samples.index[:, 0]])
    return Found(per_image, of_set, test, *ratios, shown, of_samples.index[shown, 0]), seconds


def _under_samples(training: np.ndarray, samples: np.ndarray, fresh: np.ndarray) -> tuple[np.ndarray, Interval]:
    """Largest log density of each training image under normals about all samples, and the gap; rows are on principal axes."""
    fresh, training, samples = generalization_gap.standardized(fresh, training, samples)
    mixture = generalization_gap.fitted(samples, training)
    densities = (generalization_gap.log_density(rows, mixture) for rows in (training, fresh))
    return generalization_gap.density_under_samples(training, mixture), generalization_gap.gap(*densities)


def _gap_of_fresh(training: np.ndarray, fresh: np.ndarray, given: Inputs) -> Interval:
    """The gap by half of the fresh images in the samples' place, the other half being held out; not defined for a single one."""
    order = generator(given.seed, "copy tests", "halves", given.experiment).permutation(len(fresh))
    half = len(fresh) // 2
    return _under_samples(training, fresh[order[:half]], fresh[order[half:]])[1] if half else NOT_DEFINED


def most_like_copies(ratio: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Index of the SHOWN samples of lowest ratio, lowest first, of each owner (samples,) at most one."""
    order = np.argsort(ratio, kind="stable")
    return order[np.sort(np.unique(owner[order], return_index=True)[1])][:SHOWN]


def _nothing(training: int) -> Found:
    nothing, none, count = np.empty(0), np.empty(0, np.int64), np.zeros(0, np.int64)
    test = DataCopying(np.nan, np.nan, np.nan, nothing, count, count)
    columns = {name: np.full(training, np.nan) for name in PER_IMAGE}
    return Found(columns, dict.fromkeys(OF_SET, NOT_DEFINED), test, nothing, nothing, none, none)


def _variables(given: Inputs, train: np.ndarray, found: Found, pictures: np.ndarray) -> dict[str, Any]:
    """`pictures`: (shown, pixels) uint8, the samples to show."""
    index, test = np.flatnonzero(train), found.data_copying
    position = np.searchsorted(index, given.first["sample"].values)
    variables = {"sample": given.first["sample"].variable}
    for name, meaning in PER_IMAGE.items():
        column = found.per_image[name][position].astype(np.float64)
        variables[name] = variable(("sample",), column, "1", meaning, may_be_undefined=True)
    for name, meaning in OF_SET.items():
        variables |= intervals.variables(name, found.of_set[name], meaning, axes=())
    of_ratio = "distance to the nearest training image over that to the nearest different one"
    return variables | {
        "ratio": variable(("generated",), found.ratio, "1", f"{of_ratio}, of each sample"),
        "ratio_fresh": variable(("test",), found.ratio_fresh, "1", f"{of_ratio}, of each test image"),
        "c_t": variable((), test.c_t, "1", "data-copying statistic C_T", True),
        "c_t_null_deviation": variable((), test.null_deviation, "1", "its deviation without copying", True),
        "c_t_p_value": variable((), test.p_value, "1", "p-value of so low a C_T without copying", True),
        "z_score": variable(
            ("cell",), test.z, "1", f"z-score of the cell; NaN with fewer than {FEWEST} of either", True
        ),
        "samples_in_cell": variable(("cell",), test.samples, "1", "samples in the cell"),
        "fresh_in_cell": variable(("cell",), test.fresh, "1", "test images in the cell"),
        "shown_sample": variable(("shown", "pixel"), pictures, "1", "samples nearest to being copies, grey levels"),
        "shown_training": variable(
            ("shown",), index[found.training_of_shown], "1", "index of the training image nearest to it"
        ),
        "shown_ratio": variable(("shown",), found.ratio[found.shown], "1", of_ratio),
    }
