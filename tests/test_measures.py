"""The table of measures, and how far they agree with the score: hand cases, other programs, and what errors of the score do."""

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.text import Text
from sklearn.metrics import roc_auc_score

from engram import catalogue, config
from engram.analyses import measures
from engram.analyses.agreement import analyse, between, ceiling, detection, disagreements
from engram.analyses.inputs import Inputs
from engram.errors import UserError
from engram.figures.agreement import agreement as draw
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.report import contents
from engram.report import measures as told
from synthetic import answered

N = 60
DECLARED = {
    "nearness": {
        "distance": {"title": "distance", "uses": "images alone", "falls": True},
        "nothing": {"title": "nothing", "uses": "samples of one model", "falls": False},
    },
    "attack": {"beaten": {"title": "attack", "uses": "models in and out", "falls": False}},
}


@pytest.fixture
def score(rng):
    return rng.gamma(2, 3, N)


@pytest.fixture
def table(tmp_path, rng, score):
    """measures.h5 of two analyses: one knows all images but the first, in another order; one has values by two estimators."""
    sample = np.arange(100, 100 + N)
    per_epoch = {name: np.stack([score - 1, score]) for name in ("score", "log_p_in", "log_p_out")}
    per_epoch["standard_error"] = np.full((2, N), 0.5)
    variables = {name: variable(("epoch", "sample"), values, "nats", name) for name, values in per_epoch.items()}
    per_image = {
        "label": np.arange(N) % 3,
        "p_value": np.ones(N),
        "q_value": np.where(score > np.median(score), 0.01, 1),
    }
    variables |= {name: variable(("sample",), values, "1", name) for name, values in per_image.items()}
    variables |= {
        "sample": variable(("sample",), sample, "1", "image"),
        "epoch": variable(("epoch",), [5, 9], "1", "epoch"),
    }
    about = {"dataset_sha256": "0" * 64, "estimator": "mine", "split_half_reliability": 0.5}
    artifacts.write(tmp_path / "scores.h5", "scores", variables, about)
    order = rng.permutation(N - 1) + 1
    nearness = {
        "sample": variable(("sample",), sample[order], "1", "image"),
        "distance": variable(("sample",), -(score[order] ** 3), "1", "how near"),
        "nothing": variable(("sample",), np.full(N - 1, np.nan), "1", "nothing", True),
    }
    took = {
        "wall_seconds": 7.0,
        "seconds": json.dumps({"distance": 2.0}),
        "lacking": json.dumps({"nothing": "it has no samples"}),
    }
    artifacts.write(tmp_path / "nearness.h5", "nearness", nearness, took)
    attack = {
        "sample": variable(("sample",), sample, "1", "image"),
        "estimator": variable(("estimator",), ["other", "mine"], "1", "estimator"),
        "beaten": variable(("estimator", "sample"), [np.zeros(N), np.append(np.inf, score[1:])], "1", "beaten", True),
    }
    artifacts.write(tmp_path / "attack.h5", "attack", attack, {"wall_seconds": 3.0})
    analyses = {name: tmp_path / f"{name}.h5" for name in DECLARED}
    about = {"declared": DECLARED, "left_out": {"another": "it needs more"}, "experiment": "made_up", "seed": 1}
    measures.run(tmp_path / "measures.h5", tmp_path / "measures.csv", tmp_path / "scores.h5", analyses, **about)
    return artifacts.read(tmp_path / "measures.h5", "measures")


def test_the_table_has_a_row_for_each_scored_image_and_a_column_for_each_measure(table, tmp_path, score):
    rows = pd.read_csv(tmp_path / "measures.csv")
    of_the_score = ["score", "standard_error", "p_value", "q_value"]
    assert [*rows] == ["index", "split", "label", *of_the_score, "distance", "nothing", "beaten"]
    assert rows["index"].tolist() == table["sample"].values.tolist() == [*range(100, 100 + N)]
    assert table["score"].values == pytest.approx(score) and rows["score"].values == pytest.approx(score)
    assert np.isnan(table["distance"][0]) and table["distance"].values[1:] == pytest.approx(-(score[1:] ** 3))
    assert table["beaten"].values[1:] == pytest.approx(score[1:])  # of the estimator whose scores judge
    assert json.loads(table.attrs["seconds"]) == {"distance": 2.0, "nothing": 0.0, "beaten": 3.0}
    assert json.loads(table.attrs["lacking"]) == {"nothing": "it has no samples"}


