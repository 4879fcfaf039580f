"""Every mistake in the config is one line with the key, the value, and what would be right."""

import copy
from pathlib import Path

import pytest
import yaml

from engram import config
from engram.errors import UserError

SHIPPED = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())


def change(path, value):
    changed = copy.deepcopy(SHIPPED)
    *parents, last = path
    place = changed
    for key in parents:
        place = place[key]
    place[last] = value
    return changed


def test_the_shipped_config_is_valid():
    config.validate(SHIPPED)


QUICKSTART = ("experiments", "quickstart")
MISTAKES = {
    "unknown data set": ((*QUICKSTART, "dataset"), "mnits", ["quickstart.dataset is 'mnits'", "did you mean 'mnist'?"]),
    "misspelt key": ((*QUICKSTART, "training", "learning_rat"), 1, ["'learning_rat'", "did you mean learning_rate?"]),
    "one fold": ((*QUICKSTART, "membership", "folds"), 1, ["quickstart.membership.folds is 1", "at least 2"]),
    "text number": ((*QUICKSTART, "training", "learning_rate"), "1e-3", ["is '1e-3', not a number; write 0.001"]),
    "zero rate": ((*QUICKSTART, "training", "learning_rate"), 0, ["learning_rate is 0; it must be above 0"]),
    "untrained epoch": ((*QUICKSTART, "scored_epochs"), [20, 41], ["scored_epochs is [20, 41]", "epochs, which is 40"]),
    "more folds than images": (
        (*QUICKSTART, "membership", "folds"),
        1001,
        ["quickstart.membership.folds is 1001; k_fold of the 1000 training images of mnist1k takes 2 to 1000"],
    ),
    "more folds than half of the images": (
        ("experiments", "null_mnist5k", "membership", "folds"),
        2251,
        ["null_mnist5k.membership.folds is 2251; null of the 4500 training images of mnist5k takes 2 to 2250"],
    ),
    "more folds than images of a subset": (
        ("experiments", "mnist_lr1e-3_small", "membership", "folds"),
        6001,
        ["mnist_lr1e-3_small.membership.folds is 6001; k_fold of the 6000 training images of mnist6k"],
    ),
    "a subset of more than there is": (
        ("datasets", "a"),
        {"subset_of": "cifar10", "train": 50_001, "test": 10},
        ["datasets.a.train is 50001; cifar10 has 50000 train images to draw from"],
    ),
    "a name in capitals": ((*QUICKSTART, "dataset"), "MNIST1K", ["did you mean 'mnist1k'?"]),
    "unknown model": (
        (*QUICKSTART, "model", "name"),
        "bernouli_mlp_vae",
        [
            "quickstart.model.name is 'bernouli_mlp_vae'",
            "did you mean 'bernoulli_mlp_vae'? (your own is written module:",
        ],
    ),
    "misspelt setting of a model": (
        (*QUICKSTART, "model", "latnt_dim"),
        8,
        ["quickstart.model has an unknown key 'latnt_dim'; did you mean 'latent_dim'?"],
    ),
    "setting of another model": (
        (*QUICKSTART, "model", "components"),
        8,
        ["quickstart.model has an unknown key 'components'; choose latent_dim, hidden"],
    ),
    "misspelt key at the top": (
        ("datastes",),
        {},
        ["config.yaml has an unknown key 'datastes'; did you mean datasets?"],
    ),
    "misspelt key of an experiment": (
        (*QUICKSTART, "membershp"),
        {},
        ["experiments.quickstart has an unknown key 'membershp'; did you mean membership?"],
    ),
    "misspelt key of an estimator": (
        ("estimators", "corrected", "newton_step"),
        2,
        ["estimators.corrected has an unknown key 'newton_step'; did you mean newton_steps?"],
    ),
    "nothing under experiments": (("experiments",), None, ["experiments is empty (null), not a mapping"]),
    "no experiment to run": (("run",), [], ["run is []; it must have at least 1 entries"]),
    "falling epochs": ((*QUICKSTART, "scored_epochs"), [40, 20], ["must rise"]),
    "unknown estimator": ((*QUICKSTART, "estimators"), ["publshed"], ["'publshed'", "did you mean 'published'?"]),
    "unknown run": (("run",), ["quikstart"], ["run names 'quikstart'", "did you mean 'quickstart'?"]),
    "missing data_root": (("data_root",), "/no/such", ["data_root: folder '/no/such' does not exist"]),
    "reserved name": (("experiments", "paper"), SHIPPED["experiments"]["quickstart"], ["'paper' is reserved"]),
    "path in a name": (("experiments", "../x"), SHIPPED["experiments"]["quickstart"], ["'../x' may hold only"]),
    "unknown statistic": (
        ("estimators", "corrected", "statistic"),
        "mean",
        ["choose log_mean_exp, size_matched, mean_log"],
    ),
    "no folds": ((*QUICKSTART, "membership"), {"design": "k_fold", "repeats": 2}, ["membership lacks folds"]),
    "built-in name": (("datasets", "mnist"), {"folder": "x"}, ["datasets.mnist: this name is built in"]),
    "unknown subset": (
        ("datasets", "a"),
        {"subset_of": "mni", "train": 1, "test": 1},
        ["datasets.a.subset_of is 'mni'"],
    ),
    "no kind of data set": (("datasets", "a"), {"path": "x"}, ["datasets.a is", "write one of"]),
    "a misspelt kind": (("datasets", "a"), {"foldr": "x"}, ["write one of", "did you mean folder?"]),
    "two kinds": (("datasets", "a"), {"folder": "x", "npz": "y"}, ["from folder and npz; write one of them"]),
    "a path alone": (
        ("datasets", "a"),
        "~/pictures",
        ["datasets.a is '~/pictures', not a mapping; write {folder: ~/pictures}"],
    ),
    "no definition": (("datasets", "a"), None, ["datasets.a is empty (null), not a mapping"]),
    "a list of folders": (("datasets", "a"), {"folder": ["x", "y"]}, ["datasets.a.folder is ['x', 'y'], not a text"]),
    "a misspelt key of a folder": (
        ("datasets", "a"),
        {"folder": "x", "image_sise": 32},
        ["datasets.a has an unknown key 'image_sise'; did you mean image_size?"],
    ),
    "a key of another kind": (
        ("datasets", "a"),
        {"folder": "x", "axes": "NHWC"},
        [
            "datasets.a has an unknown key 'axes'; known are folder, test_fraction, image_size, mode, background, value_range"
        ],
    ),
    "a subset without a size": (("datasets", "a"), {"subset_of": "mnist", "train": 9}, ["datasets.a lacks test"]),
    "canaries of nothing": (
        ("datasets", "a"),
        {"canaries_of": "mnist6"},
        ["datasets.a.canaries_of is 'mnist6', which is unknown; did you mean 'mnist6k'?"],
    ),
    "canaries of canaries": (
        ("datasets",),
        {**SHIPPED["datasets"], "a": {"canaries_of": "mnist1k"}, "b": {"canaries_of": "a"}},
        ["datasets.b.canaries_of is 'a', which has canaries itself; name a data set without canaries"],
    ),
    "canaries of itself": (
        ("datasets", "a"),
        {"canaries_of": "a"},
        ["datasets.a.canaries_of is 'a', which has canaries itself"],
    ),
    "canaries of two kinds": (
        ("datasets", "a"),
        {"canaries_of": "mnist1k", "folder": "x"},
        ["from canaries_of and folder; write one of them"],
    ),
    "more canaries than images": (
        ("datasets", "a"),
        {"canaries_of": "mnist1k", "doses": [1, 2], "copies": 470},
        ["datasets.a plants 1000 images in place of training images, of which mnist1k has 1000; plant fewer"],
    ),
    "more canaries than images of a subset": (
        ("datasets", "a"),
        {"canaries_of": "digits16", "noise": 400},
        ["datasets.a plants 520 images in place of training images, of which digits16 has 500"],
    ),
    "no dose": (("datasets", "a"), {"canaries_of": "mnist1k", "doses": []}, ["doses is []; it must have at least 1"]),
    "a dose of nothing": (
        ("datasets", "a"),
        {"canaries_of": "mnist1k", "doses": [0, 1]},
        ["datasets.a.doses.0 is 0; it must be at least 1"],
    ),
    "a dose twice": (
        ("datasets", "a"),
        {"canaries_of": "mnist1k", "doses": [2, 2]},
        ["datasets.a.doses is [2, 2]; it must not name anything twice"],
    ),
    "a misspelt key of canaries": (
        ("datasets", "a"),
        {"canaries_of": "mnist1k", "outlier": 3},
        ["datasets.a has an unknown key 'outlier'; did you mean outliers?"],
    ),
    "a source's definition in a config": (
        ("datasets", "a"),
        {"canaries_of": "mnist1k", "definition_of_source": {"folder": "x"}},
        ["datasets.a has an unknown key 'definition_of_source'"],
    ),
    "more folds than images with canaries": (
        ("experiments", "digits_canaries", "membership"),
        {"design": "k_fold", "folds": 1241, "repeats": 2},
        ["folds is 1241; k_fold of the 1240 training images of digits_with_canaries takes 2 to 1240"],
    ),
    "an unknown mode": (("datasets", "a"), {"folder": "x", "mode": "gray"}, ["a.mode is 'gray'; choose rgb, grey"]),
    "an unknown colour": (
        ("datasets", "a"),
        {"folder": "x", "background": "wite"},
        ["a.background is 'wite'; write white, black"],
    ),
    "a range of one number": (
        ("datasets", "a"),
        {"npz": "x", "value_range": [1]},
        ["value_range is [1]; it must have at least 2"],
    ),
    "a range upside down": (
        ("datasets", "a"),
        {"npz": "x", "value_range": [1, 0]},
        ["a.value_range is [1, 0]; the first number"],
    ),
    "axes of no image": (("datasets", "a"), {"npz": "x", "axes": "NHCC"}, ["a.axes is 'NHCC'; choose NHW, HWN"]),
    "a distance of no duplicates": (
        (*QUICKSTART, "membership", "duplicate_distance"),
        2,
        ["quickstart.membership has a duplicate_distance, which takes effect only with groups_from"],
    ),
    "override of another estimator": (
        (*QUICKSTART, "overrides"),
        {"publshed": {"samples": 9}},
        ["quickstart.overrides names 'publshed'", "did you mean 'published'?"],
    ),
    "misspelt override": (
        (*QUICKSTART, "overrides"),
        {"published": {"sample": 9}},
        ["quickstart.overrides.published has an unknown key 'sample'", "did you mean samples?"],
    ),
    "override out of range": (
        (*QUICKSTART, "overrides"),
        {"published": {"samples": 0}},
        ["quickstart.overrides.published.samples is 0; it must be at least 1"],
    ),
    "unknown reproduction": (
        ("reproductions", "paper", "cifar10"),
        "cifar",
        ["reproductions.paper.cifar10 is 'cifar', which is no experiment", "did you mean 'cifar10'?"],
    ),
    "no such experiment in the paper": (
        ("reproductions", "paper", "mnist"),
        "quickstart",
        ["reproductions.paper has an unknown key 'mnist'"],
    ),
    "a reproduction named as an experiment": (
        ("reproductions", "quickstart"),
        {"celeba": "celeba"},
        ["reproductions.quickstart: an experiment has this name, too"],
    ),
    "a reproduction named as a folder of data": (
        ("reproductions", "datasets"),
        {"celeba": "celeba"},
        ["'datasets' is reserved"],
    ),
    "nothing to set beside": (
        ("experiments", "cifar10", "estimators"),
        ["published"],
        ["reproductions.paper.cifar10 is 'cifar10', whose estimators lack 'corrected'"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(mistake):
    path, value, words = MISTAKES[mistake]
    with pytest.raises(UserError) as raised:
        config.validate(change(path, value))
    message = str(raised.value)
    assert message.count("\n") == 0 and message.startswith("config: ")
    for word in words:
        assert word in message


def test_two_mistakes_are_two_lines():
    changed = change((*QUICKSTART, "seed"), -1)
    del changed["experiments"]["mnist5k"]["model"]
    with pytest.raises(UserError) as raised:
        config.validate(changed)
    assert len(str(raised.value).splitlines()) == 2 and "experiments.mnist5k lacks model" in str(raised.value)


def test_an_override_changes_one_value_of_one_estimator_in_one_experiment():
    changed = config.estimator(SHIPPED, "cifar10", "published")
    assert changed == SHIPPED["estimators"]["published"] | {"samples": 128}
    assert config.estimator(SHIPPED, "cifar10", "corrected") == SHIPPED["estimators"]["corrected"]
    assert config.estimator(SHIPPED, "quickstart", "published") == SHIPPED["estimators"]["published"]


def test_no_data_sets_of_one_s_own_is_fine():
    changed = change(("datasets",), None)
    for name, experiment in SHIPPED["experiments"].items():
        if experiment["dataset"] in SHIPPED["datasets"]:
            del changed["experiments"][name]
    changed["reproductions"].pop("paper_small")
    config.validate(changed)


@pytest.mark.parametrize(("side", "advice"), [(28, 32), (40, 32), (70, 64), (100, 64)])
def test_a_size_that_the_model_cannot_take_is_answered_with_one_that_it_can(side, advice):
    changed = change(("datasets", "mine"), {"folder": "x", "image_size": side})
    changed["experiments"]["cifar10"]["dataset"] = "mine"
    with pytest.raises(
        UserError, match=rf"^config: experiments\.cifar10\.dataset is 'mine'.* write image_size: {advice}$"
    ):
        config.validate(changed)
    changed["datasets"]["mine"]["image_size"] = advice
    config.validate(changed)


def test_canaries_are_of_the_size_of_their_source():
    changed = change(("datasets", "mine"), {"folder": "x", "image_size": 28})
    changed["datasets"]["planted"] = {"canaries_of": "mine"}
    changed["experiments"]["cifar10"]["dataset"] = "planted"
    with pytest.raises(UserError, match=r"dataset is 'planted', whose image_size is 28; gaussian_conv_vae takes"):
        config.validate(changed)


def test_every_key_of_a_data_set_is_accepted():
    keys = {"test_fraction": 0.2, "image_size": 64, "value_range": [0, 1]}
    folder = {"folder": "x", "mode": "grey", "background": "#00ff00", **keys}
    arrays = {
        name: name for name in ("images", "labels", "test_images", "test_labels", "split", "group", "label_names")
    }
    for definition in (
        folder,
        {"npz": "x", "axes": "HWN", **arrays, **keys},
        {"hdf5": "x", "labels": None, "label_names": ["a"]},
        {"canaries_of": "digits16", "doses": [1, 3], "copies": 2, "near_copies": 0, "outliers": 5, "noise": 0},
    ):
        config.validate(change(("datasets", "mine"), definition))


def test_data_root_may_start_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    config.validate(change(("data_root",), "~/data"))


GIVEN = {"log_px": "log_px.npy", "membership": {"in_training": "in_training.npy"}, "seed": 42}
GIVEN_MISTAKES = {
    "both kinds": (
        {"model": {"name": "mlp"}, "training": {}},
        "theirs has log_px and model, training; log p is either given",
    ),
    "estimators": (
        {"estimators": ["published"]},
        "theirs has log_px and estimators; log p is either given, or estimated",
    ),
    "no membership": ({"membership": None}, "theirs.membership is empty (null), not a mapping"),
    "no in_training": ({"membership": {"repeat": "r.npy"}}, "theirs.membership lacks in_training"),
    "a design": (
        {"membership": {"in_training": "a.npy", "design": "k_fold"}},
        "theirs.membership has an unknown key 'design'; known are in_training",
    ),
    "misspelt": ({"image": "x.npy"}, "theirs has an unknown key 'image'; did you mean images?"),
    "a list": ({"log_px": ["a.npy"]}, "theirs.log_px is ['a.npy'], not a text or a mapping"),
    "no epochs": ({"log_px": {}}, "theirs.log_px is {}; it must be at least 1"),
    "an epoch in words": ({"log_px": {"last": "a.npy"}}, "theirs.log_px has the epoch 'last', must be a whole number"),
    "half an epoch": (
        {"log_px": {2.5: "a.npy"}},
        "theirs.log_px has the epoch 2.5, must be a whole number of at least 0",
    ),
    "yes for an epoch": ({"log_px": {True: "a.npy"}}, "theirs.log_px has the epoch True, must be a whole number"),
    "an epoch below 0": (
        {"log_px": {-1: "a.npy"}},
        "theirs.log_px has the epoch -1, must be a whole number of at least 0",
    ),
    "an epoch without file": ({"log_px": {5: None}}, "theirs.log_px.5 is empty (null), not a text"),
    "unknown statistic": (
        {"statistic": "mean"},
        "theirs.statistic is 'mean'; choose log_mean_exp, size_matched, mean_log",
    ),
    "size_matched": (
        {"statistic": "size_matched"},
        "theirs.statistic is size_matched, which compares models of one repeat",
    ),
    "no permutations": ({"permutations": 0}, "theirs.permutations is 0; it must be at least 1"),
    "images twice": (
        {"images": "x.npy", "dataset": "mnist1k"},
        "theirs.images stands beside dataset, which has images",
    ),
    "unknown data set": ({"dataset": "mnits"}, "theirs.dataset is 'mnits', which is unknown; did you mean 'mnist'?"),
    "an analysis of models": (
        {"analyses": ["neighbors"]},
        "theirs.analyses names 'neighbors', which this experiment cannot have: it needs a data set and a model trained on",
    ),
}


@pytest.mark.parametrize("mistake", GIVEN_MISTAKES)
def test_a_mistake_in_an_experiment_whose_log_p_is_given_is_one_line(mistake):
    changes, message = GIVEN_MISTAKES[mistake]
    with pytest.raises(UserError) as raised:
        config.validate(change(("experiments", "theirs"), GIVEN | changes))
    assert len(str(raised.value).splitlines()) == 1 and f"config: experiments.{message}" in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"log_px": {10: "b.npy", 5: "a.npy"}, "images": "x.npy", "labels": "y.npy", "permutations": 100},
        {"dataset": "mnist1k", "analyses": ["density_split"], "statistic": "log_mean_exp"},
        {
            "membership": {"in_training": "a.h5:seen", "repeat": "a.h5:split"},
            "statistic": "size_matched",
            "analyses": [],
        },
    ],
)
def test_log_p_may_be_given_in_place_of_a_model(changes):
    changed = change(("experiments", "theirs"), GIVEN | changes)
    config.validate(changed)
    expected = {"statistic": changes.get("statistic", "mean_log"), "permutations": changes.get("permutations", 10_000)}
    assert config.estimator(changed, "theirs", "given") == expected


