"""Mirroring images."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torchvision.transforms.functional import hflip

from engram import config
from engram.errors import UserError
from engram.training.augmentation import flip_horizontally

SHAPE = (3, 4, 6)


def test_only_the_named_images_are_mirrored_left_to_right(rng):
    images = torch.from_numpy(rng.integers(256, size=(5, 72)).astype(np.uint8))
    found = flip_horizontally(images, torch.tensor([True, False, True, False, False]), SHAPE).reshape(5, *SHAPE)
    given = images.reshape(5, *SHAPE)
    assert found.dtype == torch.uint8
    for i in range(5):
        assert torch.equal(found[i], hflip(given[i]) if i in (0, 2) else given[i])


@pytest.mark.parametrize("augmentation", ["none", "horizontal_flip", None])
def test_the_config_takes_it_or_leaves_it_out(augmentation):
    config.validate(_with(augmentation))


def test_an_unknown_augmentation_is_one_line_that_names_the_key_and_the_choices():
    with pytest.raises(UserError, match=r"training.augmentation is 'flip'; choose none, horizontal_flip$"):
        config.validate(_with("flip"))


def _with(augmentation):
    shipped = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())
    shipped["experiments"]["quickstart"]["training"] |= {} if augmentation is None else {"augmentation": augmentation}
    return shipped