def test_measures_are_turned_upwards_and_judged(table):
    found = answered(analyse(Inputs("made_up", 1, {}, measures=table)))
    assert found["spearman"].values == pytest.approx([1, np.nan, found["spearman"].values[2]], nan_ok=True)
    assert found["spearman"].values[2] > 0.8  # one infinite value ranks highest
    assert found["area_memorized"].values[0] == 1 and found["images"].values.tolist() == [N - 1, 0, N]
    false_alarm = found["disagreement"].sel(measure="beaten").values[1, 0]
    assert false_alarm == 100 and found["disagreement"].sel(measure="nothing").values.max() == -1


def test_where_samples_copy_images_measures_and_the_score_are_judged_by_that(table, score):
    """Two copied images, the highest and the third by the score: of the 2 x 58 pairs with another, it ranks one wrongly."""
    without = answered(analyse(Inputs("made_up", 1, {}, measures=table)))
    assert without.attrs["copied"] == 0 and told.headings(without)[-1] == "area, FDR 5 %"
    order = np.argsort(-score)
    copies = np.zeros(N)
    copies[order[[0, 2]]] = 3, 1
    counted = table.assign(recurrence=("sample", copies))
    found = answered(analyse(Inputs("made_up", 1, {}, measures=counted)))
    assert found.attrs["copied"] == 2 and told.headings(found)[-1] == "area, copied"
    assert float(found["area_copied_by_score"]) == pytest.approx(1 - 1 / (2 * (N - 2)))
    assert "copy 2 of the 60, and the score finds these with an area of 0.99" in told.sentences(found, counted)
    panels = draw(found, counted).axes
    assert [axes.get_xlabel().split("\n")[-1] for axes in panels][-1] == "copied by samples"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_detection_is_the_area_under_the_curve_of_another_program(rng, broken):
    memorized = rng.random(300) < 0.2
    measure = np.round(rng.normal(memorized, 1), 1)  # with ties
    measure[:5] = broken
    known = ~np.isnan(measure)
    expected = roc_auc_score(memorized[known], np.nan_to_num(measure[known], posinf=99))
    found = detection(measure, memorized)
    assert found.estimate == pytest.approx(expected) and found.low < expected < found.high
    assert np.isnan(detection(measure, np.zeros(300, dtype=bool)).estimate)


def test_the_ceiling_is_what_the_true_score_reaches(rng):
    """Scores from two halves of the models with independent errors: the truth itself correlates with their mean no further."""
    truth = rng.normal(size=200_000)
    halves = truth + rng.normal(scale=1.2, size=(2, len(truth)))
    split_half = np.corrcoef(halves)[0, 1]
    assert ceiling(split_half) == pytest.approx(np.corrcoef(truth, halves.mean(axis=0))[0, 1], abs=0.005)
    assert ceiling(1.0) == 1 and ceiling(-0.1) == 0 and np.isnan(ceiling(np.nan))


def test_pairs_of_measures_are_compared_where_both_are_known(rng):
    one = rng.normal(size=50)
    other = np.where(np.arange(50) < 10, np.nan, -one)
    found = between(np.array([one, other, np.full(50, np.nan)]))
    assert found[:2, :2] == pytest.approx(np.array([[1, -1], [-1, 1]])) and np.isnan(found[2]).all()


def test_images_that_agree_are_never_shown_as_disagreements():
    score = np.arange(6.0)
    assert disagreements(score, score, 2).tolist() == [[-1, -1], [-1, -1]]
    swapped = score[[5, 1, 2, 3, 4, 0]]
    assert disagreements(swapped, score, 2).tolist() == [[5, -1], [0, -1]]


