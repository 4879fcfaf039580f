"""When a training should save and stop: on SIGTERM or Ctrl-C, and shortly before a SLURM job's time is over.

SLURM sends SIGTERM at a job's time limit, on preemption and on scancel, and SIGKILL half a minute later. Neither is needed to
keep results right (the state is saved twice a minute anyway); stopping by oneself loses nothing and says why.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

MARGIN = 60  # seconds before the end of the job's time
SHARE = 0.1  # but at most this share of the time there was at the start: a short job must get somewhere, too


class Stop:
    """`reason` is None as long as the work may go on, and then says in words why it may not."""

    def __init__(self, ends: float | None = None):
        """`ends`: when the job will be killed, in seconds since 1970; None if nobody said."""
        self.signal: str | None = None
        left = 0 if ends is None else ends - time.time()
        # A time that is over is not this job's, but was left behind by an earlier one.
        self.last_moment = ends - min(MARGIN, SHARE * left) if left > 0 else None

    @property
    def reason(self) -> str | None:
        if self.signal:
            return f"on {self.signal}"
        if self.last_moment is not None and time.time() > self.last_moment:
            return "shortly before the end of the job's time"
        return None


@contextmanager
def stop_in_time() -> Iterator[Stop]:
    """A Stop that minds SIGTERM, SIGINT and, in a SLURM job, SLURM_JOB_END_TIME; earlier handlers come back afterwards."""
    end = os.environ.get("SLURM_JOB_END_TIME")
    stop = Stop(float(end) if end else None)

    def note(number: int, _frame: object) -> None:
        stop.signal = signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
