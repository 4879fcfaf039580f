"""The public functions that take images: estimate and distance_ratio."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import engram
from engram.errors import UserError
from engram.likelihood import estimation
from latent_models import LinearVAE


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return engram.models.build("bernoulli_mlp_vae", (1, 6, 8), latent_dim=2, hidden=(16, 8))


@pytest.fixture(scope="module")
def colour_model():
    torch.manual_seed(0)
    return engram.models.build("gaussian_conv_vae", (3, 32, 32), latent_dim=2, features=2)


@pytest.fixture
def grey(rng):
    return rng.integers(0, 256, (5, 6, 8), dtype=np.uint8)


def observations(rng, shape=(5, 1, 6, 8)):
    return rng.integers(0, 2, shape).astype(np.float32)


def test_observations_already_drawn_give_what_the_estimator_gives(model, rng):
    x = observations(rng)
    expected = estimation.estimate(model, torch.tensor(x), seed=3)
    found = engram.estimate(model, x, seed=3)
    for name, values in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), values, rtol=0, atol=0, equal_nan=True)


OBSERVED_AS = {
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "list": lambda x: x.tolist(),
    "tensor with a gradient": lambda x: torch.tensor(x, requires_grad=True),
    "DataArray": lambda x: xr.DataArray(x),
    "without channels": lambda x: x[:, 0],
    "channels last": lambda x: x.transpose(0, 2, 3, 1),
    "flat": lambda x: x.reshape(5, -1),
}


@pytest.mark.parametrize("kind", OBSERVED_AS)
def test_observations_may_come_in_any_form(kind, model, rng):
    x = observations(rng)
    expected = engram.estimate(model, x).log_px
    torch.testing.assert_close(engram.estimate(model, OBSERVED_AS[kind](x)).log_px, expected, rtol=0, atol=0)


def test_images_are_drawn_as_the_model_sees_them_and_by_seed(model, grey):
    first = engram.estimate(model, grey).log_px
    torch.testing.assert_close(engram.estimate(model, torch.tensor(grey)[:, None]).log_px, first, rtol=0, atol=0)
    torch.testing.assert_close(engram.estimate(model, grey[:, :, :, None]).log_px, first, rtol=0, atol=0)
    torch.testing.assert_close(engram.estimate(model, grey[:2]).log_px, first[:2])
    assert (engram.estimate(model, grey, seed=1).log_px != first).all()
    black_and_white = (grey > 127).astype(np.uint8)
    drawn = engram.estimate(model, 255 * black_and_white).log_px  # these pixels leave nothing to chance
    torch.testing.assert_close(drawn, engram.estimate(model, black_and_white.astype(float)).log_px, rtol=0, atol=0)


def test_colours_may_come_last(colour_model, rng):
    images = rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    first = engram.estimate(colour_model, images, proposal="encoder").log_px
    last = engram.estimate(colour_model, images.transpose(0, 2, 3, 1), proposal="encoder").log_px
    torch.testing.assert_close(last, first, rtol=0, atol=0)


def test_a_model_in_double_precision_gets_its_own_precision_and_the_exact_answer():
    linear = LinearVAE(pixels=12, latent_dim=3).double()
    x = linear.draw(20)
    found = engram.likelihood.estimate(linear, x.float().numpy(), samples=1, proposal_scale=1.0).log_px
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, linear.exact(x.float()), rtol=0, atol=1e-8)


class Uniform(torch.nn.Module):
    """An exact model of 8-bit images that says nothing of its images' shape."""

    observation = "logit"

    def log_prob(self, x):
        y = x.flatten(1).double()
        return (y - 2 * torch.nn.functional.softplus(y) - np.log(0.9)).sum(1).float()


@pytest.mark.parametrize("shape", [(4, 7, 5), (4, 1, 7, 5), (4, 3, 7, 5), (4, 7, 5, 3)], ids=str)
def test_the_uniform_density_gives_every_8_bit_image_its_share_in_any_layout(shape, rng):
    log_px = engram.estimate(Uniform(), rng.integers(0, 256, shape, dtype=np.uint8)).log_px
    np.testing.assert_allclose(log_px, -np.prod(shape[1:]) * np.log(256), rtol=1e-5)


def one_wrong(value):
    x = observations(np.random.default_rng(0))
    x[3, 0, 2, 1] = value
    return x


