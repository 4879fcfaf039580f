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