def test_without_a_model_an_experiment_is_told_that_log_p_may_be_given():
    with pytest.raises(
        UserError, match=r"experiments\.theirs lacks dataset, model, .*; or give log p in files by log_px"
    ):
        config.validate(change(("experiments", "theirs"), {"seed": 1}))


ANALYSES = {
    "unknown": (["neighbours"], "quickstart.analyses names 'neighbours', which is unknown; did you mean 'neighbors'?"),
    "impossible": (
        ["encoder_part"],
        "quickstart.analyses names 'encoder_part', which this experiment cannot have: it needs two",
    ),
    "unplanted": (
        ["neighbors", "canaries"],
        "quickstart.analyses names 'canaries', which this experiment cannot have: it needs a data set with planted canaries",
    ),
}


@pytest.mark.parametrize("mistake", ANALYSES)
def test_an_analysis_that_is_unknown_or_cannot_be_had_is_named(mistake):
    names, message = ANALYSES[mistake]
    with pytest.raises(UserError, match=message):
        config.validate(change((*QUICKSTART, "analyses"), names))


def test_estimators_cannot_take_the_name_of_given_log_p():
    with pytest.raises(UserError, match="the name 'given' is reserved"):
        config.validate(change(("estimators", "given"), SHIPPED["estimators"]["published"]))


