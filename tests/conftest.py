"""Fixtures shared by all tests."""

import shutil

import numpy as np
import pytest

import workspace


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of the test's own, the same at every run."""
    return np.random.default_rng(20210607)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A workspace in which everything has been built; not to be changed."""
    folder = workspace.create(tmp_path_factory.mktemp("finished") / "engram")
    run = workspace.snakemake(folder)
    assert run.returncode == 0, run.stdout
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished workspace, time stamps included, as a fresh clone with results/ and .snakemake/ brought along."""
    return shutil.copytree(finished, tmp_path / "copy")
