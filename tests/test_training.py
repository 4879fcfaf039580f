"""Training: what it draws, what it survives, and how it says that it failed."""

import errno
import fcntl
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from engram.errors import UserError
from engram.files import artifacts
from engram.training import batches, stage, trained, training
from engram.training.plan import Plan
from engram.training.state import StateFolder, fingerprint
from engram.training.training import Training
from interrupted import kill_at_turn

SHAPE = (1, 6, 6)
MODEL = {"name": "bernoulli_mlp_vae", "latent_dim": 2, "hidden": (16, 8)}
N = 103  # 5 folds of 20 or 21: not divisible, and the last batches differ in size


@pytest.fixture
def images():
    rows = np.random.default_rng(0).integers(0, 2, (N, 36)) * 200
    rows[:50] = np.tile(255 * (np.arange(36) % 2), (50, 1))
    return torch.from_numpy(rows.astype(np.uint8))


def plan(folds=range(5), **changes):
    fold_of = np.arange(N) % 5
    settings = {
        "experiment": "e",
        "repeat": "repeat-00",
        "model": MODEL,
        "image_shape": SHAPE,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.01,
        "scored_epochs": [1, 3],
        "seed": 42,
        "folds": list(folds),
        "trained_on": [np.flatnonzero(fold_of != fold) for fold in folds],
        "held_out": [np.flatnonzero(fold_of == fold) for fold in folds],
    }
    return Plan(**settings | changes)


def run(plan, images, path):
    folder = StateFolder(path, "f")
    with folder.locked():
        state = Training(plan, images)
        state.run(folder)
    return state, folder


def weights(folder, epoch=3):
    return folder.load(f"epoch-{epoch}")


def test_a_model_is_the_same_to_the_bit_trained_alone_or_among_others(images, tmp_path):
    _, together = run(plan(), images, tmp_path / "a")
    _, alone = run(plan(folds=[3]), images, tmp_path / "b")
    for name, value in weights(alone).items():
        assert np.array_equal(value[0], weights(together)[name][3])


def test_one_pack_of_five_gives_the_values_of_five_packs_to_rounding(images, tmp_path, monkeypatch):
    separate, folder = run(plan(), images, tmp_path / "a")
    assert len(separate.packs) == 5
    monkeypatch.setattr(training, "models_per_pack", lambda device, models: models)
    joint, joint_folder = run(plan(), images, tmp_path / "b")
    assert len(joint.packs) == 1
    np.testing.assert_allclose(joint.losses.held_out, separate.losses.held_out, rtol=1e-4)
    for name, value in weights(folder).items():
        np.testing.assert_allclose(weights(joint_folder)[name], value, atol=1e-3)


def test_what_the_progress_bar_resumes_from_is_what_the_models_have_seen(images, monkeypatch):
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 6)
    state, seen = Training(plan(), images), 0
    orders = [state.batches.order(position, 0) for position in range(5)]
    for _ in range(12):
        seen += state._advance(orders)[1]
        assert state._images_seen() == seen > 0


@pytest.mark.parametrize("turn", [1, 3, 5, 12, 26])
def test_a_training_stopped_at_any_turn_of_a_model_goes_on_with_the_same_bits(images, tmp_path, monkeypatch, turn):
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 6)
    monkeypatch.setattr(training, "SAVE_EVERY", 0)
    whole, whole_folder = run(plan(), images, tmp_path / "whole")

    kill_at_turn(monkeypatch, turn + 1, lambda: run(plan(), images, tmp_path / "killed"))
    resumed, folder = run(plan(), images, tmp_path / "killed")
    assert np.array_equal(resumed.losses.train, whole.losses.train)
    for epoch in (1, 3):
        for name, value in weights(whole_folder, epoch).items():
            assert np.array_equal(weights(folder, epoch)[name], value)


def test_a_state_of_other_settings_is_not_continued_and_that_is_said(images, tmp_path, caplog):
    run(plan(), images, tmp_path)
    assert StateFolder(tmp_path, "other").load("state") is None
    assert "belongs to other settings" in caplog.text


def test_a_damaged_state_is_not_continued_and_that_is_said(images, tmp_path, caplog):
    _, folder = run(plan(), images, tmp_path)
    content = bytearray((tmp_path / "state.npz").read_bytes())
    content[content.index(weights(folder)["encoder.0.weight"][0].tobytes())] ^= 1
    (tmp_path / "state.npz").write_bytes(content)
    assert folder.load("state") is None and "is damaged" in caplog.text


