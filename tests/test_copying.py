"""Copies among samples: hand cases, scipy's distances, and training sets in which every image is there twice."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from engram.analyses import copying
from engram.analyses.copying import (
    COPY,
    authentic,
    calibrated_l2,
    counts,
    nearest_different,
    nearest_ratio,
    sample_ratio,
    to_different,
    units,
)
from engram.analyses.neighbors import nearest
from engram.datasets.duplicates import groups

ALONE = -1


def points(*values) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def alone(n) -> np.ndarray:
    return units(np.full(n, ALONE))


def share_of_authentic(samples, training, unit) -> float:
    return float(authentic(nearest_different(samples, training, unit, 2), training, unit).mean())


@pytest.fixture
def sets(rng):
    """Training images and samples, of which the first 30 are copies under faint noise."""
    training = rng.random((200, 20), dtype=np.float32)
    samples = rng.random((150, 20), dtype=np.float32)
    samples[:30] = training[:30] + 0.01 * rng.standard_normal((30, 20), dtype=np.float32)
    return training, samples


def of_training(samples, training, unit, k) -> tuple[np.ndarray, np.ndarray]:
    """calibrated_l2 over k neighbours and nearest_ratio, of each training image."""
    found = nearest_different(samples, training, unit, k + 1)
    sample, distance = nearest(training, samples)
    different = to_different(found, sample, unit)
    return calibrated_l2(distance, different), nearest_ratio(distance, different)


def test_neighbours_are_those_of_scipy_one_of_each_group(sets, rng):
    training, samples = sets
    unit = units(np.where(np.arange(200) < 120, rng.integers(0, 30, 200), ALONE))
    distances = cdist(samples.astype(float), training.astype(float))
    by_unit = np.array([distances[:, unit == number].min(axis=1) for number in range(unit.max() + 1)]).T
    found = nearest_different(samples, training, unit, 40)
    np.testing.assert_allclose(found.distance, np.sort(by_unit, axis=1)[:, :40], rtol=1e-4)
    np.testing.assert_array_equal(unit[found.index], np.argsort(by_unit, axis=1)[:, :40])
    np.testing.assert_array_equal(found.index[:, 0], distances.argmin(axis=1))


def test_neighbours_do_not_depend_on_the_size_of_blocks(sets, monkeypatch):
    training, samples = sets
    whole = nearest_different(samples, training, alone(200), 9)
    monkeypatch.setattr(copying, "PAIRS", 3 * 200)
    for one, other in zip(whole, nearest_different(samples, training, alone(200), 9), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_an_equal_image_is_at_0_however_far_from_the_origin_the_features_are(sets):
    training = sets[0] + np.float32(1000)
    found = nearest_different(training, training, alone(200), 2)
    np.testing.assert_array_equal(found.distance[:, 0], 0)
    np.testing.assert_array_equal(found.index[:, 0], np.arange(200))
    apart = np.sort(cdist(training.astype(float), training.astype(float)), axis=1)[:, 1]
    np.testing.assert_allclose(found.distance[:, 1], apart, rtol=1e-4)


def test_there_are_no_more_neighbours_than_different_images():
    found = nearest_different(points(1), points(0, 0, 4, 4.5), units(np.array([0, 0, 1, 1])), 50)
    np.testing.assert_array_equal(found.distance, [[1, 3]])
    np.testing.assert_array_equal(found.index, [[0, 2]])


def test_the_ratio_of_a_sample_by_hand():
    """0.5 from one image and 2.5 from the next; on an image; halfway."""
    found = nearest_different(points(0.5, 3, 1.5), points(0, 3), alone(2), 2)
    np.testing.assert_allclose(sample_ratio(found), [0.5 / 2.5, 0, 1])
    np.testing.assert_array_equal(sample_ratio(found) < COPY, [True, True, False])


def test_calibrated_l2_and_the_ratio_of_a_training_image_by_hand():
    """The nearest sample to 0 is 1, which is 3, 5 and 9 from the others: 1 / (0.5 (3 + 5) / 2), 1 / 3 with two neighbours.

    To 4 it is 5, which is 1 from it and, different from it, 1 and 5 from 6 and 0.
    """
    calibrated, ratio = of_training(points(1, 5), points(0, 4, 6, 10), alone(4), 2)
    np.testing.assert_allclose(calibrated[:2], [1 / 2, 1 / (0.5 * 3)])
    np.testing.assert_allclose(ratio[:2], [1 / 3, 1])


def test_calibrated_l2_against_scipy(sets):
    training, samples = sets
    distances = cdist(samples.astype(float), training.astype(float))
    expected = []
    for image in range(len(training)):
        sample = distances[:, image].argmin()
        others = np.sort(np.delete(distances[sample], image))[:50]
        expected.append(distances[sample, image] / (0.5 * others.mean()))
    np.testing.assert_allclose(of_training(samples, training, alone(200), 50)[0], expected, rtol=1e-4)


def test_counts_by_hand_are_of_an_image_and_its_copies():
    training, unit = points(0, 10, 0.001), units(np.array([0, ALONE, 0]))
    found = nearest_different(points(0.1, -0.2, 3, 9, 6), training, unit, 2)
    np.testing.assert_array_equal(counts(found, unit, np.ones(5, bool)), [3, 2, 3])
    np.testing.assert_array_equal(counts(found, unit, sample_ratio(found) < COPY), [2, 1, 2])


def test_copies_are_found_where_every_training_image_is_there_twice(sets):
    """Once to the byte, once with every third pixel a grey level brighter: as many copies are found as in the set without."""
    training, samples = ((255 * part.clip(0, 1)).round().astype(np.uint8) for part in sets)
    near = training + (np.arange(20) % 3 == 0) * (training < 255).astype(np.uint8)
    once = nearest_different(samples / 255, training / 255, alone(200), 2)
    expected = sample_ratio(once) < COPY
    assert expected[:30].all() and not expected[30:].any()
    for twin in (training, near):
        twice = np.concatenate([training, twin])
        unit = units(groups(twice, 0.5))
        found = nearest_different(samples / 255, twice / 255, unit, 2)
        np.testing.assert_array_equal(sample_ratio(found) < COPY, expected)
        np.testing.assert_array_equal(counts(found, unit, expected), [*[1] * 30, *[0] * 170] * 2)
        calibrated, ratio = of_training(samples / 255, twice / 255, unit, 50)
        assert (calibrated.reshape(2, 200)[:, :30] < 0.3).all() and (ratio.reshape(2, 200)[:, :30] < COPY).all()
        assert (calibrated.reshape(2, 200)[:, 30:] > 0.8).all()
        assert not authentic(found, twice / 255, unit)[:30].any()
        expected_share = authentic(once, training / 255, alone(200))[30:].mean()
        assert authentic(found, twice / 255, unit)[30:].mean() == pytest.approx(expected_share, abs=0.03)


def test_to_take_copies_for_different_images_hides_every_copy(sets):
    """The fault of published programs, which the grouping mends: a copy of a doubled image has another image at its distance."""
    training, samples = sets
    twice = np.concatenate([training, training])
    found = nearest_different(samples, twice, alone(400), 2)
    np.testing.assert_array_equal(sample_ratio(found), 1)
    assert share_of_authentic(samples, twice, alone(400)) == 1


def test_authenticity_by_hand():
    """0.2 is nearer to 0 than 1 is, 1.9 nearer to 1 than 0 is, and only 10 is further from 3 than 1 is."""
    assert share_of_authentic(points(0.2, 1.9, 10), points(0, 1, 3), alone(3)) == pytest.approx(1 / 3)
    assert share_of_authentic(points(0, 1, 3), points(0, 1, 3), alone(3)) == 0


def test_authenticity_is_the_share_of_calibrated_distances_above_1(sets):
    """Those whose scale is the distance from the nearest training image to its own nearest one."""
    training, samples = sets
    to_training = cdist(samples.astype(float), training.astype(float))
    apart = cdist(training.astype(float), training.astype(float))
    np.fill_diagonal(apart, np.inf)
    calibrated = to_training.min(axis=1) / apart.min(axis=1)[to_training.argmin(axis=1)]
    assert share_of_authentic(samples, training, alone(200)) == np.mean(calibrated > 1)


def test_the_order_of_images_changes_nothing(sets, rng):
    training, samples = sets
    unit = units(np.where(np.arange(200) < 60, np.arange(200) % 20, ALONE))
    order, order_of_samples = rng.permutation(200), rng.permutation(150)
    shuffled = nearest_different(samples[order_of_samples], training[order], unit[order], 2)
    found = nearest_different(samples, training, unit, 2)
    np.testing.assert_allclose(sample_ratio(shuffled), sample_ratio(found)[order_of_samples], rtol=1e-5)
    every = np.ones(150, bool)
    np.testing.assert_array_equal(counts(shuffled, unit[order], every), counts(found, unit, every)[order])
    for one, other in zip(
        of_training(samples[order_of_samples], training[order], unit[order], 20),
        of_training(samples, training, unit, 20),
        strict=True,
    ):
        np.testing.assert_allclose(one, other[order], rtol=1e-5)
