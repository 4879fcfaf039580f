"""Effects of entering, on panels whose effect is known, and on a model that learns by heart."""

import json

import numpy as np
import pytest
from matplotlib.text import Text

from engram.analyses import stage
from engram.analyses.difference_in_differences import att, baselines, gaps_of, placebo
from engram.catalogue import ANALYSES, analyses_of
from engram.designs.cohorts import NEVER
from engram.designs.membership import design
from engram.figures.difference_in_differences import difference_in_differences as draw
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.scores import intervals
from test_staggered import COHORTS, TRAIN, levels, made, plan, run

EPOCHS = np.array([5, 10, 15, 20, 30])
ENTRIES = np.array([0, 10, 20])


def effects(panel, enters, repeat, epochs=EPOCHS, cohorts=ENTRIES):
    """ATT of a panel (epochs, models, n), by epoch, repeat and cohort."""
    return att(np.array([gaps_of(log_px, enters, repeat, cohorts) for log_px in panel]), epochs, cohorts)


def after(enters, cohorts=ENTRIES, epochs=EPOCHS):
    """(epochs, models, n) bool: the image has been shown."""
    return (enters != NEVER) & (enters < epochs[:, None, None])


def test_a_panel_of_images_epochs_and_a_constant_effect_has_that_effect_and_none_before(rng):
    """Y = a_i + b_t + tau 1[t > g], in one model, the cohorts' a_i apart: what a difference in differences is made for."""
    enters = np.repeat([NEVER, 0, 10, 20], 7)[None]
    image, epoch = rng.normal(-90, 15, 28), rng.normal(0, 30, 5)[:, None, None]
    panel = image + epoch + 1.5 * after(enters)
    found = effects(panel, enters, np.zeros(1))[:, 0]
    assert found[:, 1] == pytest.approx([0, 0, 1.5, 1.5, 1.5]) and found[:, 2] == pytest.approx([0, 0, 0, 0, 1.5])
    apart = image[enters[0] == 0].mean() - image[enters[0] == NEVER].mean()
    assert found[:, 0] == pytest.approx(np.full(5, 1.5 + apart))  # without a baseline, which chance makes up for
    assert placebo(found[:, None], EPOCHS, ENTRIES) == pytest.approx([0])


def test_over_the_models_of_a_repeat_images_cancel_without_a_baseline_too(rng):
    enters, repeat = staggered(28, repeats=2)
    panel = rng.normal(-90, 15, 28) + rng.normal(0, 30, 5)[:, None, None] + 1.5 * after(enters)
    found = effects(panel, enters, repeat)
    assert found[:, :, 0] == pytest.approx(np.full((5, 2), 1.5))


def staggered(n, repeats):
    membership = design(
        {"design": "staggered", "cohorts": ENTRIES.tolist(), "repeats": repeats},
        np.zeros(n, int),
        np.full(n, -1),
        1,
        "e",
    )
    return membership.enters, membership.repeat


def test_an_effect_that_grows_is_followed_and_another_baseline_is_the_last_before_entry(rng):
    """log p of a cohort runs ahead by 1 nat an epoch since its entry; that of all by b_t, of each model by its own."""
    enters, repeat = staggered(40, repeats=1)
    since = np.where(after(enters), EPOCHS[:, None, None] - enters, 0)
    panel = rng.normal(-90, 15, 40) + rng.normal(0, 5, (5, 1, 1)) + since
    assert baselines(EPOCHS, np.array([0, 10, 19])).tolist() == [-1, 1, 2]
    found = effects(panel, enters, repeat)[:, 0]
    assert found[:, 0] == pytest.approx([5, 10, 15, 20, 30]) and found[:, 1] == pytest.approx([0, 0, 5, 10, 20])
    assert found[:, 2] == pytest.approx([0, 0, 0, 0, 10])


def test_intervals_over_repeats_cover_the_effect_and_the_placebo_in_95_percent(rng):
    enters, repeat = staggered(16, repeats=4)
    covered = []
    for _ in range(400):
        models = rng.normal(0, 3, (5, len(enters), 1))  # what all images share within a model
        panel = models + rng.normal(0, 1, (5, *enters.shape)) + 2 * after(enters)
        found = effects(panel, enters, repeat)
        shown, hidden = intervals.mean(found[-1, :, 1]), intervals.mean(placebo(found, EPOCHS, ENTRIES))
        covered.append((shown.low < 2 < shown.high, hidden.low < 0 < hidden.high))
    share = np.mean(covered, axis=0)
    assert (abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)).all(), share


def test_without_an_epoch_before_the_baseline_there_is_no_placebo():
    assert np.isnan(placebo(np.ones((2, 3, 2)), np.array([10, 20]), np.array([0, 10]))).all()


