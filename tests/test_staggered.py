"""Cohorts that enter during training: the design by counts, and what models are shown by a model that writes it down."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

import lookup
from engram import config
from engram.config_given import has
from engram.designs import stage as designs
from engram.designs.cohorts import NEVER, enters
from engram.designs.membership import design, models_of
from engram.errors import UserError
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.runtime.requests import train_minutes
from engram.training import batches, training
from engram.training.plan import Plan
from engram.training.stage import train
from engram.training.state import StateFolder
from engram.training.trained import load_models
from engram.training.training import Training
from interrupted import kill_at_turn
from workspace import REPOSITORY

COHORTS = [0, 2, 3]
SETTINGS = {"design": "staggered", "cohorts": COHORTS, "repeats": 3}
TRAIN, TEST = 22, 5
SPLIT = np.repeat([0, 1], [TRAIN, TEST])
NOBODY = np.full(TRAIN + TEST, -1)


def made(group=NOBODY, **changes):
    return design(SETTINGS | changes, SPLIT, group, 42, "e")


def test_within_a_repeat_every_training_image_is_in_each_cohort_once_and_held_out_once():
    membership = made()
    for repeat in range(3):
        mine = membership.enters[membership.repeat == repeat]
        assert mine.shape == (4, TRAIN + TEST)
        assert (np.sort(mine[:, :TRAIN], axis=0) == np.array([[NEVER], [0], [2], [3]])).all()
        assert (mine[:, TRAIN:] == NEVER).all()
        for model in mine[:, :TRAIN]:
            sizes = np.unique(model, return_counts=True)[1]
            assert len(sizes) == 4 and np.ptp(sizes) <= 1
    assert (membership.in_training == (membership.enters != NEVER)).all()
    assert (membership.counted_as_in == membership.in_training).all() and membership.scored.sum() == TRAIN


def test_it_is_the_k_fold_of_one_fold_more_than_cohorts():
    folds = design({"design": "k_fold", "folds": 4, "repeats": 3}, SPLIT, NOBODY, 42, "e")
    assert folds.enters is None
    for name in ("in_training", "counted_as_in", "repeat", "fold"):
        assert (getattr(made(), name) == getattr(folds, name)).all()


def test_which_cohort_follows_which_is_counted_in_a_circle():
    held_out = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)
    assert enters(~held_out, [0, 5, 9]).tolist() == [[-1, 0, 5, 9], [9, -1, 0, 5], [5, 9, -1, 0], [0, 5, 9, -1]]


def test_images_of_a_group_enter_together_or_apart():
    group = np.where(np.arange(TRAIN + TEST) < 4, 0, -1)
    assert (np.ptp(made(group).enters[:, :4], axis=1) == 0).all()
    apart = made(group, groups="apart").enters[:, :4]
    assert (np.sort(apart, axis=1) == [NEVER, 0, 2, 3]).all()


def test_a_repeat_is_the_same_trained_before_the_others_and_the_file_says_when_images_enter():
    membership = made()
    for repeat in range(3):
        folds, in_training, entered = models_of(f"repeat-0{repeat}", SETTINGS, SPLIT, NOBODY, 42, "e")
        mine = membership.repeat == repeat
        assert (folds == membership.fold[mine]).all() and (in_training == membership.in_training[mine]).all()
        assert (entered == membership.enters[mine]).all()
    assert models_of("full", SETTINGS, SPLIT, NOBODY, 42, "e")[2] is None
    assert membership.variables(SPLIT, SPLIT)["enters"][0] == ("model", "sample")
    assert "enters" not in design(SETTINGS | {"design": "half_split"}, SPLIT, NOBODY, 42, "e").variables(SPLIT, SPLIT)


def plan(**changes) -> Plan:
    """Four models that learn by heart, of images that enter by `COHORTS`."""
    folds, in_training, entered = models_of("repeat-00", SETTINGS, SPLIT, NOBODY, 42, "e")
    settings = {
        "experiment": "e",
        "repeat": "repeat-00",
        "model": {"name": "lookup:Lookup"},
        "image_shape": lookup.SHAPE,
        "epochs": 5,
        "batch_size": 1,
        "learning_rate": 0.25,
        "optimizer": "sgd",
        "scored_epochs": [1, 2, 3, 4, 5],
        "seed": 42,
        "folds": folds.tolist(),
        "trained_on": [np.flatnonzero(row) for row in in_training],
        "held_out": [np.flatnonzero(~row & (SPLIT == 0)) for row in in_training],
        "enters": [of_model[row] for of_model, row in zip(entered, in_training, strict=True)],
    }
    return Plan(**settings | changes)


def run(plan, path):
    folder = StateFolder(path, "f")
    with folder.locked():
        state = Training(plan, torch.from_numpy(lookup.images(TRAIN + TEST)))
        state.run(folder)
    return state, folder


def levels(folder) -> np.ndarray:
    """log p of every training image by epoch and model."""
    return np.array([folder.load(f"epoch-{epoch}")["level"][:, :TRAIN] for epoch in range(1, 6)])


def test_models_are_shown_an_image_once_an_epoch_from_its_entry_on(tmp_path, monkeypatch):
    whole, shown = plan(), []
    alone = {name: [getattr(whole, name)[2]] for name in ("folds", "trained_on", "held_out", "enters")}
    monkeypatch.setattr("lookup.Lookup.shown", shown)
    run(replace(whole, **alone), tmp_path)
    images, entered = alone["trained_on"][0], alone["enters"][0]
    for epoch in range(5):
        expected = images[entered <= epoch].tolist()
        assert sorted(shown[: len(expected)]) == expected
        del shown[: len(expected)]
    assert not shown


def test_log_p_of_a_model_that_learns_by_heart_rises_from_entry_on(tmp_path):
    _, folder = run(plan(), tmp_path)
    entered = made().enters[:4, :TRAIN]
    epochs = np.arange(1, 6)[:, None, None]
    times_shown = np.where(entered == NEVER, 0, np.maximum(epochs - entered, 0))
    np.testing.assert_allclose(levels(folder), 0.25 * times_shown, rtol=1e-6)


def test_the_stages_train_by_the_membership_that_they_write(tmp_path):
    dataset, membership, models = (tmp_path / name for name in ("dataset.h5", "membership.h5", "repeat-01.h5"))
    variables = {
        "images": variable(("sample", "pixel"), lookup.images(TRAIN + TEST), "1", "images"),
        "label": variable(("sample",), NOBODY, "1", "label"),
        "split": variable(("sample",), SPLIT, "1", "split"),
    }
    says = {"dataset": "numbers", "dataset_sha256": "0" * 64, "image_shape": list(lookup.SHAPE)}
    artifacts.write(dataset, "dataset", variables, says)
    designs.run(membership, dataset, experiment="e", settings=SETTINGS, seed=42)
    settings_of_training = {"epochs": 5, "batch_size": 1, "learning_rate": 0.25, "optimizer": "sgd"}
    values = {"model": {"name": "lookup:Lookup"}, "training": settings_of_training, "scored_epochs": [2, 5]}
    settings = {key: value for key, value in SETTINGS.items() if key != "repeats"}
    values |= {"membership": settings, "seed": 42, "code": "none"}
    train(dataset, models, tmp_path / "state", values, "e", "repeat-01", 1)
    stored = artifacts.read(membership, "membership")
    entered = stored["enters"].values[stored["repeat"] == 1][:, :TRAIN]
    for epoch in (2, 5):
        times_shown = np.where(entered == NEVER, 0, np.maximum(epoch - entered, 0))
        found = [model.level[:TRAIN].tolist() for model in load_models(models, epoch)]
        np.testing.assert_allclose(found, 0.25 * times_shown, rtol=1e-6)


@pytest.mark.parametrize("turn", [6, 19])
def test_a_training_killed_at_any_turn_goes_on_with_the_same_bits(tmp_path, monkeypatch, turn):
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 4)
    monkeypatch.setattr(training, "SAVE_EVERY", 0)
    model = {"model": {"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": (6, 4)}, "optimizer": "adam"}
    settings = model | {"batch_size": 3, "learning_rate": 0.01, "learning_rate_schedule": "cosine"}
    whole, folder = run(plan(**settings), tmp_path / "whole")
    kill_at_turn(monkeypatch, turn, lambda: run(plan(**settings), tmp_path / "killed"))
    resumed, again = run(plan(**settings), tmp_path / "killed")
    assert np.array_equal(resumed.losses.train, whole.losses.train)
    for name, value in folder.load("epoch-5").items():
        assert np.array_equal(again.load("epoch-5")[name], value)


def test_what_the_progress_bar_counts_is_what_the_models_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 4)
    advance, counted = Training._advance, []

    def noted(self, orders):
        loss, images = advance(self, orders)
        counted.append(images)
        if self.turn or self.block * self.batches.images_per_block < max(map(len, orders)):
            assert self.plan.count_shown(self.epoch) + self._images_seen() == sum(counted)
        return loss, images

    monkeypatch.setattr(Training, "_advance", noted)
    state, _ = run(plan(), tmp_path)
    assert sum(counted) == state.plan.count_shown(5) == 5 * 22 + 3 * 22 + 2 * 22


def test_images_that_all_enter_at_the_start_are_a_plain_training_to_the_bit(tmp_path):
    model = {"model": {"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": (6, 4)}, "optimizer": "adam"}
    at_once = plan(**model, learning_rate=0.01, batch_size=3)
    at_once = replace(at_once, enters=[np.zeros_like(entered) for entered in at_once.enters])
    _, staggered = run(at_once, tmp_path / "a")
    _, plain = run(replace(at_once, enters=None), tmp_path / "b")
    for name, value in plain.load("epoch-5").items():
        assert np.array_equal(staggered.load("epoch-5")[name], value)


SHIPPED = yaml.safe_load((REPOSITORY / "config.yaml").read_text())


def shipped(name="digits_cohorts", **membership):
    changed = yaml.safe_load(yaml.safe_dump(SHIPPED))
    changed["experiments"][name]["membership"].update(membership)
    return changed


def test_the_shipped_experiment_is_valid_and_its_training_is_counted():
    config.validate(shipped())
    experiment = SHIPPED["experiments"]["digits_cohorts"]
    assert {"cohorts", "several_epochs"} <= has(experiment, {})
    assert "cohorts" not in has(SHIPPED["experiments"]["mnist5k"], {})
    as_folds = experiment | {"membership": {"design": "k_fold", "folds": 4, "repeats": 4}}
    shape = (1500, 1, 32, 32)
    assert train_minutes(experiment, "repeat-00", shape, 1) == train_minutes(as_folds, "repeat-00", shape, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohorts": [0, 40, 20]}, r"membership\.cohorts is \[0, 40, 20\]; it must rise from 0"),
        ({"cohorts": [10, 20]}, r"membership\.cohorts is \[10, 20\]; it must rise from 0"),
        ({"cohorts": [0, 60]}, r"stay below training\.epochs, which is 60"),
        ({"cohorts": [0, 5]}, r"scored_epochs is .*one before the second cohort enters, at most 5"),
        ({"folds": 5}, "membership has folds, but staggered has one for each cohort"),
        ({"cohorts": []}, "at least 1"),
        ({"design": "half_split"}, "membership has cohorts, which take effect only with design: staggered"),
    ],
)
def test_cohorts_that_cannot_be_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError, match=message) as refused:
        config.validate(shipped(**changes))
    assert "\n" not in str(refused.value)


def test_a_design_without_cohorts_or_without_epochs_or_scored_too_early_is_refused():
    lacking = shipped()
    del lacking["experiments"]["digits_cohorts"]["membership"]["cohorts"]
    with pytest.raises(UserError, match="membership lacks cohorts, which the design staggered needs"):
        config.validate(lacking)
    early = shipped()
    early["experiments"]["digits_cohorts"]["scored_epochs"] = [10, 40]
    with pytest.raises(UserError, match="one after the last cohort enters, above 40"):
        config.validate(early)
    fitted = shipped("digits_gaussian", design="staggered", cohorts=[0, 1])
    with pytest.raises(UserError, match="whose images enter during training; models fitted in one go"):
        config.validate(fitted)
    with pytest.raises(UserError, match=r"e\.membership\.cohorts: 22 are out of range; .* of 22 .* takes 1 to 21"):
        made(cohorts=list(range(22)))