def test_the_report_gives_numbers_reasons_and_the_ceiling(table):
    answer = analyse(Inputs("made_up", 1, {}, measures=table))
    analysis = answered(answer).assign_attrs(answer.summary)
    rows = [*told.rows(analysis, table)]
    assert [row["title"] for row in rows] == ["distance", "attack"] and rows[0]["missing"] == "1 without"
    assert rows[0]["numbers"][0].startswith("1.00 [") and rows[1]["seconds"] == "3.0 seconds"
    assert told.absent(table) == [("nothing", "it has no samples"), ("another", "it needs more")]
    assert "at most 0.82" in told.sentences(analysis, table) and "30 of 60 images" in told.sentences(analysis, table)
    texts = [text.get_text() for text in draw(analysis, table).findobj(Text)]
    assert {"distance", "attack", " ceiling"} <= {*texts} and "nothing" not in texts


def shipped() -> dict:
    return yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())


def test_without_an_analysis_that_has_measures_there_is_no_table_to_agree_with():
    settings = shipped()
    settings["experiments"]["quickstart"]["analyses"] = ["density_split"]
    described = contents.experiment(settings, "quickstart")
    assert described["measures"] is None and not {"agreement", "disagreement"} & {*described["figures"]}
    asked = copy.deepcopy(settings)
    asked["experiments"]["quickstart"]["analyses"].append("agreement")
    with pytest.raises(UserError, match=r"agreement.*a table of measures, and so an analysis that has any"):
        config.validate(asked)


def test_the_rule_reads_the_analyses_that_have_measures_and_the_unbiased_scores():
    described = contents.experiment(shipped(), "quickstart")
    read = contents.measures_read(described)
    assert read["scores"] == "results/quickstart/scores/corrected.h5" and {*read} >= {
        "neighbors",
        "membership_inference",
    }
    assert {"duplicates", "agreement"}.isdisjoint(read)
    chosen = shipped()
    chosen["experiments"]["quickstart"]["analyses"] = ["neighbors", "agreement"]
    left_out = contents.measures_left_out(contents.experiment(chosen, "quickstart"))
    assert left_out["attack: RMIA"] == "the experiment's `analyses` leaves out membership_inference"


def test_every_measure_is_a_column_of_its_analysis():
    names = [name for analysis in catalogue.ANALYSES.values() for name in analysis.measures]
    assert len(names) == len({*names})
    for analysis in catalogue.ANALYSES.values():
        assert {*analysis.measures} <= {*analysis.columns}
        assert {measure.uses for measure in analysis.measures.values()} <= {
            *(catalogue.IMAGES, catalogue.ONE_MODEL, catalogue.SAMPLES, catalogue.SHADOWS)
        }


def test_the_page_of_the_measures_names_every_column():
    page = (Path(__file__).parents[1] / "docs/measures.md").read_text()
    for analysis in catalogue.ANALYSES.values():
        for name in analysis.measures:
            assert f"`{name.removesuffix('_calibrated')}`" in page, name


def test_a_model_check_asks_for_samples_only_where_an_analysis_draws_them():
    drawing = contents.uses_of_model(shipped(), "quickstart")["analyses"]
    assert "neighbors" in drawing and "membership_inference" not in drawing


def test_a_figure_of_an_analysis_that_is_left_out_says_where_to_name_it():
    settings = shipped()
    settings["experiments"]["quickstart"]["analyses"] = ["neighbors"]
    described = contents.experiment(settings, "quickstart")
    with pytest.raises(UserError, match=r"quickstart\.analyses: leaves out predictors, which Cheap predictors needs"):
        contents.inputs(catalogue.FIGURES["predictors"], described)
    assert contents.inputs(catalogue.ANALYSES["predictors"], described)[
        "full_model"
    ]  # the analysis itself can be asked for
