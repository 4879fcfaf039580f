"""Fixtures shared by all tests."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of the test's own, the same at every run."""
    return np.random.default_rng(20210607)
