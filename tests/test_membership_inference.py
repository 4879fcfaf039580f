"""Membership inference: each attack by hand, ROC curves against closed forms, SciPy and scikit-learn, sets by all relabellings."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.text import Text
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score, roc_curve

from engram import config
from engram.analyses import attacks, membership_inference, stage
from engram.analyses.attacks import ATTACKS, Population, Shadows, attack
from engram.analyses.roc import FALSE_POSITIVE_RATES, area_under_curve, roc, true_positive_rate
from engram.analyses.set_test import set_p_values
from engram.catalogue import ANALYSES, FIGURES
from engram.designs.membership import design
from engram.errors import UserError
from engram.figures.membership_inference import membership_inference as draw
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.report import contents, page
from engram.scores import intervals
from engram.scores.statistics import memorization_scores

NO_ONE = Population(np.empty((1, 0)), np.empty(0))


def folds(n, folds=5, repeats=4, test=0):
    split = np.concatenate([np.zeros(n), np.ones(test)])
    return design({"design": "k_fold", "folds": folds, "repeats": repeats}, split, np.full(n + test, -1), 42, "made up")


def log_p(rng, members, memorized=0.0, spread=2.0):
    """Under every model: an image's own level, noise, and what the models trained on the image gain (models, sample)."""
    level = rng.normal(-90, 15, members.in_training.shape[1])
    return level + rng.normal(0, spread, members.in_training.shape) + memorized * members.in_training


def attacked(rng, members, log_px, test):
    scored = slice(None, log_px.shape[1] - test)
    is_in = members.in_training[:, scored]
    z_is_out = ~is_in[:, rng.integers(is_in.shape[1], size=test)]
    return attack(log_px[:, scored], is_in, members.repeat, log_px[:, is_in.shape[1] :], z_is_out), is_in


# Two in shadows (-1, -3) and three out shadows (-5, -6, -10) of one image; the target says -4.
SHADOWS = Shadows.of(np.array([[-1.0], [-3], [-5], [-6], [-10]]), np.array([[1], [1], [0], [0], [0]], dtype=bool))
TARGET = np.array([[-4.0]])


def test_shadows_by_hand():
    assert SHADOWS.mean_in[0] == -2 and SHADOWS.mean_out[0] == -7
    assert SHADOWS.sd_in[0] == pytest.approx(np.sqrt(2)) and SHADOWS.sd_out[0] == pytest.approx(np.sqrt(7))
    assert SHADOWS.log_mean_p_out[0] == pytest.approx(np.log((np.exp(-5) + np.exp(-6) + np.exp(-10)) / 3))


def test_a_fixed_standard_deviation_pools_the_variances_of_images_by_their_degrees_of_freedom():
    log_px = np.array([[0.0, 0], [2, 4], [4, 7]])  # out: all three of the first image, two of the second
    pooled = Shadows.of(log_px, np.array([[0, 0], [0, 0], [0, 1]], dtype=bool))
    assert pooled.fixed_sd_out == pytest.approx(np.sqrt((2 * 4 + 1 * 8) / 3))
    assert np.isnan(pooled.fixed_sd_in) and np.isnan(pooled.sd_in).all() and pooled.mean_in[1] == 7


BY_HAND = {
    "likelihood_threshold": -4,
    "calibrated": 3,
    "lira_offline": 3 / np.sqrt(7),
    "lira_online": norm.logpdf(-4, -2, np.sqrt(2)) - norm.logpdf(-4, -7, np.sqrt(7)),
    "lira_online_fixed": norm.logpdf(-4, -2, np.sqrt(2)) - norm.logpdf(-4, -7, np.sqrt(7)),  # of a single image
}


@pytest.mark.parametrize("name", BY_HAND)
def test_an_attack_by_hand(name):
    assert ATTACKS[name](TARGET, SHADOWS, NO_ONE)[0, 0] == pytest.approx(BY_HAND[name])