WRONG_X = {
    "grey floats": (lambda: one_wrong(0.37), "x: 0.37 in image 3 is no observation of a binary model, which is 0 or 1; give"),
    "nan": (lambda: one_wrong(np.nan), "x: nan in image 3"),
    "integers": (lambda: np.zeros((5, 6, 8), np.int64), "x: holds torch.int64; give images as uint8"),
    "another size": (lambda: np.zeros((5, 8, 6), np.uint8), r"x: has the shape \(5, 8, 6\), the model takes images"),
    "a single image": (lambda: np.zeros((6, 8), np.uint8), "with n = 1 for a single image"),
    "no image": (lambda: np.zeros((0, 6, 8), np.uint8), "which holds no image"),
    "text": (lambda: "digits.png", "x: is a single str, not an array"),
    "complex": (lambda: torch.zeros(5, 6, 8) * 1j, "x: is a torch.strided tensor of torch.complex64"),
    "sparse": (lambda: torch.zeros(5, 48).to_sparse(), "x: is a torch.sparse_coo tensor"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_X)
def test_images_that_cannot_be_are_one_line(kind, model):
    make, message = WRONG_X[kind]
    with pytest.raises(UserError, match=message):
        engram.estimate(model, make())


def test_the_channels_must_be_told_where_the_model_does_not_say(rng):
    for shape in ((2, 3, 5, 3), (2, 4, 5, 6), (2, 30)):
        with pytest.raises(UserError, match="in which the channels cannot be told"):
            engram.estimate(Uniform(), rng.integers(0, 256, shape, dtype=np.uint8))


def test_levels_of_pixels_and_logits_must_be_possible(colour_model, rng):
    pixels = engram.models.build("logistic_mixture_conv_vae", (1, 32, 32), latent_dim=2, features=2)
    with pytest.raises(UserError, match="x: 255 in image 0 is no observation in pixels, which is a grey level / 255"):
        engram.estimate(pixels, np.full((1, 1, 32, 32), 255.0))
    with pytest.raises(UserError, match="x: inf in image 1 is not a finite number"):
        engram.estimate(colour_model, np.stack([np.zeros((3, 32, 32)), np.full((3, 32, 32), np.inf)]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"proposal": "best"}, "proposal 'best' is unknown; choose encoder, laplace, exact, bound"),
        ({"samples": 0}, "samples: is 0, must be a whole number of at least 1"),
        ({"samples": 2.5}, "samples: is 2.5"),
        ({"newton_steps": None}, "newton_steps: is None"),
        ({"proposal_scale": float("nan")}, "proposal_scale: is nan"),
        ({"seed": -1}, "seed: is -1"),
    ],
)
def test_an_estimators_settings_out_of_range_are_named(wrong, message, model, grey):
    with pytest.raises(UserError, match=message):
        engram.estimate(model, grey, **wrong)


def test_what_is_no_model_is_named(grey):
    with pytest.raises(UserError, match="model: is a str, must be a"):
        engram.estimate("results/quickstart", grey)
    with pytest.raises(UserError, match="model: Linear has neither log_prob"):
        engram.estimate(torch.nn.Linear(2, 2), grey)


# One training image, at (0, 0): the nearest held-out image is 5 away, the nearest sample 2.5.
TRAIN, HELD_OUT, SAMPLES = [[0.0, 0.0]], [[3.0, 4.0], [6.0, 8.0]], [[0.0, 2.5], [9.0, 9.0]]


CASTS = {"list": list, "array": np.array, "float16": np.float16, "tensor": torch.tensor, "xarray": xr.DataArray}


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
def test_the_ratio_of_distances_by_hand_from_any_form(cast):
    np.testing.assert_array_equal(engram.neighbors.distance_ratio(cast(TRAIN), np.array(HELD_OUT), cast(SAMPLES)), [2])
    index, distance = engram.neighbors.nearest(cast(TRAIN), torch.tensor(HELD_OUT))
    assert index.tolist() == [0] and distance.tolist() == [5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TRAIN, [[3.0, np.nan]], SAMPLES), "validation: image 0 has values that are not finite"),
        ((TRAIN, HELD_OUT, [[0.0], [1.0]]), r"samples: has images of \(1,\), train of \(2,\)"),
        ((TRAIN, HELD_OUT, np.zeros((0, 2))), r"samples: has the shape \(0, 2\)"),
        ((TRAIN[0], HELD_OUT, SAMPLES), r"train: has the shape \(2,\)"),
        ((TRAIN, HELD_OUT, [[1e39, 0.0]]), "samples: image 0 has values that are not finite float32 numbers"),
        ((np.uint8([[0, 200]]), np.uint8([[3, 9]]), [[0.0, 0.5]]), "train: holds grey levels up to 255 beside samples up to 1"),
    ],
)  # fmt: skip
def test_distances_that_mean_nothing_are_one_line(arguments, message):
    with np.errstate(over="ignore"), pytest.raises(UserError, match=message):
        engram.neighbors.distance_ratio(*arguments)


FORMS = {
    "list": lambda images: images.tolist(),
    "float16": lambda images: images.astype(np.float16),
    "float64": lambda images: images,
    "tensor": lambda images: torch.tensor(images, requires_grad=True),
}


@st.composite
def three_sets(draw):
    pixels = draw(st.integers(1, 3))
    sets = []
    for _ in range(3):
        rows = draw(st.lists(st.lists(st.integers(-8, 8), min_size=pixels, max_size=pixels), min_size=1, max_size=5))
        sets.append(np.array(rows, dtype=np.float64))
    if draw(st.integers(0, 5)) == 0:
        sets[draw(st.integers(0, 2))][0, 0] = draw(st.sampled_from([np.nan, np.inf]))
    if draw(st.integers(0, 5)) == 0:
        sets[draw(st.integers(0, 2))] = np.zeros((2, pixels + 1))
    return sets, [draw(st.sampled_from(list(FORMS))) for _ in sets]


def slow_ratio(train, validation, samples):
    """By loops; None where there is none to be had."""
    if len({images.shape[1] for images in (train, validation, samples)}) > 1:
        return None
    if not all(math.isfinite(value) for images in (train, validation, samples) for value in images.flat):
        return None
    ratios = []
    for image in train.tolist():
        held_out, sample = (min(math.dist(image, other) for other in y.tolist()) for y in (validation, samples))
        ratios.append(1.0 if held_out == sample else math.inf if sample == 0 else held_out / sample)
    return ratios


@settings(max_examples=200, deadline=None)
@given(three_sets())
def test_any_three_sets_give_the_right_ratios_or_one_line(example):
    sets, forms = example
    arguments = [FORMS[form](images) for form, images in zip(forms, sets, strict=True)]
    expected = slow_ratio(*sets)
    if expected is None:
        with pytest.raises(UserError):
            engram.neighbors.distance_ratio(*arguments)
    else:
        np.testing.assert_allclose(engram.neighbors.distance_ratio(*arguments), expected, rtol=1e-6)
