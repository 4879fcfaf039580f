"""rho against scipy's distances, cases known by hand, and the checks that would have caught the published slip."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from engram.analyses import neighbors
from engram.analyses.neighbors import distance_ratio, halve, memory, nearest, require_memory
from engram.errors import UserError
from engram.files import inputs
from synthetic import answered, experiment, given


@pytest.fixture
def images(rng):
    """Training, held-out and sampled images; more training images than one published batch of 256."""
    return [rng.random((n, 1, 6, 5), dtype=np.float32) for n in (300, 40, 40)]


def test_nearest_agrees_with_scipy(images):
    train, validation, _ = images
    distances = cdist(train.reshape(300, -1).astype(float), validation.reshape(40, -1).astype(float))
    index, distance = nearest(train, validation)
    np.testing.assert_array_equal(index, distances.argmin(1))
    np.testing.assert_allclose(distance, distances.min(1), rtol=1e-12)


def test_nearest_is_exact_where_float32_products_cancel(rng):
    """Points 1e-4 apart, 100 from the origin in each coordinate: float32 products round away their differences."""
    x = (100 + 1e-4 * rng.standard_normal((50, 30))).astype(np.float32)
    y = np.concatenate([x[::-1], x + np.float32(1e-3)])
    index, distance = nearest(x, y)
    np.testing.assert_array_equal(distance, 0)
    np.testing.assert_array_equal(index, cdist(x.astype(float), y.astype(float)).argmin(1))


def test_nearest_does_not_depend_on_the_block_size(images, monkeypatch):
    whole = nearest(images[0], images[1])
    monkeypatch.setattr(neighbors, "BLOCK", (7, 11))
    monkeypatch.setattr(neighbors, "PAIR_VALUES", 64)
    in_blocks = nearest(images[0], images[1])
    np.testing.assert_array_equal(whole[0], in_blocks[0])
    np.testing.assert_allclose(whole[1], in_blocks[1], rtol=1e-12)


def test_the_lowest_of_equal_neighbors_is_named_across_blocks(monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK", (2, 3))
    index, distance = nearest(np.zeros((5, 4)), np.ones((9, 4)))
    np.testing.assert_array_equal(index, 0)
    np.testing.assert_array_equal(distance, 2)


def test_rho_is_one_if_samples_are_the_validation_images(images):
    np.testing.assert_array_equal(distance_ratio(images[0], images[1], images[1]), 1)


def test_rho_is_one_if_validation_and_samples_both_contain_the_image(images):
    train = images[0]
    np.testing.assert_array_equal(distance_ratio(train, train[::-1], train), 1)


def test_rho_is_infinite_if_samples_contain_the_image(images):
    train, validation, _ = images
    np.testing.assert_array_equal(distance_ratio(train, validation, train), np.inf)


def test_rho_is_zero_if_only_validation_contains_the_image(images):
    train, _, samples = images
    np.testing.assert_array_equal(distance_ratio(train, train, samples), 0)


def test_rho_does_not_depend_on_the_order_of_any_set(images, rng):
    train, validation, samples = images
    order = rng.permutation(len(train))
    shuffled = distance_ratio(train[order], rng.permutation(validation), rng.permutation(samples))
    np.testing.assert_allclose(shuffled, distance_ratio(train, validation, samples)[order], rtol=1e-12)


def test_rho_as_published_depends_on_the_order_of_training_images(images):
    train, validation, samples = images
    published = distance_ratio(train, validation, samples, as_published=True)
    reordered = distance_ratio(train[::-1], validation, samples, as_published=True)[::-1]
    assert not np.allclose(published, reordered)


def test_rho_as_published_takes_distances_of_the_first_image_of_each_batch_of_256(images):
    train, validation, samples = (part.reshape(len(part), -1).astype(float) for part in images)
    expected = np.empty(300)
    for start in (0, 256):
        batch = slice(start, start + 256)
        to_validation, to_samples = cdist(train[batch], validation), cdist(train[batch], samples)
        expected[batch] = to_validation[0, to_validation.argmin(1)] / to_samples[0, to_samples.argmin(1)]
    np.testing.assert_allclose(distance_ratio(*images, as_published=True), expected, rtol=1e-12)
    assert distance_ratio(*images)[0] == pytest.approx(expected[0])
    assert distance_ratio(*images)[256] == pytest.approx(expected[256])


def test_halving_averages_two_by_two_pixels():
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    np.testing.assert_allclose(halve(image).numpy().squeeze(), [[2.5, 4.5], [10.5, 12.5]])


def test_halving_takes_images_of_any_shape():
    assert halve(np.zeros((2, 3, 7, 5))).shape == (2, 3, 3, 2)
    assert halve(np.zeros((2, 1, 1, 1))).shape == (2, 1, 1, 1)


class Copier:
    """A model whose samples are given images."""

    def __init__(self, images):
        self.images = torch.as_tensor(images)

    def sample(self, n, generator):
        return self.images[:n]


def test_images_that_the_samples_copy_are_found(tmp_path):
    paths = experiment(tmp_path)
    asked = given(paths)
    train = inputs.images(asked.dataset, asked.first["sample"].values)
    found = answered(neighbors.analyse(given(paths, Copier(train))))
    copied = min(len(train), int((asked.dataset["split"] == 1).sum()))
    assert np.isinf(found["rho"].values[:copied]).all()
    assert np.isfinite(found["rho"].values[copied:]).all()
    assert list(found["estimator"].values) == ["published", "corrected"]


def test_a_data_set_without_test_images_is_named(tmp_path):
    asked = given(experiment(tmp_path))
    asked.dataset["split"][:] = 0
    with pytest.raises(UserError, match=r"^datasets\.discs: has no test images"):
        neighbors.analyse(asked)


def test_colour_images_are_compared_over_all_channels():
    """Two images that differ by 0.3 in one channel of 4 x 4 pixels are 0.3 * sqrt(2 * 2) apart when halved."""
    x, y = np.zeros((1, 3, 4, 4), np.float32), np.zeros((1, 3, 4, 4), np.float32)
    y[0, 1] = 0.3
    assert nearest(halve(x), halve(y))[1] == pytest.approx(0.6)


def test_the_further_set_may_be_of_another_size_than_the_samples(rng):
    train, validation, samples = (rng.random((n, 3, 4, 4), dtype=np.float32) for n in (50, 30, 70))
    flat = [part.reshape(len(part), -1).astype(float) for part in (train, validation, samples)]
    expected = cdist(flat[0], flat[1]).min(1) / cdist(flat[0], flat[2]).min(1)
    np.testing.assert_allclose(distance_ratio(train, validation, samples), expected, rtol=1e-12)


def test_as_many_samples_are_drawn_as_there_are_held_out_images(tmp_path, monkeypatch):
    """Of CelebA only the validation images, which come first, are compared with, as in the paper."""
    paths = experiment(tmp_path, shape=(3, 8, 8))
    drawn = []

    class Model:
        def sample(self, n, generator):
            drawn.append(n)
            return torch.rand((n, 3, 8, 8), generator=generator)

    asked = given(paths, Model())
    for number, validation in ((120, {}), (70, {"discs": 70})):
        monkeypatch.setattr(neighbors, "VALIDATION", validation)
        found = answered(neighbors.analyse(asked))
        assert drawn.pop() == number
    images = asked.dataset["images"].values.reshape(-1, 3, 8, 8) / 255
    train, held_out = (halve(part).flatten(1).numpy() for part in (images[:400], images[400:470]))
    np.testing.assert_allclose(found["distance_to_validation"], cdist(train, held_out).min(1), rtol=1e-5)


def test_memory_is_bounded_by_the_images_and_not_by_the_distances():
    celeba = memory(162_770, 19_867, 3 * 32 * 32)
    assert celeba < 1.5e9 < 4 * 162_770 * 19_867
    assert memory(2 * 162_770, 19_867, 3072) - celeba == 4 * 162_770 * 768


def test_what_does_not_fit_into_memory_is_refused_before_it_is_computed():
    with pytest.raises(UserError, match=r"neighbors: 1,000,000,000 images against 20,000 need about .* GB"):
        require_memory(10**9, 20_000, 3072, 0)