def test_rmia_is_the_share_of_population_images_with_a_smaller_ratio():
    ratio = -4 - SHADOWS.log_mean_p_out[0]
    population = Population(np.array([[-30.0, -30, -30, -30]]), -30 - (ratio + np.array([-2, -0.5, 0.5, 3])))
    assert attacks.rmia(TARGET, SHADOWS, population)[0, 0] == 0.5
    # The definition, in densities: how often p(x | target) / p(x) exceeds p(z | target) / p(z).
    p_x, p_z = np.exp(-4 - SHADOWS.log_mean_p_out[0]), np.exp(population.log_px[0] - population.log_mean_p_out)
    assert (p_x / p_z > 1).mean() == 0.5
    assert np.isnan(attacks.rmia(TARGET, SHADOWS, NO_ONE)).all()


def test_an_attack_on_one_model_reads_no_other_model_of_its_repeat(rng):
    members = folds(60, test=20)
    log_px = log_p(rng, members)
    before, is_in = attacked(np.random.default_rng(0), members, log_px, 20)
    target = 7
    poisoned = log_px.copy()
    poisoned[(members.repeat == members.repeat[target]) & (np.arange(len(log_px)) != target)] = 1e6
    after, _ = attacked(np.random.default_rng(0), members, poisoned, 20)
    for name in ATTACKS:
        np.testing.assert_array_equal(after[name][target], before[name][target])
        assert np.isfinite(before[name]).all()
    assert (after["calibrated"][0] != before["calibrated"][0]).mean() > 0.5  # a target of another repeat does read them
    assert is_in.shape == before["rmia"].shape


def test_too_few_shadows_leave_an_attack_without_a_score_and_say_so(rng):
    members = folds(40, repeats=2)
    scores, is_in = attacked(rng, members, log_p(rng, members), 0)
    undefined = {name for name in ATTACKS if np.isnan(scores[name]).all()}
    assert undefined == {"lira_offline", "lira_online", "lira_online_fixed", "rmia"}  # one out shadow, no population
    assert roc(scores["rmia"], is_in, rng).members == 0 and np.isnan(roc(scores["rmia"], is_in, rng).area.estimate)
    alone = folds(40, repeats=1)
    scores, _ = attacked(rng, alone, log_p(rng, alone), 0)
    assert {name for name in ATTACKS if np.isfinite(scores[name]).any()} == {"likelihood_threshold"}


def test_models_that_agree_to_the_last_bit_give_finite_scores_and_an_area_of_one_half(rng):
    members = folds(40, test=5)
    scores, is_in = attacked(rng, members, np.full(members.in_training.shape, -90.0), 5)
    for name in ATTACKS:
        assert np.isfinite(scores[name]).all() and roc(scores[name], is_in, rng).area.estimate == 0.5


@pytest.mark.parametrize(
    ("separation", "area", "at_one_percent"), [(0.5, 0.6382, 0.0339), (1, 0.7602, 0.0924), (2, 0.9214, 0.3721)]
)
def test_two_normal_distributions_have_the_roc_curve_of_the_closed_form(separation, area, at_one_percent):
    """Area Phi(separation / sqrt 2); true positive rate Phi(separation - z) where the false one is 1 - Phi(z)."""
    rng = np.random.default_rng(3)
    is_in = rng.random((20, 8000)) < 0.5
    curve = roc(rng.standard_normal(is_in.shape) + separation * is_in, is_in, rng)
    assert curve.area.estimate == pytest.approx(norm.cdf(separation / np.sqrt(2)), abs=0.004)
    assert curve.area.estimate == pytest.approx(area, abs=0.004)
    expected = norm.cdf(separation - norm.isf(FALSE_POSITIVE_RATES))
    np.testing.assert_allclose(curve.rates[20:, 0], expected[20:], atol=0.02)
    assert curve.rates[20, 0] == pytest.approx(at_one_percent, abs=0.01)
    assert curve.rates[20, 1] < at_one_percent < curve.rates[20, 2]


