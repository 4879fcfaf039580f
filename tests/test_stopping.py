"""Stopping in good time: what counts as a reason, and that a stopped training loses nothing."""

import os
import signal
import time

import numpy as np
import pytest

from engram.errors import UserError
from engram.runtime.stopping import Stop, stop_in_time
from engram.training import batches
from engram.training.state import StateFolder
from engram.training.training import Training
from test_training import images as images  # a fixture
from test_training import plan, run, weights


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_reason_and_the_earlier_handler_comes_back(number):
    before = signal.getsignal(number)
    with stop_in_time() as stop:
        assert stop.reason is None
        os.kill(os.getpid(), number)
        assert number.name in stop.reason
    assert signal.getsignal(number) is before


def test_a_job_of_an_hour_stops_a_minute_before_its_end(monkeypatch):
    now = time.time()
    stop = Stop(ends=now + 3600)
    monkeypatch.setattr(time, "time", lambda: now + 3600 - 61)
    assert stop.reason is None
    monkeypatch.setattr(time, "time", lambda: now + 3600 - 59)
    assert "end of the job's time" in stop.reason


def test_a_job_shorter_than_the_margin_still_gets_nine_tenths_of_its_time(monkeypatch):
    now = time.time()
    stop = Stop(ends=now + 30)
    monkeypatch.setattr(time, "time", lambda: now + 26)
    assert stop.reason is None
    monkeypatch.setattr(time, "time", lambda: now + 28)
    assert stop.reason


def test_slurm_says_when_the_job_ends(monkeypatch):
    now = time.time()
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(now) + 3600))
    with stop_in_time() as stop:
        assert stop.reason is None
        monkeypatch.setattr(time, "time", lambda: now + 3590)
        assert stop.reason


def test_an_end_that_is_over_belongs_to_another_job(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) - 5))
    with stop_in_time() as stop:
        assert stop.reason is None


class AfterAsking(Stop):
    """A reason that comes up when it has been asked for so many times."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    @property
    def reason(self):
        self.times -= 1
        return "on a test's wish" if self.times < 0 else None


@pytest.mark.slow
def test_a_training_stopped_again_and_again_ends_with_the_bits_of_one_run(images, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "STEPS_PER_BLOCK", 6)
    whole, whole_folder = run(plan(), images, tmp_path / "whole")
    stops = 0
    while True:
        folder = StateFolder(tmp_path / "stopped", "f")
        state = Training(plan(), images)
        try:
            with folder.locked():
                state.run(folder, AfterAsking(6))  # once for each of five models' losses, and once for a turn
            break
        except UserError as error:
            assert str(folder.path) in str(error) and "on a test's wish" in str(error)
            stops += 1
    assert stops >= 3
    assert np.array_equal(state.losses.held_out, whole.losses.held_out)
    for name, value in weights(whole_folder).items():
        assert np.array_equal(weights(folder)[name], value)
