"""Fixtures shared by all tests."""

import os
import shutil

import numpy as np
import pytest
from filelock import FileLock

import workspace
from engram.scores import intervals


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of the test's own, the same at every run."""
    return np.random.default_rng(20210607)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A workspace in which everything has been built, once for all processes of a run; not to be changed."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, built = shared / "finished" / "engram", shared / "finished-is-built"
    with FileLock(shared / "finished.lock"):
        if not built.exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            run = workspace.snakemake(workspace.create(folder))
            assert run.returncode == 0, run.stdout
            built.touch()
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished workspace, time stamps included, as a fresh clone with results/ and .snakemake/ brought along."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture(scope="module")
def few_resamples():
    """Bootstraps of a few resamples, for tests that need no narrow interval."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 50)
        yield
