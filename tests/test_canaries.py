"""Canaries judged: measures whose detection and dose response are known, and a density whose memorization of copies is."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
import yaml
from scipy.stats import mannwhitneyu

import oracles
import synthetic
from engram.analyses import canaries
from engram.analyses.canaries import Planted, detection, median, trend
from engram.datasets.canaries import KINDS, plant
from engram.datasets.image_set import from_source
from engram.designs.membership import design
from engram.figures.canaries import canaries as draw
from engram.files.artifacts import TEST, TRAIN
from engram.report import contents
from engram.scores import intervals

FEW = {"canaries_of": "pool", "doses": [1, 2, 4, 8], "copies": 8, "near_copies": 10, "outliers": 12, "noise": 9}


@pytest.fixture
def image_set(rng):
    """Canaries in 200 random images to train on, beside 30 to test with."""
    split = np.repeat([TRAIN, TEST], [200, 30])
    images = rng.integers(0, 256, (230, 36), dtype=np.uint8)
    pool = from_source(images.reshape(-1, 1, 6, 6), (1, 6, 6), np.full(230, -1), split, [], "a pool")
    return plant(pool, "mine", FEW, (1, "dataset", "mine"))


@pytest.fixture
def dataset(image_set):
    names = ("canary", "dose", "group")
    return xr.Dataset({name: ("sample", getattr(image_set, name)) for name in names})


def table(score, falls=(), **measures):
    """A table of measures of all training images, in the form of measures.h5."""
    values = {"score": score, **measures}
    told = {
        "falls": json.dumps({name: name in falls for name in measures}),
        "titles": json.dumps({name: name for name in measures}),
        "estimator": "corrected",
    }
    variables = {name: ("sample", np.asarray(value, dtype=float)) for name, value in values.items()}
    return xr.Dataset(variables, {"sample": np.arange(len(score))}, told)


def judged(dataset, score, **measures):
    answer = canaries.analyse(SimpleNamespace(dataset=dataset, measures=table(score, **measures)))
    return xr.Dataset(dict(answer.variables))


def test_versions_of_an_image_are_one_cluster_and_every_other_image_its_own():
    planted = Planted(np.full(6, "copy"), np.full(6, 1), np.array([7, -1, 3, 7, 7, -1]))
    names = {}
    assert [names.setdefault(each, len(names)) for each in planted.cluster] == [0, 1, 2, 0, 0, 3]
    assert planted.version.tolist() == [0, 0, 0, 1, 2, 0]
    assert planted.first[planted.cluster].tolist() == [0, 1, 2, 0, 0, 5]


def test_a_measure_equal_to_the_dose_finds_all_copies_and_rises_with_them(dataset, image_set):
    dose = image_set.dose[:-30].astype(float)
    found = judged(dataset, dose, turned=-dose, falls=("turned",), constant=np.zeros(len(dose)))
    for name in ("score", "turned"):
        of_measure = found.sel(measure=name)
        assert of_measure["area"].sel(kind="copy") == of_measure["area"].sel(kind="near copy") == 1
        assert of_measure["trend"].sel(copies="copy") == pytest.approx(1)
        # All ordinary images have dose 0, those planted have 1 at least.
        np.testing.assert_array_equal(of_measure["rank"].sel(copies="copy"), 1)
        assert np.isnan(of_measure["trend"].sel(copies="near copy"))  # of a single dose
        assert of_measure["rank"].sel(copies="near copy").values.tolist() == pytest.approx(
            [np.nan, 1, np.nan, np.nan], nan_ok=True
        )
    constant = found.sel(measure="constant")
    np.testing.assert_array_equal(constant["area"], 0.5)
    np.testing.assert_array_equal(constant["rank"].sel(copies="copy"), 0.5)
    assert np.isnan(constant["trend"]).all()
    assert found["dose"].values.tolist() == [1, 2, 4, 8]
    assert dict(zip(found["kind"].values, found["planted"].values, strict=True)) == {
        "copy": 24,
        "near copy": 10,
        "outlier": 12,
        "noise": 9,
    }


def test_a_copy_that_stands_there_once_is_no_canary_to_be_found(dataset, image_set):
    is_single = (image_set.canary[:-30] == "copy") & (image_set.dose[:-30] == 1)
    found = judged(dataset, np.where(is_single, 9.0, 0.0))
    np.testing.assert_array_equal(found["area"], 0.5)
    assert found["rank"].sel(copies="copy").values[0].tolist() == [1, 0.5, 0.5, 0.5]


def test_the_area_is_mann_whitney_s(dataset, image_set, rng):
    measure = rng.normal(size=len(image_set.canary) - 30) + (image_set.canary[:-30] == "noise")
    found = judged(dataset, measure)
    ordinary = measure[image_set.canary[:-30] == ""]
    for kind in KINDS:
        chosen = (image_set.canary[:-30] == kind) & ((kind != "copy") | (image_set.dose[:-30] > 1))
        statistic = mannwhitneyu(measure[chosen], ordinary).statistic
        expected = statistic / (chosen.sum() * len(ordinary))
        assert float(found["area"].sel(kind=kind, measure="score")) == pytest.approx(expected)


def test_intervals_of_a_random_measure_that_copies_share_hold_one_half_as_often_as_they_say(dataset, image_set, rng):
    """Copies of an image have one value: counted as images apart, the interval would be far too narrow."""
    planted = Planted.of(dataset, np.arange(len(image_set.canary) - 30))
    is_canary, inside = planted.to_be_found("copy"), []
    for _ in range(300):
        measure = rng.normal(size=planted.cluster.max() + 1)[planted.cluster]
        area = detection(measure, planted, is_canary)[0]
        inside.append(area.low <= 0.5 <= area.high)
    assert 0.90 < np.mean(inside) < 0.99


def test_images_without_a_value_are_left_out(dataset, image_set, rng):
    measure = rng.normal(size=len(image_set.canary) - 30)
    missing = rng.random(len(measure)) < 0.3
    missing |= image_set.canary[:-30] == "outlier"
    found = judged(dataset, np.where(missing, np.nan, measure), nothing=np.full(len(measure), np.nan))
    noise = (image_set.canary[:-30] == "noise") & ~missing
    ordinary = (image_set.canary[:-30] == "") & ~missing
    expected = (measure[noise][:, None] > measure[ordinary]).mean()
    assert float(found["area"].sel(kind="noise", measure="score")) == pytest.approx(expected)
    assert np.isnan(found["area"].sel(kind="outlier", measure="score"))
    assert np.isnan(found["area"].sel(measure="nothing")).all() and np.isnan(found["rank"].sel(measure="nothing")).all()


def test_a_median_s_interval_is_between_order_statistics():
    # Of 20 values, the binomial test at 5 % keeps medians between the 6th and the 15th: P(Bin(20, 1/2) <= 5) = 0.0207.
    assert median(np.arange(1.0, 21)) == pytest.approx((10.5, 6, 15))
    assert median(np.array([0.3]))[0] == 0.3 and np.isnan(median(np.array([0.3])).low)
    assert np.isnan(median(np.array([])).estimate)


def test_a_trend_is_over_planted_images_and_not_over_copies():
    kind, dose = np.array(["copy"] * 9), np.array([1, 1, 1, 2, 2, 4, 4, 4, 4])
    planted = Planted(kind, dose, np.array([-1, -1, -1, 0, 0, 1, 1, 1, 1]))
    measure = np.array([0.9, 0.1, 0.5, 0.1, 0.3, 5, np.nan, 0, 0.1])
    images = np.array([0.9, 0.1, 0.5, 0.2, 1.7])
    assert trend(measure, planted, "copy") == pytest.approx(intervals.spearman(np.array([1, 1, 1, 2, 4]), images))
    assert np.isnan(trend(measure, planted, "near copy").estimate)


def kernel_scores(image_set, groups, bandwidth):
    """M of every training image by kernel densities on complementary halves, and which model was trained on what."""
    train = image_set.split == TRAIN
    x = image_set.images[train] / 255
    settings = {"design": "half_split", "repeats": 6, "groups": groups}
    is_in = design(settings, image_set.split, image_set.group, 1, "x").in_training[:, train]
    log_px = oracles.log_px_of(oracles.kernel_density(bandwidth), x, is_in)
    return np.mean(log_px, axis=0, where=is_in) - np.mean(log_px, axis=0, where=~is_in), x, is_in


def test_held_out_together_copies_are_memorized_in_proportion_to_their_number(dataset, image_set):
    """With S the kernels of all others and c that of an image itself: M = mean_in log(k c + S) - mean_out log S."""
    bandwidth = 0.6
    score, x, is_in = kernel_scores(image_set, "together", bandwidth)
    exact = np.flatnonzero(np.isin(image_set.canary[:-30], ["copy"]))
    for i in exact:
        is_same = (x == x[i]).all(axis=1)
        kernels = np.exp(-((x - x[i]) ** 2).sum(axis=1) / (2 * bandwidth**2))
        others = is_in[:, ~is_same] @ kernels[~is_same]
        seen, size = is_in[:, i], is_in.sum(axis=1)
        inside = np.log((image_set.dose[i] + others) / size)[seen].mean()
        assert score[i] == pytest.approx(inside - np.log(others / size)[~seen].mean(), abs=1e-9)
    found = judged(dataset, score).sel(measure="score")
    rank = found["rank"].sel(copies="copy").values
    assert (np.diff(rank) >= 0).all() and rank[-1] > 0.95 and abs(rank[0] - 0.5) < 0.35
    assert found["trend_low"].sel(copies="copy") > 0.4 and found["area_low"].sel(kind="copy") > 0.7


def test_held_out_apart_copies_look_as_if_nothing_was_memorized(dataset, image_set):
    """Of two halves either has half of the copies, so that M = log(k/2 c + S) - log(k/2 c + S'), where c >> S."""
    bandwidth = 0.2
    score, _, _ = kernel_scores(image_set, "apart", bandwidth)
    is_copy = (image_set.canary[:-30] == "copy") & (image_set.dose[:-30] > 1)
    np.testing.assert_allclose(score[is_copy], 0, atol=1e-3)
    assert score[~is_copy & (image_set.dose[:-30] == 0)].min() > 1
    assert judged(dataset, score)["area"].sel(kind="copy", measure="score") == 0
    together, _, _ = kernel_scores(image_set, "together", bandwidth)
    assert together[is_copy].min() > 1


@pytest.mark.slow
def test_the_figure_shows_every_measure_that_has_values_and_the_score_first(tmp_path):
    read = synthetic.read(tmp_path)
    analysis, nothing = read.analyses["canaries"], "rho"
    for name in ("area", "area_low", "area_high"):
        analysis[name].loc[{"measure": nothing}] = np.nan
    areas, doses = draw(analysis, read.measures, read.dataset).axes[1:]
    titles = {"score": "score M"} | json.loads(read.measures.attrs["titles"])
    shown = [label.get_text() for label in areas.get_yticklabels()]
    with_values = analysis["measure"].values[np.isfinite(analysis["area"].values).any(axis=1)]
    assert shown[0] == "score M" and {*shown} == {titles[name] for name in with_values}
    assert titles[nothing] not in shown and 2 < len(shown) < len(titles)
    numbers = [text.get_text() for text in areas.texts]
    assert numbers[: analysis.sizes["kind"]] == [
        f"{value:.2f}" for value in analysis["area"].sel(measure="score").values
    ]
    assert doses.get_xlabel() == "times in the training set"


def test_only_experiments_with_canaries_are_judged_by_them():
    config = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())
    planted, plain = (contents.experiment(config, name) for name in ("digits_canaries", "quickstart"))
    assert {"canaries"} <= {*planted["analyses"]} & {*planted["figures"]}
    assert not {"canaries"} & ({*plain["analyses"]} | {*plain["figures"]})
    config["experiments"]["digits_canaries"]["analyses"] = ["neighbors"]
    assert "canaries" not in contents.experiment(config, "digits_canaries")["figures"]
    config["experiments"]["theirs"] = {
        "log_px": "a",
        "membership": {"in_training": "b"},
        "dataset": "digits_with_canaries",
    }
    assert "canaries" in contents.experiment(config, "theirs")["analyses"]
