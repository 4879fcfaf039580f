"""The analysis geometry: numbers against SciPy and scikit-learn, and labels of images whose geometry is known."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.text import Text
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from engram import catalogue
from engram.analyses import data_dimension, geometry, model_dimension, stage
from engram.analyses.geometry import analyse
from engram.catalogue import ANALYSES, FIGURES, analyses_of
from engram.datasets import manifolds
from engram.figures.geometry import geometry as draw
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.geometry.labels import DATA, LABELS, NOT_MEMORIZED, OVERFITTING
from engram.models import build
from engram.models.observations import draw_fixed
from engram.report import contents
from engram.scores import intervals
from synthetic import answered, experiment, given

SHAPE, N = (1, 8, 8), 300

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return experiment(tmp_path_factory.mktemp("experiment"), n=N, test=20)


def dimensions(name, value, error=0.0, **attributes):
    """An artifact of the dimension of the data or of the model."""
    values = {name: value, f"{name}_standard_error": np.full(len(value), error), "equal_images": np.ones(len(value))}
    columns = {key: ("sample", np.asarray(each, dtype=float)) for key, each in values.items()}
    return xr.Dataset(columns, coords={"sample": np.arange(len(value))}, attrs=attributes)


@pytest.fixture
def asked(paths, rng):
    """A model whose dimension is ten times the data's, but for ten images that lack half, and five whose data are one point."""
    data = rng.uniform(5, 9, N)
    model = 10 * data + rng.normal(0, 1, N)
    model[:10] /= 2
    data[10:15] = 0.2
    return dataclasses.replace(
        given(paths),
        analyses={
            "data_dimension": dimensions("lid_data", data),
            "model_dimension": dimensions("lid_model", model, 0.1, way="flipd", most=64),
        },
    )


def test_labels_shares_and_what_is_found_of_each(asked):
    answer, found = analyse(asked), answered(analyse(asked))
    assert (found["cause"][:10] == OVERFITTING).all() and (found["cause"][10:15] == DATA).all()
    assert (found["cause"][15:] == NOT_MEMORIZED).mean() > 0.98
    assert found["images"].sum() == N and float(found["share"].sel(cause_of=DATA)) == pytest.approx(5 / N)
    memorized = asked.first["q_value"].values <= 0.05
    here = found["cause"].values == OVERFITTING
    of_first = found.sel(cause_of=OVERFITTING).isel(estimator=0)
    assert float(of_first["memorized"]) == pytest.approx(memorized[here].mean())
    assert float(of_first["median_score"]) == np.median(asked.first["score"][-1].values[here])
    assert dict(answer.summary) == {"why_none": "", "comparison": "relative", "way": "flipd", "without_error": 0}


def test_labels_without_an_error_of_the_model_are_counted(asked):
    model = asked.analyses["model_dimension"].copy(deep=True)
    model["lid_model_standard_error"][:7] = np.nan
    answer = analyse(dataclasses.replace(asked, analyses=asked.analyses | {"model_dimension": model}))
    assert answer.summary["without_error"] == 7
    drawn = draw(answered(answer).assign_attrs(answer.summary), asked.scores, asked.dataset)
    assert "of 7 the model's error is unknown" in texts(drawn)


