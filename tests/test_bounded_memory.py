"""The bound of a diffusion model in bounded memory: what goes through the network at once, and that parts change no value."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from engram.likelihood import evaluation
from engram.models import diffusion
from engram.models.diffusion import DiffusionModel, reconstruction

BOUND = {"proposal": "bound", "observation": "fixed", "samples": 64}


class Blur(DiffusionModel):
    """Predicts noise by one convolution, and remembers how many pixels it was asked for at once."""

    def __init__(self, image_shape):
        super().__init__(image_shape, gamma_0=-13.3, gamma_1=5.0, steps=2)
        self.layer = torch.nn.Conv2d(image_shape[0], image_shape[0], 3, padding=1)
        self.seen = []

    def predict_noise(self, z, gamma):
        self.seen.append(z[:, 0].numel())
        return self.layer(z) * torch.sigmoid(gamma).reshape(-1, 1, 1, 1)


@pytest.fixture(params=[(1, 8, 8), (1, 16, 16), (3, 64, 64), (1, 320, 256)], ids=str)
def model(request):
    torch.manual_seed(0)
    return Blur(request.param).eval()


def log_px(model, images, **settings):
    judged = evaluation.Evaluation(BOUND | settings, model.image_shape, (42, "toy"), torch.device("cpu"))
    return evaluation.evaluate(judged, [model], [("e", "repeat-00", 0, 1)], images).log_px


def grey(model, n):
    return np.random.default_rng(1).integers(0, 256, (n, math.prod(model.image_shape)), dtype=np.uint8)


def of_one_call(model):
    """Most pixels that may go through the network at once: of one image, where that is larger than a part."""
    return max(diffusion.PIXELS_AT_ONCE, math.prod(model.image_shape[1:]))


@pytest.mark.parametrize("samples", [3, 70])
def test_whatever_the_samples_and_the_size_of_images_the_network_sees_so_many_pixels_at_once(model, samples):
    log_px(model, grey(model, 2 if model.image_shape[1] > 100 else 20), samples=samples)
    assert max(model.seen) <= of_one_call(model) and sum(model.seen) >= 2 * samples * math.prod(model.image_shape[1:])


def test_losses_and_samples_of_many_images_go_through_the_network_in_such_parts_too(model):
    n = 1 + 2 * of_one_call(model) // math.prod(model.image_shape[1:])
    with torch.no_grad():
        model(torch.zeros(n, *model.image_shape), torch.zeros(n, *model.noise_shape))
    model.sample(n)
    assert max(model.seen) <= of_one_call(model)


def test_a_batch_of_training_stays_one():
    model, n = Blur((1, 64, 64)).train(), 20
    model(torch.zeros(n, *model.image_shape), torch.zeros(n, *model.noise_shape))
    assert model.seen == [n * 64 * 64] and model.seen[0] > diffusion.PIXELS_AT_ONCE


def test_parts_change_no_value_beyond_rounding(monkeypatch):
    torch.manual_seed(0)
    model = Blur((1, 16, 16)).eval()
    images = grey(model, 11)
    at_once = log_px(model, images)
    monkeypatch.setattr(diffusion, "PIXELS_AT_ONCE", 7 * 256)
    monkeypatch.setattr(evaluation, "NOISE", 3 * 64 * 257)
    in_parts = log_px(model, images)
    assert max(model.seen[-20:]) <= 7 * 256
    torch.testing.assert_close(in_parts, at_once, rtol=1e-6, atol=0)


def test_the_noise_of_so_many_numbers_at_most_is_held_or_that_of_one_image(model, monkeypatch):
    held = []
    normals = evaluation.Noise.normals
    monkeypatch.setattr(
        evaluation.Noise,
        "normals",
        lambda noise, shape: held.append((len(noise.rows), *shape)) or normals(noise, shape),
    )
    log_px(model, grey(model, 3))
    of_image = 64 * (1 + math.prod(model.image_shape))
    assert all(math.prod(shape) <= max(evaluation.NOISE, of_image) for shape in held)
    assert sum(shape[0] for shape in held) == 3


def test_the_progress_bar_moves_after_each_model(monkeypatch):
    moves = []
    monkeypatch.setattr(evaluation.Progress, "update", lambda progress, n: moves.append(n))
    monkeypatch.setattr(evaluation, "NOISE", 4 * 64 * 65)
    models = [Blur((1, 8, 8)).eval() for _ in range(3)]
    judged = evaluation.Evaluation(BOUND | {"draws": 2}, (1, 8, 8), (42, "toy"), torch.device("cpu"))
    evaluation.evaluate(judged, models, [("e", "repeat-00", fold, 1) for fold in range(3)], grey(models[0], 6))
    assert moves == [4] * 6 + [2] * 6


@pytest.mark.parametrize("gamma_0", [-20.0, -13.3, -8.0, -3.0, 2.0])
def test_the_reconstruction_is_the_softmax_over_all_256_levels(gamma_0):
    rng = np.random.default_rng(3)
    level, epsilon = rng.integers(0, 256, (30, 1, 4, 4)), 2 * rng.normal(size=(30, 1, 4, 4))
    level[:5], level[5:10] = 0, 255
    width, values = math.exp(gamma_0 / 2), np.arange(256) / 127.5 - 1
    x = values[level]
    logits = -0.5 * (((x + width * epsilon)[..., None] - values) / width) ** 2
    own = np.take_along_axis(logits, level[..., None], -1)[..., 0]
    expected = (own - logsumexp(logits, -1)).sum((1, 2, 3))
    log_p = reconstruction(torch.from_numpy(x), torch.from_numpy(epsilon), gamma_0)
    np.testing.assert_allclose(log_p.numpy(), expected, rtol=1e-9, atol=1e-9)