def test_fingerprints_tell_settings_and_data_apart():
    ones = np.ones(3)
    prints = {fingerprint({"a": 1}, ones), fingerprint({"a": 2}, ones), fingerprint({"a": 1}, 2 * ones)}
    assert len(prints) == 3 and fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_a_second_training_of_the_same_models_says_who_holds_them_and_stops(tmp_path):
    with StateFolder(tmp_path, "f").locked():
        other = (
            f"from engram.training.state import StateFolder\nwith StateFolder({str(tmp_path)!r}, 'f').locked(): pass"
        )
        second = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert second.returncode != 0
    assert f"process {os.getpid()}" in second.stderr and "is still training these models" in second.stderr
    with StateFolder(tmp_path, "f").locked():
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_and_training_goes_on(code, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fcntl, "flock", raising(OSError(code, os.strerror(code))))
    with StateFolder(tmp_path, "f").locked():
        StateFolder(tmp_path, "f").save("state", {"a": np.ones(2)})
    assert StateFolder(tmp_path, "f").load("state")["a"].sum() == 2
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path}/lock: its file system has no locks ({os.strerror(code)}); going on without")
    assert "do not train these models by two processes at once" in warning


def test_another_fault_of_the_lock_is_not_taken_for_a_file_system_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", raising(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"), StateFolder(tmp_path, "f").locked():
        pass


def raising(error):
    """A function that takes anything and raises `error`."""

    def function(*_):
        raise error

    return function


def test_a_setting_that_the_model_does_not_take_is_named_with_the_experiment(images):
    with pytest.raises(
        UserError, match=r"^experiments\.e\.model: model bernoulli_mlp_vae takes no 'latent'; did you mean"
    ):
        Training(plan(model={"name": "bernoulli_mlp_vae", "latent": 2}), images)


@pytest.mark.parametrize(("batch_size", "warnings"), [(82, 0), (83, 0), (84, 1)])
def test_a_batch_of_more_images_than_there_are_is_said_with_the_key_and_what_would_be_right(
    batch_size, warnings, caplog
):
    stage._mind_batches(plan(batch_size=batch_size))  # folds of 20 or 21 of 103 images: models see 82 or 83
    assert len(caplog.messages) == warnings
    for message in caplog.messages:
        assert message.startswith("experiments.e.training.batch_size is 84, but a model is trained on 83 images")
        assert "a batch_size of 21, say" in message


def test_a_rate_far_too_high_ends_with_the_model_and_the_key_to_change(images, tmp_path):
    with pytest.raises(
        UserError, match=r"e, repeat-00, fold \d diverged in epoch \d.*lower experiments.e.training.learning_rate"
    ):
        run(plan(learning_rate=1e6), images, tmp_path)


@pytest.mark.slow
def test_losses_fall_and_unseen_images_fit_worse_than_seen_ones(images, tmp_path):
    state, _ = run(plan(epochs=60, scored_epochs=[60]), images, tmp_path)
    assert (state.losses.train[-1] < 0.8 * state.losses.train[0]).all()
    assert state.losses.train[-1].mean() < state.losses.held_out[-1].mean()


def test_the_recorded_loss_is_the_mean_negative_elbo_in_eval_mode(images, tmp_path):
    black_or_white = (images > 0).to(torch.uint8) * 255
    state, folder = run(plan(), black_or_white, tmp_path / "state")
    trained.write(tmp_path / "m.h5", state, folder, {})
    model = trained.load_model(tmp_path / "m.h5", epoch=3, index=2)
    seen = (black_or_white[state.plan.trained_on[2]] / 255).reshape(-1, *SHAPE)
    with torch.no_grad():
        elbo = np.mean([model(seen, torch.randn(len(seen), 2)).mean().item() for _ in range(50)])
    assert -elbo == pytest.approx(state.losses.train[2, 2], rel=0.03)


def test_stored_models_hold_every_scored_epoch_and_load_back(images, tmp_path):
    state, folder = run(plan(), images, tmp_path / "state")
    trained.write(tmp_path / "m.h5", state, folder, {"experiment": "e"})
    for epoch in (1, 3):
        models = trained.load_models(tmp_path / "m.h5", epoch)
        assert len(models) == 5 and artifacts.read(tmp_path / "m.h5", "models").attrs["observation"] == "binary"
        for name, value in models[4].state_dict().items():
            assert np.array_equal(value.numpy(), weights(folder, epoch)[name][4])
