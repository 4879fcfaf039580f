"""Drawing x from grey levels, and the change of variables back to pixels."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

from engram.errors import UserError
from engram.models.observations import LOGIT_MARGIN, draw, log_pixel_volume, to_pixels


def test_black_is_never_drawn_and_white_always():
    grey = torch.tensor([[0, 255]], dtype=torch.uint8)
    for uniform in (0.0, 0.5, 1 - 2**-24):
        assert draw(grey, torch.full((1, 2), uniform), "binary").tolist() == [[0, 1]]


def test_dequantized_values_lie_within_their_grey_level():
    grey = torch.arange(256).repeat(50, 1)
    pixels = to_pixels(draw(grey.to(torch.uint8), torch.rand(50, 256), "logit"), "logit") * 256
    assert (pixels >= grey - 1e-2).all() and (pixels <= grey + 1 + 1e-2).all()


def test_pixel_volume_is_the_log_derivative_of_the_transformation():
    uniform, grey = torch.full((1, 1), 0.25, dtype=torch.float64), torch.tensor([[100]], dtype=torch.uint8)
    step = 1e-6
    y = draw(grey, uniform, "logit").double()
    level = np.array([100.25 - step, 100.25 + step]) / 256
    low, high = special.logit(LOGIT_MARGIN + (1 - 2 * LOGIT_MARGIN) * level)
    assert log_pixel_volume(y, "logit").item() == pytest.approx(math.log((high - low) / (2 * step)), abs=1e-5)


def test_a_density_of_y_becomes_probabilities_of_grey_levels_that_add_up_to_one():
    def probability(uniform, grey):
        x = draw(
            torch.tensor([[grey]], dtype=torch.uint8), torch.tensor([[uniform]], dtype=torch.float64), "logit"
        ).double()
        log_p = -0.5 * x.item() ** 2 / 2.25 - math.log(1.5 * math.sqrt(2 * math.pi))
        return math.exp(log_p + log_pixel_volume(x, "logit").item())

    total = sum(integrate.fixed_quad(np.vectorize(lambda u, g=g: probability(u, g)), 0, 1, n=3)[0] for g in range(256))
    inside = special.ndtr(special.logit(0.95) / 1.5) - special.ndtr(special.logit(0.05) / 1.5)
    assert total == pytest.approx(inside, abs=1e-4)


def test_binary_observations_have_no_volume():
    assert log_pixel_volume(torch.ones(3, 1, 2, 2), "binary").tolist() == [0, 0, 0]


def test_8_bit_observations_are_the_grey_levels_whatever_the_noise_and_have_no_volume():
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 256)
    for uniform in (0.0, 0.7):
        x = draw(grey, torch.full((1, 256), uniform), "pixels")
        assert torch.equal((x * 255).round(), grey.float()) and x.min() == 0 and x.max() == 1
    assert to_pixels(x, "pixels") is x
    assert log_pixel_volume(x, "pixels").tolist() == [0]


def test_a_models_unknown_kind_of_observation_is_named():
    with pytest.raises(UserError, match="observation is 'pixel'; choose binary, logit, pixels or centred"):
        draw(torch.zeros(1, 1, dtype=torch.uint8), torch.zeros(1, 1), "pixel")