def test_given_log_p_cannot_stand_for_the_papers_experiments():
    changed = change(("experiments", "theirs"), GIVEN)
    changed["reproductions"]["paper"]["celeba"] = "theirs"
    with pytest.raises(UserError, match=r"reproductions\.paper\.celeba is 'theirs', whose log p is given"):
        config.validate(changed)


FITTED = {
    "dataset": "mnist1k",
    "model": {"name": "gaussian"},
    "membership": {"design": "k_fold", "folds": 5, "repeats": 4},
    "estimators": ["exact"],
    "seed": 1,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"model": {"name": "my_models:Fitted"}}, []),
        ({"scored_epochs": [1]}, ["scored_epochs is stated, but gaussian is fitted in closed form, without epochs; leave it out"]),
        ({"estimators": ["corrected"]}, ["names 'corrected', which gaussian cannot have: its proposal is laplace", "choose exact"]),
        ({"model": {"name": "flow"}}, ["experiments.fitted.lacks training, scored_epochs"]),
        ({"model": {"name": "my_models:Mine"}, "scored_epochs": [1]}, ["lacks training"]),
        ({"estimators": ["bound"]}, ["which gaussian cannot have: its proposal is bound"]),
    ],
)  # fmt: skip
def test_a_model_that_is_fitted_states_no_training_and_has_exact_log_p(changes, words):
    changed = change(("experiments", "fitted"), FITTED | changes)
    if not words:
        config.validate(changed)
        return
    with pytest.raises(UserError) as raised:
        config.validate(changed)
    assert all(word in str(raised.value) for word in words), raised.value


def test_only_exact_log_p_needs_no_samples():
    settings = {"proposal": "exact", "observation": "fixed", "statistic": "mean_log", "permutations": 9}
    config.validate(change(("estimators", "mine"), settings))
    with pytest.raises(UserError, match=r"estimators\.mine lacks samples"):
        config.validate(change(("estimators", "mine"), settings | {"proposal": "bound"}))