def test_lira_on_normal_log_p_reaches_the_area_of_the_likelihood_ratio(rng):
    """With many shadows, online LiRA is the optimal test between N(m + 3, 2) and N(m, 2), whose separation is 1.5."""
    members = folds(1500, folds=2, repeats=40)
    scores, is_in = attacked(rng, members, log_p(rng, members, memorized=3), 0)
    optimal = norm.cdf(1.5 / np.sqrt(2))
    assert roc(scores["lira_online_fixed"], is_in, rng).area.estimate == pytest.approx(optimal, abs=0.01)
    assert roc(scores["lira_online"], is_in, rng).area.estimate == pytest.approx(optimal, abs=0.02)
    assert (
        roc(scores["likelihood_threshold"], is_in, rng).area.estimate < 0.6
    )  # the images' own levels drown the signal


def test_area_and_curve_are_those_of_scipy_and_scikit_learn_ties_included(rng):
    is_in = rng.random((6, 50)) < 0.6
    is_in[:2] = [[True], [False]]  # every image on either side
    scores = np.round(rng.normal(0, 1, is_in.shape) + 0.7 * is_in, 1)
    curve = roc(scores, is_in, rng)
    u = mannwhitneyu(scores[is_in], scores[~is_in]).statistic
    assert curve.area.estimate == pytest.approx(u / (is_in.sum() * (~is_in).sum()))
    assert curve.area.estimate == pytest.approx(roc_auc_score(is_in.ravel(), scores.ravel()))
    false, true, _ = roc_curve(is_in.ravel(), scores.ravel(), drop_intermediate=False)
    readable = FALSE_POSITIVE_RATES >= 1 / 50
    np.testing.assert_allclose(curve.rates[readable, 0], np.interp(FALSE_POSITIVE_RATES[readable], false, true))
    assert np.isnan(curve.rates[~readable]).all()


def test_the_interval_of_the_area_keeps_all_targets_of_an_image_together(rng):
    """Copying every target tells nothing new, so the interval stays; single images drawn anew scatter as it says."""
    is_in = rng.random((4, 200)) < 0.5
    scores = rng.normal(0, 1, is_in.shape) + 0.5 * is_in + rng.normal(0, 1, 200)
    once, _ = area_under_curve(scores, is_in, ~is_in)
    twice, _ = area_under_curve(np.tile(scores, (2, 1)), np.tile(is_in, (2, 1)), ~np.tile(is_in, (2, 1)))
    assert twice == pytest.approx(once)
    drawn = [rng.integers(200, size=200) for _ in range(500)]
    areas = [area_under_curve(scores[:, each], is_in[:, each], ~is_in[:, each])[0].estimate for each in drawn]
    assert once.high - once.estimate == pytest.approx(1.96 * np.std(areas), rel=0.15)


def test_an_image_beats_the_share_of_non_members_below_it():
    scores = np.array([[3.0, 0.0], [1.0, 2.0]])
    curve = roc(scores, np.array([[True, True], [False, False]]), np.random.default_rng(0))
    assert curve.beaten.tolist() == [1, 0] and curve.area.estimate == 0.5


def test_images_without_a_scored_pair_of_either_kind_are_left_out(rng):
    is_in = np.array([[True, True, True], [False, False, True]])
    scores = np.array([[3.0, np.nan, 9], [1.0, 2.0, 9]])
    curve = roc(scores, is_in, rng)
    assert (curve.members, curve.non_members, curve.non_member_images) == (1, 1, 1)
    assert curve.beaten[0] == 1 and np.isnan(curve.beaten[1:]).all()


def test_with_nothing_memorized_most_intervals_hold_one_half(rng):
    holds = []
    for _ in range(20):
        members = folds(150, test=30)
        scores, is_in = attacked(rng, members, log_p(rng, members), 30)
        areas = [area_under_curve(scores[name], is_in, ~is_in)[0] for name in ATTACKS]
        holds += [area.low <= 0.5 <= area.high for area in areas]
    assert np.mean(holds) > 0.85


