"""Learning and forgetting, by hand, by loops, and on log p whose course is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.text import Text
from scipy.stats import t

from engram import config
from engram.analyses import stage
from engram.analyses.learning import above_limit, first_learned, forgetting_events, mean_over
from engram.catalogue import ANALYSES, FIGURES
from engram.designs.membership import design
from engram.errors import UserError
from engram.figures.dynamics import dynamics as draw
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.report import contents


def test_the_limit_is_the_prediction_limit_of_the_other_out_models(rng):
    is_out = rng.random((9, 40)) < 0.5
    is_out[:, :2] = False  # no out model, and one
    is_out[0, 1] = True
    values = rng.normal(-90, 15, 40) + rng.normal(0, rng.uniform(0.1, 5, 40), (9, 40))
    found = above_limit(values, is_out)
    for model, image in np.ndindex(9, 40):
        others = np.delete(values[:, image], model)[np.delete(is_out[:, image], model)]
        if len(others) < 2:
            assert np.isnan(found[model, image])
            continue
        limit = others.mean() + t.ppf(0.95, len(others) - 1) * others.std(ddof=1) * np.sqrt(1 + 1 / len(others))
        assert found[model, image] == pytest.approx(values[model, image] - limit, abs=1e-9)


@pytest.mark.parametrize("count", [3, 4, 10])
def test_without_memorization_five_percent_count_as_learned_whatever_the_number_of_out_models(rng, count):
    is_out = np.arange(count + 2)[:, None] < count + np.zeros((1, 20_000), dtype=int)
    values = rng.normal(-90, 15, 20_000) + rng.normal(0, rng.uniform(0.1, 5, 20_000), is_out.shape)
    learned = above_limit(values, is_out) > 0
    for side in (learned[:count], learned[count:]):
        assert side.mean() == pytest.approx(0.05, abs=0.006)  # four standard errors, were an image's models independent


def test_how_easy_an_image_is_and_how_far_training_has_come_change_nothing(rng):
    is_out = rng.random((10, 30)) < 0.4
    values = rng.normal(0, 1, (10, 30))
    shifted = 3 * values + rng.normal(-90, 15, 30) + 40
    np.testing.assert_allclose(above_limit(shifted, is_out), 3 * above_limit(values, is_out), atol=1e-10)


def test_models_that_agree_to_the_last_bit_but_one_have_learned_nothing():
    is_out, level = np.arange(6)[:, None] < np.full(5, 3), np.float32(-90.3)
    values = np.full((6, 5), level)
    values[4] = np.nextafter(level, np.float32(0))
    assert not (above_limit(values.astype(np.float64), is_out) > 0).any()


COURSE = np.array([0, 1, 0, 1, 1, 0], dtype=bool)


def test_forgetting_events_are_those_of_toneva_et_al():
    """Their own program on 0, 1, 0, 1, 1, 0: forgotten at the third and the sixth presentation; never learned: all of them."""
    lost = np.array([1, 1, 0, 0, 0, 0], dtype=bool)
    courses = np.stack([COURSE, ~COURSE, np.zeros(6, bool), np.ones(6, bool), lost, ~lost], axis=1)
    assert forgetting_events(courses[:, None])[0].tolist() == [2, 2, 6, 0, 1, 0]


def test_an_image_is_first_learned_when_half_of_its_models_had_learned_it():
    epochs, never, always = np.array([5, 10, 15, 20, 25, 30]), np.zeros(6, bool), np.ones(6, bool)
    learned = np.stack(
        [
            np.stack([COURSE, never, always], axis=1),  # models of one image
            np.stack([~COURSE, never, never], axis=1),
            np.stack([np.roll(COURSE, 2), np.roll(COURSE, 1), never], axis=1),
            np.stack([always, always, always], axis=1),
        ],
        axis=2,
    )
    is_in = np.ones((3, 4), dtype=bool)
    assert first_learned(learned, is_in, epochs).tolist() == [10, np.inf, 15, 5]
    is_in[:, 3], is_in[1:, 1] = False, False
    expected = [10, 5, 15, np.nan]
    np.testing.assert_array_equal(first_learned(learned, is_in, epochs), expected)


def test_a_mean_is_over_the_models_named_and_undefined_over_none():
    values, models = np.array([[1.0, np.nan], [5, 2], [np.inf, 2]]), np.array([[1, 0], [1, 0], [0, 0]], dtype=bool)
    np.testing.assert_array_equal(mean_over(values, models), [3, np.nan])


EPOCHS, N = [10, 20, 30, 40], 100
KINDS = {"never": 0, "early": 1, "late": 2, "forgotten": 3}  # image i is of kind i % 4


def course(in_training, rng, folder, estimators=("mine",)):
    """Log p of images, which models trained on them never learn, learn early or late, or learn and forget; its files' paths."""
    n = in_training.shape[1]
    gain = np.array([[0, 30, 0, 30], [0, 30, 0, 30], [0, 30, 30, 0], [0, 30, 30, 0]], dtype=float)[:, np.arange(n) % 4]
    trend = np.array([0, 40, 50, 45])[:, None, None]
    log_px = rng.normal(-90, 15, n) + trend + rng.normal(0, 1, (4, *in_training.shape)) + gain[:, None] * in_training
    paths = []
    for estimator in estimators:
        for number, epoch in enumerate(EPOCHS):
            variables = {"log_px": variable(("model", "draw", "sample"), log_px[number][:, None], "nats", "log p")}
            for name, values in (
                ("repeat", np.arange(len(in_training)) // 2),
                ("fold", np.arange(len(in_training)) % 2),
            ):
                variables[name] = variable(("model",), values, "1", name)
            paths.append(folder / f"{estimator}-{epoch}.h5")
            says = {"estimator": estimator, "values": json.dumps({"epoch": epoch})}
            artifacts.write(paths[-1], "likelihood", variables, says)
    return log_px, paths


def analysed(folder, rng, repeats, estimators=("mine",)):
    """The artifact of half splits, log p (epochs, models, images), and the members."""
    split = np.repeat([0, 1], [N, 8])
    members = design({"design": "half_split", "repeats": repeats}, split, np.full(N + 8, -1), 1, "e")
    log_px, likelihoods = course(members.in_training, rng, folder, estimators)
    paths = {"membership": folder / "membership.h5", "likelihoods": likelihoods, "scores": []}
    says = {"dataset_sha256": "0" * 64}
    artifacts.write(paths["membership"], "membership", members.variables(split, split), says)
    for estimator in estimators:
        names = ("score", "log_p_in", "log_p_out", "standard_error")
        values = np.tile(np.arange(N), (4, 1)).astype(float)
        variables = {name: variable(("epoch", "sample"), values, "nats", name) for name in names}
        variables |= {name: variable(("sample",), np.ones(N), "1", name) for name in ("label", "p_value", "q_value")}
        variables["epoch"] = variable(("epoch",), EPOCHS, "1", "epoch")
        paths["scores"].append(folder / f"{estimator}.h5")
        artifacts.write(paths["scores"][-1], "scores", variables, says)
    stage.run("dynamics", paths, estimators, folder / "analysis.h5", "made_up", 1)
    scores = {name: artifacts.read(folder / f"{name}.h5", "scores") for name in estimators}
    return artifacts.read(folder / "analysis.h5", "dynamics"), log_px, members, scores


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    rng = np.random.default_rng(7)
    return analysed(tmp_path_factory.mktemp("made"), rng, repeats=5, estimators=("mine", "theirs"))


def of_kind(found, name, kind):
    return found[name].sel(estimator="mine").values[KINDS[kind] :: 4]


def test_each_course_is_found_by_every_column(made):
    found = made[0]
    assert (of_kind(found, "learned", "early") == 1).all() and (of_kind(found, "learned", "late") == 1).all()
    assert of_kind(found, "learned", "never").mean() == pytest.approx(0.05, abs=0.05)
    assert of_kind(found, "learned", "forgotten").mean() == pytest.approx(0.05, abs=0.05)
    assert (of_kind(found, "first_learned", "early") == 10).all()
    assert np.median(of_kind(found, "first_learned", "late")) == 30
    assert np.isinf(of_kind(found, "first_learned", "never")).mean() > 0.8
    assert (of_kind(found, "forgetting_events", "early") == 0).all()
    assert of_kind(found, "forgetting_events", "forgotten").mean() == pytest.approx(1, abs=0.1)
    assert of_kind(found, "forgetting_events", "never").mean() > 3
    # 30 nats, less the limit: twice the standard deviation of a difference of two normals, or so.
    assert of_kind(found, "largest_drop", "forgotten").mean() == pytest.approx(30 - 3.4, abs=1)
    assert of_kind(found, "largest_drop", "early").mean() < 0.5


def test_shares_and_means_are_those_of_loops_over_models(made):
    found, log_px, members, _ = made
    of_mine, is_in = found.sel(estimator="mine"), members.in_training[:, :N]
    for number in range(4):
        learned = above_limit(log_px[number, :, :N].astype(float), ~is_in) > 0
        for name, side in (("share_learned", is_in), ("share_learned_out", ~is_in)):
            by_repeat = [
                learned[2 * repeat : 2 * repeat + 2][side[2 * repeat : 2 * repeat + 2]].mean() for repeat in range(5)
            ]
            low, share, high = (float(of_mine[f"{name}{end}"][number]) for end in ("_low", "", "_high"))
            assert share == pytest.approx(np.mean(by_repeat)) and low < share < high
        for name, side in (("log_px_in", is_in), ("log_px_out", ~is_in)):
            expected = [log_px[number, side[:, image], image].mean() for image in range(N)]
            np.testing.assert_allclose(of_mine[name][number], expected, rtol=1e-5)
    assert of_mine["share_learned_out"].mean() == pytest.approx(0.05, abs=0.02)


def test_a_single_out_model_leaves_no_measure_and_that_is_said(tmp_path, rng):
    found, *_ = analysed(tmp_path, rng, repeats=1)
    lacking = json.loads(found.attrs["lacking"])
    assert {*lacking} == {*ANALYSES["dynamics"].measures} and "two models" in lacking["learned"]
    for name in lacking:
        assert np.isnan(found[name]).all()
    assert np.isfinite(found["log_px_in"]).all()


def test_the_figure_has_a_row_for_each_estimator_and_three_images(made):
    found, _, _, scores = made
    drawn = draw(found, scores)
    texts = {text.get_text() for text in drawn.findobj(Text)}
    assert (
        len(drawn.axes) == 6
        and {"mine", "theirs", "trained on it", "not trained on it", "highest M", "lowest M"} <= texts
    )
    images = drawn.axes[2]
    np.testing.assert_array_equal(
        images.lines[0].get_ydata(), found["log_px_in"].sel(estimator="mine").values[:, N - 1]
    )
    np.testing.assert_array_equal(images.lines[5].get_ydata(), found["log_px_out"].sel(estimator="mine").values[:, 0])


def test_an_experiment_with_one_scored_epoch_goes_without_and_is_told_why():
    settings = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())
    described = contents.experiment(settings, "mnist5k")
    assert "dynamics" not in {*described["analyses"], *described["figures"]}
    assert "dynamics" in contents.experiment(settings, "clothes_measures")["analyses"]
    for declared in (ANALYSES["dynamics"], FIGURES["dynamics"]):
        with pytest.raises(UserError, match="needs log p at two scored epochs or more"):
            contents.inputs(declared, described)
    settings["experiments"]["mnist5k"]["analyses"] = ["dynamics"]
    with pytest.raises(UserError, match="cannot have: it needs log p at two scored epochs or more"):
        config.validate(settings)
