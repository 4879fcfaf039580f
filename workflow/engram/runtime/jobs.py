"""What every rule's script runs inside: a log file, one-line user errors, and a progress bar for the terminal."""

import errno
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from engram.errors import CANNOT_WRITE, UserError, first_line, in_users_code

log = logging.getLogger("engram")

CANNOT_WRITE_CODES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
LOG_EVERY = 30  # seconds between progress lines in the log, and between prints where there is no terminal


@contextmanager
def job(log_path: str | Path) -> Iterator[logging.Logger]:
    """Log to `log_path` and standard error; end a UserError as one line with exit code 1, anything else with its traceback.

    A full disk, a folder that may not be written to and too little memory are one line, too, wherever they are met.
    """
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("engram: %(message)s"))
    terminal.setLevel(logging.WARNING)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.handlers = [terminal]
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written to is no reason to print a traceback for each line
    try:
        root.addHandler(_log_file(Path(log_path)))
        yield log
    except Exception as error:
        known = str(error) if isinstance(error, UserError) else _fault_of_the_machine(error)
        if known:
            log.error("error: %s", known)
        elif place := in_users_code(error):
            log.info("%s", traceback.format_exc())
            log.error("error in your own code, %s (%s has the traceback)", place, log_path)
        else:
            log.error("unexpected error, please report it:\n%s", traceback.format_exc())
        raise SystemExit(1) from None


def _log_file(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, mode="w")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    return file


def _fault_of_the_machine(error: Exception) -> str | None:
    """One line for what no code can help: no space, no permission, no memory. None for other errors."""
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE_CODES:
        return f"{error.filename or 'a file of this job'}: {error.strerror}; {CANNOT_WRITE}"
    # torch's own error on the CPU has no type of its own.
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error):
        return f"not enough memory ({first_line(error)}); ask for more, or for smaller settings in config.yaml"
    return None


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
