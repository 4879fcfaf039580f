"""Streams are named: neither order nor company changes them."""

import numpy as np
import torch
from scipy import stats

from engram.randomness import generator, image_normals, image_uniforms, seed_sequence, torch_generator


def test_a_name_gives_the_same_stream_whatever_was_drawn_before():
    first = generator(42, "a", 1).random(5)
    generator(42, "b").random(100)
    assert np.array_equal(first, generator(42, "a", 1).random(5))


def test_numpy_and_python_integers_are_the_same_name():
    assert np.array_equal(generator(1, np.int64(7)).random(3), generator(1, 7).random(3))


def test_names_roots_and_kinds_of_name_give_different_streams():
    draws = {generator(*name).random() for name in [(1, "a"), (2, "a"), (1, "a", "a"), (1, "1"), (1, 1), (1, "aa")]}
    assert len(draws) == 6


def test_an_images_draws_do_not_depend_on_the_images_beside_it():
    together = image_normals(np.arange(10), (4, 3), 42, "x")
    assert torch.equal(image_normals(np.array([7, 2]), (4, 3), 42, "x"), together[[7, 2]])


def test_more_draws_of_an_image_begin_with_the_fewer():
    assert torch.equal(image_uniforms(np.array([3]), (50,), 1)[:, :20], image_uniforms(np.array([3]), (20,), 1))


def test_image_draws_follow_their_distributions():
    uniforms = image_uniforms(np.arange(100), (200,), 5, "u").numpy().ravel()
    normals = image_normals(np.arange(100), (200,), 5, "n").numpy().ravel()
    assert stats.kstest(uniforms, "uniform").pvalue > 0.001
    assert stats.kstest(normals, "norm").pvalue > 0.001
    assert uniforms.min() >= 0 and uniforms.max() < 1


def test_torch_generators_are_named_too():
    draw = torch.rand(3, generator=torch_generator("cpu", 42, "a"))
    assert torch.equal(draw, torch.rand(3, generator=torch_generator("cpu", 42, "a")))
    assert not torch.equal(draw, torch.rand(3, generator=torch_generator("cpu", 42, "b")))


def test_an_image_has_the_stream_of_its_own_counter():
    """As NumPy makes a generator of that key and counter, whatever was drawn for images before it."""
    key = seed_sequence(42, "x").generate_state(2, np.uint64)
    for draw, name in ((image_normals, "standard_normal"), (image_uniforms, "random")):
        for shape in ((1,), (7,)):  # odd numbers of 32 bits, of which a generator keeps half a word
            drawn = draw(np.array([5, 2]), shape, 42, "x")
            for row, image in zip(drawn, (5, 2), strict=True):
                alone = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, image]))
                assert row.tolist() == getattr(alone, name)(shape, dtype=np.float32).tolist()