def test_labels_by_the_known_dimension_do_not_cut_ties(asked, rng):
    """Known dimensions 1, 2 and 5, a model right to 0.05, and data right to a tenth: all not memorized, by the known one, too."""
    known = np.repeat([1.0, 2.0, 5.0], N // 3)
    of_data = dimensions("lid_data", known + rng.normal(0, 0.1, N))
    of_model = dimensions("lid_model", known + rng.normal(0, 0.05, N), 0.0, way="flipd", most=64)
    dataset = asked.dataset.copy(deep=True)
    dataset["dimension"] = "sample", np.append(known, np.full(dataset.sizes["sample"] - N, np.nan))
    analyses = {"data_dimension": of_data, "model_dimension": of_model}
    found = answered(analyse(dataclasses.replace(asked, dataset=dataset, analyses=analyses)))
    assert (found["known_cause"] == NOT_MEMORIZED).all()


def test_predictions_are_scipys_and_scikit_learns(asked):
    found = answered(analyse(asked))
    for estimator, scored in asked.scores.items():
        score, memorized = scored["score"][-1].values, scored["q_value"].values <= 0.05
        for name in ("lid_data", "lid_model", "gap"):
            values = found["gap"].values if name == "gap" else -found[name].values
            at = found.sel(predictor=name, estimator=estimator)
            rank = spearmanr(values, score).statistic
            assert float(at["spearman"]) == pytest.approx(rank)
            area = roc_auc_score(memorized, values)
            assert float(at["area_memorized"]) == pytest.approx(area)
            of_distance = found.sel(predictor="distance_5nn", estimator=estimator)["area_memorized"]
            assert float(at["area_gain_over_5nn"]) == pytest.approx(area - float(of_distance))
            to_beat = found.sel(predictor="distance_5nn", estimator=estimator)["spearman"]
            assert float(at["gain_over_5nn"]) == pytest.approx(rank - float(to_beat))
        of_itself = found.sel(predictor="distance_5nn", estimator=estimator)
        assert float(of_itself["gain_over_5nn"]) == 0
        assert intervals.read(of_itself, "area_gain_over_5nn") == (0, 0, 0)


def test_the_gain_in_area_by_hand_and_its_interval_by_scikit_learn(rng):
    """Of four pairs a has 3 the right way round, and b a tie and two: 0.75 - 0.625."""
    is_found = np.array([True, False, True, False])
    a, b = np.array([4.0, 3, 2, 1]), np.array([4.0, 2, 2, 3])
    assert intervals.area_gain(a, b, is_found, rng).estimate == 0.125
    is_found = rng.random(60) < 0.3
    a, b = is_found + rng.normal(size=60).round(1), rng.normal(size=60).round(1)
    found, again, gains = intervals.area_gain(a, b, is_found, np.random.default_rng(1)), np.random.default_rng(1), []
    for _ in range(intervals.RESAMPLES):
        seen = np.repeat(np.arange(60), again.multinomial(60, np.full(60, 1 / 60)))
        gains.append(roc_auc_score(is_found[seen], a[seen]) - roc_auc_score(is_found[seen], b[seen]))
    expected = roc_auc_score(is_found, a) - roc_auc_score(is_found, b), *np.quantile(gains, [0.025, 0.975])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_gain_in_area_needs_images_of_both_kinds(rng):
    """Of resamples of three images a third have none of the single one that is found."""
    a, is_found = np.array([3.0, 2, 1]), np.array([True, False, False])
    assert intervals.area_gain(a, -a, is_found, rng) == (1, 1, 1)
    assert np.isnan(intervals.area_gain(a, -a, ~is_found | is_found, rng)).all()
    assert np.isnan(intervals.area_gain(a, -a, is_found & ~is_found, rng)).all()


def test_a_low_dimension_that_tells_the_score_is_said_to(asked):
    """The data's dimension falls with the score: the correlation is 1, and exceeds that of the distance."""
    score = asked.first["score"][-1].values
    told = dimensions("lid_data", 10 - np.argsort(np.argsort(score)) / N)
    found = answered(analyse(dataclasses.replace(asked, analyses=asked.analyses | {"data_dimension": told})))
    at = found.sel(predictor="lid_data", estimator=next(iter(asked.scores)))
    assert float(at["spearman"]) == pytest.approx(1) and float(at["gain_over_5nn_low"]) > 0.5


def test_an_image_with_several_equals_is_a_point_of_the_data(asked):
    data = asked.analyses["data_dimension"].copy(deep=True)
    data["equal_images"][20:23], data["equal_images"][23:25] = 3, 2
    found = answered(analyse(dataclasses.replace(asked, analyses=asked.analyses | {"data_dimension": data})))
    assert not found["lid_data"][20:23].any() and (found["cause"][20:23] == DATA).all()
    assert found["lid_data"][23:25].all()


def test_a_model_without_a_dimension_leaves_all_without_a_label(asked):
    none = dimensions("lid_model", np.full(N, np.nan), np.nan, way="")
    found_of = dataclasses.replace(asked, analyses=asked.analyses | {"model_dimension": none})
    answer = analyse(found_of)
    found = answered(answer)
    assert {*found["cause"].values} == {""} and "both dimensions" in answer.summary["why_none"]
    assert np.isnan(found["spearman"].sel(predictor="lid_model")).all()
    assert np.isfinite(found["spearman"].sel(predictor="lid_data")).all()
    drawn = draw(found.assign_attrs(answer.summary), asked.scores, asked.dataset)
    assert "No image is labelled" in texts(drawn)


def test_where_the_rank_hardly_varies_the_figure_says_so(asked):
    ranks = dimensions("lid_model", np.full(N, 16.0), way="jacobian", most=16)
    answer = analyse(dataclasses.replace(asked, analyses=asked.analyses | {"model_dimension": ranks}))
    drawn = draw(answered(answer).assign_attrs(answer.summary), asked.scores, asked.dataset)
    assert "hardly varies" in answer.summary["why_none"] and "hardly varies" in texts(drawn)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_comparison_is_absolute_only_where_the_models_dimension_is_exact_and_not_capped():
    of = {
        "exact": ("lidl", 64),
        "of few axes": ("lidl", 3),
        "of a network": ("flipd", 64),
        "of a decoder": ("jacobian", 64),
    }
    found = {
        name: geometry._is_absolute(xr.Dataset(attrs={"way": way, "most": most}), 64)
        for name, (way, most) in of.items()
    }
    assert found == {name: name == "exact" for name in of}


# A circle, a point far from it, and another that stands there five times; a kernel density of it.


def patterns(count):
    """Orthogonal patterns of 64 pixels, of root mean square 1; not of signs, whose circle would have few different images."""
    return 8 * np.linalg.qr(np.random.default_rng(1).normal(size=(64, count)))[0].T


@pytest.fixture(scope="module")
def circle(paths):
    """What an analysis is given of it: 294 images on the circle, one alone, and five copies, whose dimension is 0."""
    rng, (one, two, three, four) = np.random.default_rng(0), patterns(4)
    angle = rng.uniform(0, 2 * np.pi, (N - 6, 1))
    on_it = 128 + 35 * (np.cos(angle) * one + np.sin(angle) * two)
    images = np.concatenate([on_it, [128 + 45 * three], np.tile(128 + 45 * four, (5, 1))]).round().astype(np.uint8)
    asked = given(paths)
    dataset = asked.dataset.copy(deep=True)
    dataset["images"][:N] = images
    dimension = np.concatenate([np.ones(N - 6), [np.nan], np.zeros(5), np.full(20, np.nan)])
    dataset["dimension"] = "sample", dimension
    return dataclasses.replace(asked, dataset=dataset)


def labelled(circle, bandwidth):
    """Artifacts of all three analyses, each as the next is given it."""
    rows, dataset = circle.first["sample"].values, circle.dataset
    shape, images = tuple(dataset.attrs["image_shape"]), torch.from_numpy(dataset["images"].values[rows])
    x = draw_fixed(images, rows, "logit", circle.seed, dataset.attrs["dataset"], 0).reshape(-1, *shape)
    model = build("kernel_density", shape, bandwidth=bandwidth)
    model.fit(x)
    asked = dataclasses.replace(circle, full_model=lambda epoch: model)
    before = {name: module.analyse(asked) for name, module in BEFORE.items()}
    analyses = {name: answered(each).assign_attrs(each.summary) for name, each in before.items()}
    answer = analyse(dataclasses.replace(asked, analyses=analyses))
    return answered(answer).assign_attrs(answer.summary)


BEFORE = {"data_dimension": data_dimension, "model_dimension": model_dimension}


def test_a_kernel_density_that_generalizes_memorizes_the_lonely_point_by_overfitting_and_the_copies_for_the_data(
    circle,
):
    found = labelled(circle, bandwidth=0.4)
    assert found.attrs["comparison"] == "absolute"
    assert found["cause"][N - 6] == OVERFITTING
    assert (found["cause"][N - 5 :] == DATA).all()
    wrong = (found["cause"][: N - 6] != NOT_MEMORIZED).mean()
    assert wrong < 0.03
    # By the known dimension there is no error on the circle at all.
    assert (found["known_cause"][: N - 6] == NOT_MEMORIZED).all() and (found["known_cause"][N - 5 :] == DATA).all()
    both = found["confusion"].sel(cause_of=NOT_MEMORIZED, known_cause_of=NOT_MEMORIZED)
    assert int(both) == (found["cause"][: N - 6] == NOT_MEMORIZED).sum()
    assert found["known_dimension"].values.tolist() == [0, 1]
    assert found["median_lid_data"].values == pytest.approx([0, 1], abs=0.1)
    assert found["median_lid_model"].values == pytest.approx([0, 1], abs=0.1)


def test_a_kernel_density_that_copies_has_memorized_the_circle_by_overfitting(circle):
    found = labelled(circle, bandwidth=0.01)
    assert (found["cause"][: N - 6] == OVERFITTING).mean() > 0.97
    drawn = draw(found, circle.scores, circle.dataset)
    assert all(each in texts(drawn).replace("\n", " ") for each in (f"{OVERFITTING}: ", "as by the known dimension"))


@pytest.mark.slow
@pytest.mark.parametrize(("bandwidth", "right"), [(0.05, OVERFITTING), (0.5, NOT_MEMORIZED)])
def test_error_rates_on_a_circle_of_the_workflow(paths, bandwidth, right):
    """docs/geometry.md: 1,000 images on a circle of 16 x 16 pixels, and ten copies of a point."""
    definition = {"manifold": "circle_with_point", "train": 1010, "test": 10}
    images = manifolds.load("circle", definition, (1, "dataset", "m"))
    columns = {"images": images.images.reshape(len(images.images), -1), "dimension": images.dimension}
    dataset = xr.Dataset(
        {name: (("sample", "pixel")[: values.ndim], values) for name, values in columns.items()}
        | {"label": ("sample", images.labels), "split": ("sample", images.split)},
        attrs={"image_shape": [1, 16, 16], "dataset": "m"},
    )
    scored = xr.Dataset(
        {"score": (("epoch", "sample"), np.arange(1010.0)[None]), "q_value": ("sample", np.ones(1010))},
        coords={"sample": np.arange(1010), "epoch": [1]},
    )
    asked = dataclasses.replace(given(paths), dataset=dataset, scores={"corrected": scored})
    found = labelled(asked, bandwidth)
    of_circle = found["dimension"] == 1
    assert (found["cause"][~of_circle] == DATA).all()
    assert (found["cause"][of_circle] == right).mean() > 0.99


# In the workflow.


def test_an_analysis_reads_others(paths, asked, tmp_path, monkeypatch):
    files = {what: paths[what] for what in ("dataset",)} | {"scores": [*paths["scores"].values()]}
    for name, analysis in asked.analyses.items():
        path = files[name] = tmp_path / f"{name}.h5"
        columns = {key: variable(("sample",), each.values, "1", "dimension") for key, each in analysis.items()}
        columns["sample"] = variable(("sample",), np.arange(N), "1", "image")
        artifacts.write(path, name, columns, analysis.attrs | {"dataset_sha256": "0" * 64})
    stage.run("geometry", files, [*paths["scores"]], tmp_path / "geometry.h5", "synthetic", 1)
    written = artifacts.read(tmp_path / "geometry.h5", "geometry")
    np.testing.assert_allclose(written["gap"], answered(analyse(asked))["gap"])
    assert written["cause"].values.tolist() == answered(analyse(asked))["cause"].values.tolist()
    assert json.loads(written.attrs["values"])["small"] == 0.5 and [*written["cause_of"].values] == [*LABELS]


def test_what_is_not_of_the_experiment_itself_is_another_analysis():
    """The stage has a list of its own, since what jobs compute with must not hang on the catalogue."""
    assert {*stage.OF_EXPERIMENT} == {*catalogue.READABLE}


def test_an_experiment_has_geometry_if_it_has_both_dimensions():
    estimators = {"corrected": {"statistic": "mean_log"}}
    every, given_log_px = analyses_of(estimators), catalogue.EVERYTHING - {"full_model", "models"}
    assert "geometry" in every
    assert "geometry" not in analyses_of(estimators, given_log_px)
    assert "geometry" not in analyses_of(estimators, chosen=["geometry", "data_dimension"])
    assert "geometry" in analyses_of(estimators, chosen=["geometry", "data_dimension", "model_dimension"])
    order = [*ANALYSES]
    for name, analysis in ANALYSES.items():
        assert all(order.index(read) < order.index(name) for read in analysis.reads if read in ANALYSES)
    assert {"model_dimension", "geometry"} <= {*FIGURES}


def test_what_geometry_reads_is_named_by_the_report(paths):
    described = dict(paths) | {
        "estimators": {"corrected": {"statistic": "mean_log"}},
        "analyses": {name: f"{name}.h5" for name in ("data_dimension", "model_dimension")},
        "settings": {},
        "has": [],
    }
    files = contents.inputs(ANALYSES["geometry"], described | {"scores": {"corrected": "corrected.h5"}})
    assert files["model_dimension"] == "model_dimension.h5" and files["scores"] == ["corrected.h5"]
