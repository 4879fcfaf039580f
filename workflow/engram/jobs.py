"""What every rule's script runs inside: a log file, one-line user errors, and a progress bar for the terminal."""

import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from engram.errors import UserError

log = logging.getLogger("engram")

LOG_EVERY = 30  # seconds between progress lines in the log, and between prints where there is no terminal


@contextmanager
def job(log_path: str | Path) -> Iterator[logging.Logger]:
    """Log to `log_path` and standard error; end a UserError as one line with exit code 1, anything else with its traceback."""
    Path(log_path).parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(log_path, mode="w")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("engram: %(message)s"))
    terminal.setLevel(logging.WARNING)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.handlers = [file, terminal]
    logging.captureWarnings(True)
    try:
        yield log
    except UserError as error:
        log.error("error: %s", error)
        raise SystemExit(1) from None
    except Exception:
        log.error("unexpected error, please report it:\n%s", traceback.format_exc())
        raise SystemExit(1) from None


class Progress:
    """A tqdm bar with a line in the log every half minute; `update(n, loss=93.7)` shows the newest values beside it."""

    def __init__(self, total: int, title: str, unit: str, done: int = 0):
        interval = 0.2 if sys.stderr.isatty() else LOG_EVERY
        self.bar = tqdm(total=total, initial=done, desc=title, unit=unit, mininterval=interval, maxinterval=interval)
        self.logged = time.monotonic()

    def update(self, n: int, **values: object) -> None:
        if values:
            self.bar.set_postfix(values, refresh=False)
        self.bar.update(n)
        if time.monotonic() - self.logged > LOG_EVERY:
            log.info("%s", self.bar)
            self.logged = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        log.info("%s", self.bar)
