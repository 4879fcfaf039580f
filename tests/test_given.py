"""Log p made by another program: through config.yaml, command and Python to the scores that the definition gives."""

import os
import re

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

import engram
import gaussian_mean
import workspace
from engram import cli, config
from engram.errors import UserError
from engram.files import artifacts
from engram.report import contents
from engram.scores import given, stage
from workspace import planned, snakemake

N = 60
X = gaussian_mean.images(N)
IN_TRAINING, REPEAT = gaussian_mean.folds(N, folds=5, repeats=4)
HALVES = gaussian_mean.halves(N, models=24)
LOG_PX, LOG_PX_OF_HALVES = gaussian_mean.log_px(X, IN_TRAINING), gaussian_mean.log_px(X, HALVES)
FEW = pytest.mark.filterwarnings(
    "ignore:p-values"
)  # so few models cannot find a single image, and engram.score says so
FLOAT32 = 1e-5  # resolution of numbers up to 128, in which the workflow keeps log p


def pictures() -> np.ndarray:
    return np.clip(128 + 30 * X.reshape(N, 3, 3), 0, 255).astype(np.uint8)


def scored(folder, files, dataset=None, epochs=(0,), statistic="mean_log", **more):
    """scores/given.h5 of files at one epoch or several ({epoch: log_px}), by the stages alone."""
    by_epoch = files["log_px"] if isinstance(files["log_px"], dict) else {epochs[0]: files["log_px"]}
    matrices = {key: str(file) for key, file in files.items() if key not in ("log_px", "images")}
    first = next(iter(by_epoch.values()))
    if "images" in files:
        dataset = folder / "dataset.h5"
        pictured = {key: str(files[key]) for key in ("images", "labels") if key in files}
        given.images(dataset, pictured, experiment="theirs")
    membership = folder / "membership.h5"
    given.membership(membership, {"log_px": str(first), **matrices}, experiment="theirs", dataset=dataset, seed=1)
    paths = []
    for epoch, file in by_epoch.items():
        paths.append(str(folder / f"epoch-{epoch}.h5"))
        given.likelihood(
            paths[-1],
            {"log_px": str(file), **matrices},
            experiment="theirs",
            membership=membership,
            epoch=epoch,
            seed=1,
        )
    settings = {"statistic": statistic, "permutations": 2000, "scored_epochs": list(by_epoch)} | more
    stage.run(
        folder / "given.h5", folder / "given.csv", paths, membership, dataset, experiment="theirs", estimator="given",
        seed=1, threads=1, **settings,
    )  # fmt: skip
    return artifacts.read(folder / "given.h5", "scores")


def saved(folder, **arrays):
    """Each array as a .npy of its name."""
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return {name: folder / f"{name}.npy" for name in arrays}


def test_the_closed_form_of_leave_one_out_is_the_definition():
    left_out = ~np.eye(N, dtype=bool)
    by_loops = gaussian_mean.score(gaussian_mean.log_px(X, left_out), left_out)
    assert gaussian_mean.leave_one_out_score(X) == pytest.approx(by_loops, abs=1e-10)


