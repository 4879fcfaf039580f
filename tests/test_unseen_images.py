"""The benchmark that sets test images beside training images, on a made-up experiment of known scores."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from engram.designs.membership import design
from engram.designs.repeats import repeat_name
from engram.files import artifacts
from engram.files.artifacts import variable
from engram.scores.permutation import one_held_out_per_repeat

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import unseen_images

TRAIN, TEST, FOLDS, REPEATS, GAIN = 300, 2000, 5, 2, 7.0


@pytest.fixture
def experiment(tmp_path, rng):
    """Training images are GAIN nats likelier under the models that saw them; models lie in the files in reverse order."""
    split = np.repeat([0, 1], [TRAIN, TEST])
    settings = {"design": "k_fold", "folds": FOLDS, "repeats": REPEATS}
    membership = design(settings, split, np.full(len(split), -1), 42, "made up")
    artifacts.write(tmp_path / "membership.h5", "membership", membership.variables(split, split), {})
    log_px = rng.normal(-90, 1, membership.in_training.shape) + GAIN * membership.in_training
    for number in range(REPEATS):
        mine = np.flatnonzero(membership.repeat == number)[::-1]
        for epoch, values in ((9, np.zeros_like(log_px)), (10, log_px)):
            variables = {
                "log_px": variable(("model", "draw", "sample"), values[mine][:, None], "nats", "log p"),
                "repeat": variable(("model",), membership.repeat[mine], "1", "repeat"),
                "fold": variable(("model",), membership.fold[mine], "1", "fold"),
            }
            path = tmp_path / "likelihood/corrected" / repeat_name(number) / f"epoch-{epoch}.h5"
            artifacts.write(path, "likelihood", variables, {"values": json.dumps({"epoch": epoch})})
    return tmp_path


def test_images_trained_on_have_their_gain_and_those_not_seen_only_noise(experiment):
    seen, unseen = unseen_images.seen_and_unseen(experiment, "corrected", "mean_log")
    assert (seen.shape, unseen.shape) == ((TRAIN,), (TEST,))
    # The difference of means over 8 and 2 values of unit variance has variance 5/8.
    noise = (5 / 8) ** 0.5
    assert abs(seen.mean() - GAIN) < 4 * noise / TRAIN**0.5 and abs(unseen.mean()) < 4 * noise / TEST**0.5
    assert unseen.std() == pytest.approx(noise, rel=0.1)


def test_one_repeat_is_enough(experiment):
    for path in (experiment / "likelihood/corrected/repeat-01").iterdir():
        path.unlink()
    seen, unseen = unseen_images.seen_and_unseen(experiment, "corrected", "mean_log")
    assert abs(seen.mean() - GAIN) < 0.4 and unseen.std() == pytest.approx((5 / 4) ** 0.5, rel=0.1)


def test_in_each_repeat_one_model_chosen_evenly_counts_as_held_out():
    repeat = np.repeat([3, 1], [4, 5])
    labels = one_held_out_per_repeat(repeat, 20_000)
    for number, models in ((3, 4), (1, 5)):
        assert (~labels[repeat == number]).sum(0).tolist() == [1] * 20_000
        np.testing.assert_allclose((~labels[repeat == number]).mean(1), 1 / models, atol=0.02)


def test_the_table_says_how_often_the_null_is_passed():
    seen, unseen = np.arange(100.0) + 50, np.arange(100.0)
    text = unseen_images.table(seen, unseen)
    assert "of the 100 images trained on" in text
    assert "55.00 % above its 0.95, 51.00 % above its 0.999" in text
