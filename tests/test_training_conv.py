"""Training with batch norm from the first step to the likelihood, and augmentation."""

import numpy as np
import pytest
import torch

from engram.likelihood.estimation import estimate
from engram.models import build
from engram.models.observations import draw
from engram.randomness import torch_generator
from engram.training import trained, training
from engram.training.batches import STEPS_PER_BLOCK
from engram.training.lockstep import Pack
from engram.training.training import Training
from test_training import SHAPE, N, plan, run, weights
from test_training import images as images  # a fixture

CONV = {"model": {"name": "gaussian_conv_vae", "latent_dim": 2, "features": 2}, "image_shape": (1, 32, 32)}


@pytest.fixture
def faces():
    """Bright blobs at random places."""
    rng, grid = np.random.default_rng(0), np.arange(32)
    x, y = rng.uniform(8, 24, (2, N, 1))
    blobs = np.exp(-((grid - x) ** 2)[:, None, :] / 40 - ((grid - y) ** 2)[:, :, None] / 40)
    return torch.from_numpy((200 * blobs + 20).astype(np.uint8).reshape(N, -1))


def test_convolutional_models_train_alike_in_one_pack_and_apart(faces, tmp_path, monkeypatch):
    few = plan(folds=range(3), epochs=1, scored_epochs=[1], learning_rate=0.001, **CONV)
    separate, folder = run(few, faces, tmp_path / "a")
    monkeypatch.setattr(training, "models_per_pack", lambda device, models: models)
    joint, joint_folder = run(few, faces, tmp_path / "b")
    assert (len(separate.packs), len(joint.packs)) == (3, 1)
    np.testing.assert_allclose(joint.losses.held_out, separate.losses.held_out, rtol=1e-4)
    for name, value in weights(folder, 1).items():
        np.testing.assert_allclose(weights(joint_folder, 1)[name], value, atol=5e-3)


def test_a_stored_convolutional_model_remembers_batch_norm_and_has_the_loss_it_was_trained_to(faces, tmp_path):
    state, folder = run(plan(folds=[0, 1], epochs=6, scored_epochs=[6], **CONV), faces, tmp_path / "state")
    assert (state.losses.train[-1] < state.losses.train[0] - 500).all()
    trained.write(tmp_path / "m.h5", state, folder, {})
    model = trained.load_model(tmp_path / "m.h5", epoch=6, index=1)
    steps = 6 * -(-len(state.plan.trained_on[1]) // 8)
    assert model.encoder[3].num_batches_tracked.item() == steps
    seen = faces[state.plan.trained_on[1]]
    x = draw(seen, torch.rand(seen.shape, generator=torch.Generator().manual_seed(0)), "logit").reshape(-1, 1, 32, 32)
    # The mean log weight of the encoder's samples is the ELBO, in pixel space.
    elbo = estimate(model, x, "encoder", samples=64).elbo.mean().item()
    assert -elbo == pytest.approx(state.losses.train[-1, 1], rel=0.01)


@pytest.mark.parametrize("augmentation", [{}, {"augmentation": "none"}, {"augmentation": "horizontal_flip"}])
def test_the_streams_of_x_and_z_are_the_same_with_and_without_augmentation(images, augmentation):
    uniforms, normals, *_ = Training(plan(**augmentation), images).batches.noise(2, 0, 0)
    stream = torch_generator("cpu", 42, "training", "e", "repeat-00", 2, "noise", 0, 0)
    seen = STEPS_PER_BLOCK * 8
    assert torch.equal(uniforms, torch.rand(seen, 36, generator=stream))
    assert torch.equal(normals, torch.randn(seen, 2, generator=stream))


def test_no_augmentation_is_the_default_and_changes_no_bit(images, tmp_path):
    _, absent = run(plan(epochs=1, scored_epochs=[1]), images, tmp_path / "a")
    _, none = run(plan(epochs=1, scored_epochs=[1], augmentation="none"), images, tmp_path / "b")
    for name, value in weights(absent, 1).items():
        assert np.array_equal(weights(none, 1)[name], value)


class Shown:
    """What models are shown when they train and when they are evaluated."""

    def __init__(self, monkeypatch):
        self.training, self.evaluation = [], []
        step, evaluate = Pack.step, Pack.evaluate

        def watched_step(pack, members, x, noise):
            self.training += list(x.flatten(0, 1))
            return step(pack, members, x, noise)

        def watched_evaluate(pack, index, x, noise):
            self.evaluation += list(x)
            return evaluate(pack, index, x, noise)

        monkeypatch.setattr(Pack, "step", watched_step)
        monkeypatch.setattr(Pack, "evaluate", watched_evaluate)


def test_half_of_the_images_are_mirrored_each_by_a_coin_of_its_own_and_only_in_training(tmp_path, monkeypatch):
    shape = torch.zeros(1, *SHAPE[1:], dtype=torch.uint8)
    shape[0, 0, :2] = 255  # black and white are drawn without chance
    shown, original = Shown(monkeypatch), shape[0].float().unsqueeze(0) / 255
    flips = plan(folds=[3], epochs=4, scored_epochs=[4], augmentation="horizontal_flip")
    run(flips, shape.flatten(1).expand(N, -1), tmp_path)
    mirrored = [torch.equal(x, original.flip(-1)) for x in shown.training]
    assert all(torch.equal(x, original) != was for x, was in zip(shown.training, mirrored, strict=True))
    assert 0.4 < np.mean(mirrored) < 0.6 and len(mirrored) > 300
    batches = [mirrored[start : start + 8] for start in range(0, 80, 8)]
    assert sum(0 < sum(batch) < 8 for batch in batches) >= 8, "a coin for each image, not for each batch"
    assert mirrored[:83] != mirrored[83:166], "new coins in every epoch"
    assert all(torch.equal(x, original) for x in shown.evaluation)


def test_a_mirrored_image_is_drawn_after_the_mirroring_with_the_noise_of_its_place(images):
    state = Training(plan(augmentation="horizontal_flip"), images)
    uniforms, _, mirrored = (part[:8] for part in state.batches.noise(0, 0, 0))
    chosen = np.arange(8)
    x = state.batches.observe(chosen, uniforms, mirrored)
    for i in range(8):
        grey = images[i].reshape(SHAPE).flip(-1).flatten() if mirrored[i] else images[i]
        assert torch.equal(x[i].flatten(), draw(grey, uniforms[i], "binary"))


def test_models_of_8_bit_pixels_train_too(faces, tmp_path):
    settings = CONV | {"model": {"name": "logistic_mixture_conv_vae", "latent_dim": 2, "features": 2, "components": 2}}
    state, _ = run(plan(folds=[0], epochs=3, scored_epochs=[3], **settings), faces, tmp_path)
    assert state.losses.train[-1, 0] < state.losses.train[0, 0] < 1024 * np.log(256) * 1.5
    assert build(image_shape=(1, 32, 32), **settings["model"]).observation == state.batches.observation == "pixels"