def test_a_sets_p_value_is_the_share_of_joint_relabellings_that_reach_it(rng):
    """By all 2^5 exchanges of the two models of five repeats, with the score computed anew each time."""
    members = folds(12, folds=2, repeats=5)
    log_px = log_p(rng, members, memorized=1.0)
    some = np.arange(12) < 7
    found = set_p_values(log_px, members.in_training, members.repeat, np.array([some, ~some]), seed=1)
    means = []
    for exchanged in itertools.product([False, True], repeat=5):
        model = np.concatenate([[2 * r + e, 2 * r + 1 - e] for r, e in enumerate(map(int, exchanged))])
        score = memorization_scores(log_px, members.in_training[model], "mean_log")
        means.append([score[some].mean(), score[~some].mean()])
    exact = (np.array(means) >= np.array(means[0]) - 1e-9).mean(axis=0)
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_p_values_of_sets_are_uniform_where_nothing_is_memorized_though_images_move_together(rng):
    members = folds(60)
    p_values = []
    for _ in range(80):
        shared = rng.normal(0, 3, (len(members.repeat), 1))  # models differ on all images alike
        log_px = log_p(rng, members) + shared
        p_values += [*set_p_values(log_px, members.in_training, members.repeat, np.ones((1, 60), dtype=bool), 1)]
    for level in (0.1, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 80))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Artifacts of four repeats, 1,200 training images of two classes and 300 test images; only class 1 is memorized."""
    folder, rng, n, test = tmp_path_factory.mktemp("made_up"), np.random.default_rng(5), 1200, 300
    members = folds(n, test=test)
    label = np.arange(n + test) % 2
    log_px = log_p(rng, members) + 4 * members.in_training * (label == 1)
    split = (np.arange(n + test) >= n).astype(np.int8)
    paths = {"membership": folder / "membership.h5", "last_likelihoods": []}
    artifacts.write(paths["membership"], "membership", members.variables(split, label), {"dataset_sha256": "0" * 64})
    for repeat in range(4):
        mine = members.repeat == repeat
        variables = {name: variable(("model",), getattr(members, name)[mine], "1", name) for name in ("repeat", "fold")}
        both = np.stack([log_px[mine] - 1, log_px[mine] + 1], axis=1)  # two draws
        variables["log_px"] = variable(("model", "draw", "sample"), both.astype(np.float32), "nats", "log p")
        paths["last_likelihoods"].append(folder / f"{repeat}.h5")
        says = {"estimator": "mine", "values": json.dumps({"epoch": 20})}
        artifacts.write(paths["last_likelihoods"][-1], "likelihood", variables, says)
    per_epoch = dict.fromkeys(("score", "log_p_in", "log_p_out", "standard_error"), np.zeros((1, n)))
    variables = {name: variable(("epoch", "sample"), values, "nats", name) for name, values in per_epoch.items()}
    per_image = {"label": label[:n], "p_value": np.ones(n), "q_value": np.ones(n)}
    variables |= {name: variable(("sample",), values, "1", name) for name, values in per_image.items()}
    variables["epoch"] = variable(("epoch",), [20], "1", "epoch")
    paths["scores"] = [folder / "mine.h5"]
    artifacts.write(paths["scores"][0], "scores", variables, {"dataset_sha256": "0" * 64})
    stage.run("membership_inference", paths, ["mine"], folder / "analysis.h5", "made_up", 1)
    return paths | {"analysis": folder / "analysis.h5", "log_px": log_px, "members": members}


def test_the_artifact_holds_what_the_attacks_say_of_the_mean_over_draws(experiment):
    found = artifacts.read(experiment["analysis"], "membership_inference").sel(estimator="mine")
    members, log_px = experiment["members"], experiment["log_px"].astype(np.float32)
    is_in = members.in_training[:, :1200]
    # Difficulty calibration once more, by loops over targets.
    score = np.empty(is_in.shape)
    for t, repeat in enumerate(members.repeat):
        shadow = (members.repeat != repeat)[:, None] & ~is_in
        score[t] = log_px[t, :1200] - np.where(shadow, log_px[:, :1200], 0).sum(0) / shadow.sum(0)
    area = intervals.read(found.sel(attack="calibrated"), "area_under_curve")
    assert area.estimate == pytest.approx(roc_auc_score(is_in.ravel(), score.ravel()), abs=1e-5)
    assert area.low < area.estimate < area.high
    assert found["members"].values.tolist() == [4 * 4 * 1200] * 6 and found["non_members"].values.tolist() == [4800] * 6
    assert np.isfinite(found["true_positive_rate"].sel(false_positive_rate=slice(0.00099, 1))).all()
    assert np.isnan(true_positive_rate(found.sel(attack="rmia"), 0.0005).estimate)  # from 1,200 images


def test_the_memorized_class_is_told_and_the_other_is_not(experiment):
    found = artifacts.read(experiment["analysis"], "membership_inference").sel(estimator="mine")
    p_value = dict(zip(found["set"].values.tolist(), found["set_p_value"].values, strict=True))
    assert p_value["all"] == p_value["class 1"] == 1e-4 < 0.01 < p_value["class 0"]
    for name in set(ATTACKS) - {"likelihood_threshold"}:
        assert found[name].values[1::2].mean() > found[name].values[::2].mean() + 0.1


def test_the_figure_shows_every_attack_and_says_what_cannot_be_read(experiment):
    scores = artifacts.read(experiment["scores"][0], "scores")
    found = artifacts.read(experiment["analysis"], "membership_inference")
    texts = [text.get_text() for text in draw(found, {"mine": scores}).findobj(Text)]
    assert any("Do all images together look like members? p = 0.0001" in text for text in texts)
    assert not any("cannot be read" in text for text in texts)
    found["non_member_images"][:] = 400
    found["true_positive_rate"].loc[{"false_positive_rate": slice(0.00249)}] = np.nan
    few = [text.get_text() for text in draw(found, {"mine": scores}).findobj(Text)]
    assert any("TPR at 0.1 % FPR cannot be read from 400 non-member images" in text for text in few)


def shipped(repeats):
    settings = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())
    settings["experiments"]["quickstart"]["membership"]["repeats"] = repeats
    return settings


def test_an_experiment_of_one_repeat_goes_without_and_is_told_why():
    described = contents.experiment(shipped(1), "quickstart")
    assert not {"membership_inference"} & {*described["analyses"], *described["figures"]}
    assert "membership_inference" in contents.experiment(shipped(2), "quickstart")["analyses"]
    for declared in (ANALYSES["membership_inference"], FIGURES["membership_inference"]):
        with pytest.raises(UserError, match="Membership inference needs shadow models, which come from other repeats"):
            contents.inputs(declared, described)
    asked = shipped(1)
    asked["experiments"]["quickstart"]["analyses"] = ["membership_inference"]
    with pytest.raises(UserError, match="which this experiment cannot have: it needs shadow models, which come from"):
        config.validate(asked)
    left_out = [
        figure for figure in page._figures(described | {"figures": {}}) if figure["title"] == "Membership inference"
    ]
    assert left_out[0]["needs"] == "shadow models, which come from other repeats, and so two repeats or more"


def test_the_rule_reads_the_last_scored_epoch_of_every_repeat_and_estimator():
    described = contents.experiment(shipped(2), "quickstart")
    last = described["settings"]["scored_epochs"][-1]
    files = contents.inputs(ANALYSES["membership_inference"], described)["last_likelihoods"]
    assert files == [path for path in described["likelihoods"] if path.endswith(f"epoch-{last}.h5")]
    assert len(files) == 2 * len(described["estimators"])


def test_independent_models_are_each_others_shadows(rng):
    is_in = rng.random((12, 300)) < 0.5
    is_in[:2] = [[True], [False]]
    log_px = rng.normal(-90, 15, 300) + rng.normal(0, 1, is_in.shape) + 5 * is_in
    scores = attack(log_px, is_in, np.arange(12), np.empty((12, 0)), np.empty((12, 0), dtype=bool))
    assert roc(scores["calibrated"], is_in, rng).area.estimate > 0.99


def test_attacks_without_numbers_say_what_they_need(rng):
    none = np.full((1, 5), np.nan)
    variables = {name: (("estimator", "sample"), none, {}) for name in ATTACKS}
    variables["calibrated"] = (("estimator", "sample"), np.array([[np.nan, 0.5, 1, 0, 0]]), {})
    lacking = membership_inference._lacking(variables)
    assert {*lacking} == {*ATTACKS} - {"calibrated"} and "two shadow models or more" in lacking["lira_online"]
    assert lacking["rmia"].endswith("test images")