@pytest.mark.filterwarnings("ignore:standard_error is NaN for 60 of 60 images. they take two models on each side")
@FEW
def test_python_and_command_give_the_closed_form(tmp_path):
    left_out = ~np.eye(N, dtype=bool)
    files = saved(tmp_path, log_px=gaussian_mean.log_px(X, left_out), in_training=left_out)
    expected = gaussian_mean.leave_one_out_score(X)
    assert engram.score(np.load(files["log_px"]), left_out)["score"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert cli.main(["score", *map(str, files.values()), "--output", str(tmp_path / "scores.csv")]) == 0
    assert pd.read_csv(tmp_path / "scores.csv")["score"].to_numpy() == pytest.approx(expected, abs=1e-6)


@FEW
def test_repeats_give_the_workflow_the_scores_errors_and_p_values_of_engram_score(tmp_path):
    files = saved(tmp_path, log_px=LOG_PX, in_training=IN_TRAINING, repeat=REPEAT)
    scores = scored(tmp_path, files)
    table = engram.score(LOG_PX, IN_TRAINING, REPEAT, permutations=2000, seed=1)
    assert scores["score"].values[0] == pytest.approx(gaussian_mean.score(LOG_PX, IN_TRAINING), abs=FLOAT32)
    for name in ("score", "standard_error"):
        assert scores[name].values[0] == pytest.approx(table[name].to_numpy(), abs=FLOAT32)
    assert scores["p_value"].values == pytest.approx(table["p_value"].to_numpy(), abs=5e-3)
    halves = [gaussian_mean.score(LOG_PX[side], IN_TRAINING[side]) for side in (REPEAT % 2 == 0, REPEAT % 2 == 1)]
    assert scores.attrs["split_half_reliability"] == pytest.approx(stats.spearmanr(*halves).statistic, abs=1e-3)
    assert len(scores["repeats"]) == 2 and scores["path"].values[:2].tolist() == ["0", "1"]


def test_a_data_set_of_the_config_names_the_columns(tmp_path):
    labels = np.arange(N) % 3
    files = saved(tmp_path, log_px=LOG_PX, in_training=IN_TRAINING, repeat=REPEAT)
    pictured = {name: str(file) for name, file in saved(tmp_path, images=pictures(), labels=labels).items()}
    given.images(tmp_path / "digits.h5", pictured, experiment="digits")
    scores = scored(tmp_path, files, dataset=tmp_path / "digits.h5")
    assert scores["label"].values.tolist() == labels.tolist() and scores["class_name"].values[4] == "1"
    with pytest.raises(UserError, match=r"log_px has 59 columns, but the images are 60"):
        fewer = saved(tmp_path, log_px=LOG_PX[:, :-1], in_training=IN_TRAINING[:, :-1], repeat=REPEAT)
        scored(tmp_path, fewer, dataset=tmp_path / "digits.h5")


def test_independent_models_give_closed_form_errors_and_halves_of_the_models_a_reliability(tmp_path):
    scores = scored(tmp_path, saved(tmp_path, log_px=LOG_PX_OF_HALVES, in_training=HALVES))
    table = engram.score(LOG_PX_OF_HALVES, HALVES, permutations=2000, seed=1)
    columns = zip(LOG_PX_OF_HALVES.T, HALVES.T, strict=True)
    sides = [(values[members], values[~members]) for values, members in columns]
    welch = [np.sqrt(sum(side.var(ddof=1) / len(side) for side in both)) for both in sides]
    assert scores["standard_error"].values[0] == pytest.approx(np.array(welch), abs=FLOAT32)
    assert scores["p_value"].values == pytest.approx(table["p_value"].to_numpy(), abs=5e-3)
    null = [table.attrs["null_quantiles"][level] for level in (0.5, 0.95)]
    assert scores["null_quantiles"].sel(quantile=[0.5, 0.95]).values == pytest.approx(null, abs=0.2)
    assert scores.attrs["split_half_reliability"] > 0.3 and "repeats" not in scores
    assert set(np.flatnonzero(scores["q_value"].values <= 0.05)) >= {0, 1, 2}


def test_draws_are_averaged_and_epochs_are_scored_each(tmp_path):
    noise = np.random.default_rng(3).normal(size=(2, *LOG_PX.shape))
    draws = np.stack([LOG_PX + noise[0], LOG_PX + noise[1]], axis=1)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.update({"draws": draws, "late": LOG_PX, "seen": IN_TRAINING, "split": REPEAT.astype("S")})
    matrix = {"in_training": f"{tmp_path}/all.h5:seen", "repeat": f"{tmp_path}/all.h5:split"}
    scores = scored(tmp_path, matrix | {"log_px": {5: f"{tmp_path}/all.h5:draws", 10: f"{tmp_path}/all.h5:late"}})
    assert scores["epoch"].values.tolist() == [5, 10]
    for epoch, log_px in ((5, draws.mean(axis=1)), (10, LOG_PX)):
        expected = gaussian_mean.score(log_px, IN_TRAINING)
        assert scores["score"].sel(epoch=epoch).values == pytest.approx(expected, abs=FLOAT32)
    of_each = [gaussian_mean.score(LOG_PX + each, IN_TRAINING) for each in noise]
    of_draws = scores["standard_error_of_draws"].sel(epoch=5).values
    assert of_draws == pytest.approx(abs(of_each[0] - of_each[1]) / 2, abs=FLOAT32)
    assert np.isnan(scores["standard_error_of_draws"].sel(epoch=10)).all(), "a single draw"
    assert pd.read_csv(tmp_path / "given.csv")["standard_error_of_draws"].isna().all()


def test_labels_may_be_words_and_the_columns_of_a_table_name_the_images(tmp_path):
    names = [f"img_{number}.png" for number in range(N)]
    pd.DataFrame(LOG_PX, columns=names).to_csv(tmp_path / "log_px.csv")
    pd.DataFrame(IN_TRAINING.astype(int), columns=names).to_csv(tmp_path / "in_training.csv")
    np.savez(tmp_path / "more.npz", repeat=REPEAT, labels=np.array(["dog", "cat", "ape"])[np.arange(N) % 3])
    files = {name: tmp_path / f"{name}.csv" for name in ("log_px", "in_training")}
    more = {name: f"{tmp_path}/more.npz:{name}" for name in ("repeat", "labels")}
    scores = scored(tmp_path, files | more)
    assert scores["path"].values.tolist() == names
    assert scores["class_name"].values[:4].tolist() == ["dog", "cat", "ape", "dog"]
    assert scores["label"].values[:4].tolist() == [2, 1, 0, 2]
    table = pd.read_csv(tmp_path / "given.csv")
    assert table["path"].tolist() == names and table["score"].to_numpy() == pytest.approx(scores["score"].values[0])


def test_images_become_a_data_set_in_the_order_of_the_columns(tmp_path):
    colour = np.stack([pictures(), 255 - pictures(), pictures() // 2], axis=-1)
    files = saved(tmp_path, log_px=LOG_PX, in_training=IN_TRAINING, images=colour, labels=np.arange(N) % 4)
    scored(tmp_path, files | {"repeat": saved(tmp_path, repeat=REPEAT)["repeat"]})
    data = artifacts.read(tmp_path / "dataset.h5", "dataset")
    assert data.attrs["image_shape"].tolist() == [3, 3, 3] and data.attrs["label_names"] == list("0123")
    assert data["images"].values.reshape(N, 3, 3, 3).transpose(0, 2, 3, 1).tolist() == colour.tolist()
    assert data["split"].values.tolist() == [0] * N
    assert (
        artifacts.attributes(tmp_path / "membership.h5", "membership")["dataset_sha256"] == data.attrs["dataset_sha256"]
    )


def test_folds_of_several_splits_without_repeat_have_scores_but_neither_errors_nor_p_values(tmp_path, caplog):
    in_training, _ = gaussian_mean.folds(N, folds=2, repeats=10)
    log_px = gaussian_mean.log_px(X, in_training)
    scores = scored(tmp_path, saved(tmp_path, log_px=log_px, in_training=in_training))
    assert scores["score"].values[0] == pytest.approx(gaussian_mean.score(log_px, in_training), abs=FLOAT32)
    for name in ("standard_error", "p_value", "q_value"):
        assert np.isnan(scores[name].values).all()
    assert "null_quantiles" not in scores
    assert scores.attrs["not_tested"] in caplog.text and "give membership.repeat" in scores.attrs["not_tested"]


@FEW
def test_repeats_that_show_some_image_to_all_their_models_have_no_size_matched_score(tmp_path):
    repeat = np.arange(len(HALVES)) // 3
    files = saved(tmp_path, log_px=LOG_PX_OF_HALVES, in_training=HALVES, repeat=repeat)
    scores = scored(tmp_path, files)
    table = engram.score(LOG_PX_OF_HALVES, HALVES, repeat, permutations=2000, seed=1)
    assert np.isnan(scores["score_size_matched"].values).all() and "repeats" not in scores
    assert scores["standard_error"].values[0] == pytest.approx(table["standard_error"].to_numpy(), abs=FLOAT32)
    assert "null_quantiles_size_matched" not in scores and np.isfinite(scores["null_quantiles"].values[0])
    with pytest.raises(
        UserError, match="size_matched needs an in model and an out model of every image in every repeat"
    ):
        scored(tmp_path, files, statistic="size_matched")


def test_without_repeats_errors_are_known_for_mean_log_alone(tmp_path, caplog):
    files = saved(tmp_path, log_px=LOG_PX_OF_HALVES, in_training=HALVES)
    scores = scored(tmp_path, files, statistic="log_mean_exp")
    assert np.isnan(scores["standard_error"].values).all() and np.isfinite(scores["p_value"].values).all()
    assert "without repeats they are known for the statistic mean_log alone" in caplog.text


def test_the_example_in_the_config_is_valid():
    text = (workspace.REPOSITORY / "config.yaml").read_text()
    commented = text[text.index("  # theirs:") : text.index("  # A checkpoint that someone else trained")]
    example = yaml.safe_load(re.sub("^  # ", "", commented, flags=re.M))
    shipped = yaml.safe_load(text)
    config.validate(shipped | {"experiments": shipped["experiments"] | example})
    assert {"log_px", "membership", "images", "labels", "statistic", "permutations", "seed"} == set(example["theirs"])


def changed(values, place, value):
    values = np.array(values, dtype=float)
    values[place] = value
    return values


MISTAKES = {
    "nan": (
        {"log_px": changed(LOG_PX, (3, 7), np.nan)},
        r"log_px\.npy: log_px: is nan for model 3, image 7; a missing",
    ),
    "no density": ({"log_px": changed(LOG_PX, (0, 1), -np.inf)}, r"log_px: is -inf for model 0, image 1; density 0"),
    "a stand-in for infinity": ({"log_px": changed(LOG_PX, (2, 2), 1e38)}, r"log_px: is 1e\+38 for model 2, image 2"),
    "a vector": ({"log_px": LOG_PX[0]}, r"log_px: has the shape \(60,\), must be \(models, images\)"),
    "log_px transposed": (
        {"log_px": LOG_PX.T, "in_training": IN_TRAINING.T},
        r"log_px: is \(60, 20\), but .* transposed",
    ),
    "in_training transposed": ({"in_training": IN_TRAINING.T}, r"in_training\.npy: in_training: .* it is transposed"),
    "a model too many": (
        {"in_training": IN_TRAINING[1:]},
        r"in_training: has the shape \(19, 60\) beside log_px \(20, 60\)",
    ),
    "a share": (
        {"in_training": changed(IN_TRAINING, (1, 5), 0.5)},
        r"in_training: is 0.5 for model 1, image 5; must be 1",
    ),
    "one-sided": ({"in_training": changed(IN_TRAINING, (slice(None), 4), 1)}, r"all models were trained on image 4"),
    "the two exchanged": ({"log_px": IN_TRAINING, "in_training": LOG_PX}, r"log_px: holds only true and false"),
    "repeats too few": ({"repeat": REPEAT[1:]}, r"repeat\.npy: repeat: has the shape \(19,\), must be \(20,\)"),
    "a repeat without number": (
        {"repeat": changed(REPEAT, 2, np.nan)},
        r"repeat: is nan for model 2; must be the number",
    ),
    "words for log p": ({"log_px": LOG_PX.astype(str)}, r"log_px\.npy: log_px: holds <U\d+, not numbers"),
    "labels too few": (
        {"labels": np.arange(59)},
        r"labels\.npy: labels: labels are int64 \(59,\), must be integers \(60,\)",
    ),
    "labels below none": ({"labels": np.full(N, -2)}, r"labels run from -2 to -2, must lie between -1 \(none\)"),
    "images in floats": (
        {"images": X.reshape(N, 3, 3)},
        r"images\.npy: images: is float64 \(60, 3, 3\), must be uint8",
    ),
    "rows of pixels": (
        {"images": np.zeros((N, 9), np.uint8)},
        r"images: is uint8 \(60, 9\), must be uint8 grey levels, \(n",
    ),
    "images too few": ({"images": pictures()[1:]}, r"log_px has 60 columns, but the images are 59: .*images\.npy"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_experiment_file_model_and_image(tmp_path, mistake):
    arrays, message = MISTAKES[mistake]
    files = saved(tmp_path, **({"log_px": LOG_PX, "in_training": IN_TRAINING, "repeat": REPEAT} | arrays))
    with pytest.raises(UserError) as raised:
        scored(tmp_path, files)
    assert re.search(message, str(raised.value)) and str(raised.value).startswith("experiments.theirs: ")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("absent.npy", r"absent\.npy: no such file"),
        ("log_px.npy:x", r"log_px\.npy: holds a single array; leave out ':x'"),
        ("two.npz", r"two\.npz: which array; write .*two\.npz:NAME with one of a, b"),
        ("notes.txt", r"notes\.txt: is no \.npy"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, file, message):
    files = saved(tmp_path, log_px=LOG_PX, in_training=IN_TRAINING)
    np.savez(tmp_path / "two.npz", a=LOG_PX, b=LOG_PX)
    (tmp_path / "notes.txt").write_text("log p")
    with pytest.raises(UserError, match=rf"^experiments\.theirs: .*{message}"):
        scored(tmp_path, files | {"log_px": tmp_path / file})


def test_a_later_epoch_is_checked_as_the_first(tmp_path):
    files = saved(tmp_path, early=LOG_PX, late=changed(LOG_PX, (1, 2), np.nan), in_training=IN_TRAINING)
    epochs = {5: files.pop("early"), 10: files.pop("late")}
    with pytest.raises(UserError, match=r"late\.npy: log_px: is nan for model 1, image 2"):
        scored(tmp_path, files | {"log_px": epochs})


# The whole workflow, once.


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """A finished run of two experiments without models: with images, repeats and epochs; and with matrices alone."""
    folder = workspace.create(tmp_path_factory.mktemp("given") / "engram")
    theirs = folder / "theirs"
    theirs.mkdir()
    saved(
        theirs,
        early=LOG_PX / 2,
        late=LOG_PX,
        images=pictures(),
        labels=np.arange(N) % 2,
        in_training=IN_TRAINING,
        repeat=REPEAT,
    )
    np.savez(theirs / "halves.npz", log_px=LOG_PX_OF_HALVES, in_training=HALVES)
    settings = workspace.read(folder)
    settings["run"] = ["theirs", "halves"]
    membership = {"in_training": "theirs/in_training.npy", "repeat": "theirs/repeat.npy"}
    shown = {"images": "$THEIRS/images.npy", "labels": "theirs/labels.npy"}
    epochs = {10: "theirs/late.npy", 5: "theirs/early.npy"}
    settings["experiments"]["theirs"] = {
        "log_px": epochs,
        "membership": membership,
        **shown,
        "permutations": 500,
        "seed": 1,
    }
    settings["experiments"]["halves"] = {
        "log_px": "theirs/halves.npz:log_px",
        "membership": {"in_training": "theirs/halves.npz:in_training"},
        "seed": 1,
    }
    workspace.write(folder, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEIRS", "theirs")
        run = snakemake(folder)
        assert run.returncode == 0, run.stdout
        yield folder


def described(workflow, name):
    """What config.yaml and the catalogue say that there is of an experiment."""
    return contents.experiment(workspace.read(workflow), name)


@pytest.mark.slow
def test_the_workflow_gives_the_scores_of_the_definition_without_training(workflow):
    for name, log_px, in_training in (("theirs", LOG_PX, IN_TRAINING), ("halves", LOG_PX_OF_HALVES, HALVES)):
        run = engram.load(workflow / "results" / name)
        expected = gaussian_mean.score(log_px, in_training)
        assert run.scores["given"]["score"].values[-1] == pytest.approx(expected, abs=FLOAT32)
        assert run.membership["in_training"].values.tolist() == in_training.tolist()
        assert not (run.folder / "models").exists()
    assert run.likelihood("given", "all", 0)["log_px"].dims == ("model", "draw", "sample")


@pytest.mark.slow
def test_loaded_results_have_images_where_they_were_given_and_say_that_there_are_no_models(workflow):
    theirs, halves = (engram.load(workflow / "results" / name) for name in ("theirs", "halves"))
    assert theirs.dataset["images"].values.reshape(N, 3, 3).tolist() == pictures().tolist()
    assert list(theirs.scores) == list(halves.scores) == ["given"]
    for run in (theirs, halves):
        assert {*run.analyses} == {*described(workflow, run.folder.name)["analyses"]}
    assert {*halves.analyses} >= {"agreement", "density_split", "membership_inference"}
    assert {*theirs.analyses} - {*halves.analyses} >= {"dynamics", "duplicates"}  # of epochs, and of images
    assert {"neighbors", "predictors", "model_attacks"}.isdisjoint(theirs.analyses)
    with pytest.raises(UserError, match="halves: has no images, because its log p was given without any"):
        _ = halves.dataset
    with pytest.raises(UserError, match="theirs: has no models, because its log p was given"):
        theirs.models(0, 10)


@pytest.mark.slow
def test_the_report_shows_what_there_is_and_says_what_is_left_out(workflow):
    page = (workflow / "results/report.html").read_text()
    figures = {
        name: sorted(path.stem for path in workflow.glob(f"results/{name}/figures/*.png"))
        for name in ("theirs", "halves")
    }
    assert figures == {name: sorted(described(workflow, name)["figures"]) for name in figures}
    assert {*figures["halves"]} >= {"agreement", "membership_inference", "score_histogram"}
    with_pictures = {"density_split", "disagreement", "duplicates", "grids"}
    with_epochs_and_repeats = {"dynamics", "quantiles", "error_by_repeats"}
    assert {*figures["theirs"]} - {*figures["halves"]} >= with_pictures | with_epochs_and_repeats
    assert page.count("data:image/png;base64,") == sum(map(len, figures.values()))
    for title, needs in (
        ("What was memorized, and what was not", "a data set"),
        ("The score during training", "log p at stated epochs"),
        ("Error of the score", "the repeat of every model"),
        ("The nearest-neighbour test", "a model trained on everything"),
    ):
        assert f"Left out: {title}, which needs {needs}." in page
    assert "24, whose training sets are drawn independently; trained elsewhere" in page and "20, in 4 repeats" in page
    assert "The paper&#39;s claims" not in page and "cannot be told" not in page


@pytest.mark.slow
def test_a_touched_matrix_reruns_nothing_and_another_content_what_depends_on_it(workflow):
    matrix = workflow / "theirs/late.npy"
    content = matrix.read_bytes()
    os.utime(matrix, (1, 1))
    assert planned(workflow) == {}
    np.save(matrix, changed(LOG_PX, (0, 0), -50))
    jobs = planned(workflow)
    assert jobs["given_likelihood"] == 1 and jobs["scores"] == 1 and jobs["report"] == 1
    assert "given_membership" not in jobs and "given_images" not in jobs
    matrix.write_bytes(content)
    assert planned(workflow) == {}


@pytest.mark.slow
def test_other_images_rerun_their_data_set_and_other_labels_too(workflow):
    labels = workflow / "theirs/labels.npy"
    content = labels.read_bytes()
    np.save(labels, np.arange(N) % 3)
    jobs = planned(workflow)
    assert jobs["given_images"] == 1 and jobs["given_membership"] == 1 and jobs["scores"] == 1
    labels.write_bytes(content)


@pytest.mark.slow
def test_a_mistake_in_a_file_and_a_wish_for_models_are_one_line_each_in_the_workflow(workflow):
    workspace.change(
        workflow,
        "experiments",
        wrong={"log_px": "theirs/late.npy", "membership": {"in_training": "theirs/late.npy"}, "seed": 1},
    )
    run = snakemake(workflow, "results/wrong/membership.h5")
    assert run.returncode == 1 and "Traceback" not in run.stdout
    assert "engram: error: experiments.wrong: theirs/late.npy: in_training: is -" in run.stdout
    for wish, message in (
        ("models/repeat-00.h5", "experiments.theirs has no model: its log p is given"),
        ("analyses/neighbors.h5", "experiments.theirs: Nearest neighbours needs a model trained on everything"),
        ("likelihood/given/all/epoch-7.h5", "epoch 7 has no file; experiments.theirs.log_px is"),
    ):
        run = snakemake(workflow, "--dry-run", f"results/theirs/{wish}")
        assert run.returncode == 1 and message in run.stdout and "most recent call" not in run.stdout


@pytest.mark.slow
def test_a_report_with_one_estimator_names_the_one_table_and_no_other(workflow):
    page = (workflow / "results/report.html").read_text()
    assert (
        "scores/given.csv</code>." in page and "the other estimators" not in page.split("How the score is computed")[0]
    )