def test_a_model_that_learns_by_heart_has_the_effect_of_its_learning_rate(tmp_path):
    """log p of an image shown k times is k / 4 nats: the effect on a cohort is (t - g) / 4, and 0 before."""
    _, folder = run(plan(), tmp_path)
    epochs, cohorts = np.arange(1, 6), np.array(COHORTS)
    panel = levels(folder).astype(float)
    found = effects(panel, made().enters[:4, :TRAIN], np.zeros(4), epochs, cohorts)[:, 0]
    np.testing.assert_allclose(found, 0.25 * np.maximum(epochs[:, None] - cohorts, 0), atol=1e-6)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Artifacts of three repeats at five epochs; every second image gains 4 nats when it enters, the others nothing."""
    folder, rng, n, test = tmp_path_factory.mktemp("made_up"), np.random.default_rng(5), 60, 10
    split = np.repeat([0, 1], [n, test])
    settings = {"design": "staggered", "cohorts": ENTRIES.tolist(), "repeats": 3}
    members = design(settings, split, np.full(n + test, -1), 1, "e")
    level, gain = rng.normal(-90, 15, n + test), 4 * (np.arange(n + test) % 2)
    panel = level + rng.normal(0, 0.1, (5, len(members.fold), n + test)) + gain * after(members.enters)
    paths = {"membership": folder / "membership.h5", "likelihoods": []}
    says = {"dataset_sha256": "0" * 64}
    artifacts.write(paths["membership"], "membership", members.variables(split, split), says)
    for repeat, epoch in np.ndindex(3, 5):
        mine = members.repeat == repeat
        variables = {name: variable(("model",), getattr(members, name)[mine], "1", name) for name in ("repeat", "fold")}
        both = np.stack([panel[epoch, mine] - 1, panel[epoch, mine] + 1], axis=1)  # two draws
        variables["log_px"] = variable(("model", "draw", "sample"), both.astype(np.float32), "nats", "log p")
        paths["likelihoods"].append(folder / f"{repeat}-{epoch}.h5")
        values = {"estimator": "mine", "values": json.dumps({"epoch": int(EPOCHS[epoch])})}
        artifacts.write(paths["likelihoods"][-1], "likelihood", variables, values)
    per_epoch = dict.fromkeys(("score", "log_p_in", "log_p_out", "standard_error"), np.zeros((5, n)))
    variables = {name: variable(("epoch", "sample"), values, "nats", name) for name, values in per_epoch.items()}
    per_image = dict.fromkeys(("label", "p_value", "q_value"), np.ones(n))
    variables |= {name: variable(("sample",), values, "1", name) for name, values in per_image.items()}
    variables["epoch"] = variable(("epoch",), EPOCHS, "1", "epoch")
    paths["scores"] = [folder / "mine.h5"]
    artifacts.write(paths["scores"][0], "scores", variables, says)
    return paths | {"folder": folder, "panel": panel.astype(np.float32), "members": members}


def analysed(experiment, name):
    path = experiment["folder"] / f"{name}.h5"
    stage.run(name, {what: experiment[what] for what in ANALYSES[name].reads}, ["mine"], path, "made_up", 1)
    return artifacts.read(path, name)


def test_the_artifact_has_effects_with_intervals_and_one_for_every_image(experiment):
    found = analysed(experiment, "difference_in_differences").sel(estimator="mine")
    assert found["cohort"].values.tolist() == [0, 10, 20] and found["epoch"].values.tolist() == EPOCHS.tolist()
    entered = intervals.read(found.sel(epoch=30, cohort=20), "att")
    assert entered.low < 2 < entered.high and entered.estimate == pytest.approx(2, abs=0.1)
    assert abs(found["att"].sel(epoch=slice(20), cohort=20)).max() < 0.1 > abs(found["placebo"])
    panel, enters = experiment["panel"].astype(float), experiment["members"].enters
    for image in (0, 1, 59):  # once more, by loops over cohorts
        out, by_cohort = enters[:, image] == NEVER, []
        for cohort, before in ((0, None), (10, 1), (20, 3)):
            change = panel[-1, :, image] - (0 if before is None else panel[before, :, image])
            by_cohort.append(change[enters[:, image] == cohort].mean() - change[out].mean())
        assert float(found["effect"][image]) == pytest.approx(np.mean(by_cohort), abs=1e-4)
    assert found["effect"].values[1::2] == pytest.approx(np.full(30, 4), abs=0.3)


def test_the_figure_has_a_line_for_each_cohort_and_says_what_is_before_entry(experiment):
    found, scores = (
        analysed(experiment, "difference_in_differences"),
        artifacts.read(experiment["scores"][0], "scores"),
    )
    drawn = draw(found, {"mine": scores})
    texts = [text.get_text() for text in drawn.findobj(Text)]
    assert any(text.startswith("epochs since entry\nbefore entry, mean: ") for text in texts) and "mine" in texts
    by_epoch, since = drawn.axes
    assert [len(line.get_xdata()) for line in since.lines[:1]] == [5]
    assert since.lines[4].get_xdata().tolist() == (EPOCHS - 20).tolist()
    assert by_epoch.get_legend_handles_labels()[1] == ["0", "10", "20"]


def test_later_cohorts_are_left_out_of_learning_and_forgetting(experiment):
    found = analysed(experiment, "dynamics").sel(estimator="mine")
    first = experiment["members"].enters[:, :60] == 0
    np.testing.assert_allclose(
        found["log_px_in"].values[0], np.where(first, experiment["panel"][0, :, :60], 0).sum(0) / 3, rtol=1e-5
    )
    assert (found["learned"].values[1::2] == 1).all() and found["learned"].values[::2].mean() < 0.2


def test_an_experiment_of_another_design_goes_without():
    lacking = {"dataset", "membership", "likelihoods", "last_likelihoods", "scores", "shadows", "several_epochs"}
    assert "difference_in_differences" not in analyses_of({"mine": {}}, lacking)
    assert "difference_in_differences" in analyses_of({"mine": {}}, lacking | {"cohorts"})
