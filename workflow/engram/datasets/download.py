"""Downloading a published data set through torchvision: whole or absent, with retries, and one line when it fails."""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engram.errors import UserError

log = logging.getLogger("engram")

TRIES = 3
BACKOFF_SECONDS = 3.0  # before the second try, and twice that before the third
STALLED_SECONDS = 60.0  # a server silent for so long counts as a failed try; torchvision would wait for ever


def fetch(name: str, download: Callable[[str], object], folder: Path) -> Path:
    """Folder `folder`/`name`, filled by `download(root)` unless it is there already.

    `download` is torchvision's own: it shows a progress bar, checks MD5 sums, and keeps good files from try to try.
    Raises UserError, and leaves nothing behind, if three tries fail.
    """
    target = folder / name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as temporary, _socket_timeout(STALLED_SECONDS):
        partial = Path(temporary, name)
        _retry(name, lambda: download(str(partial)))
        try:
            os.replace(partial, target)
        except OSError:  # another job was first
            if not target.exists():
                raise
    return target


def _retry(name: str, download: Callable[[], object]) -> None:
    for attempt in range(TRIES):
        try:
            download()
            return
        except Exception as error:  # urllib, http, ssl, torchvision and gdown each raise their own
            reason = " ".join(str(error).split()) or type(error).__name__
        if attempt + 1 < TRIES:
            log.warning("%s: download failed (%s); trying again", name, reason)
            time.sleep(BACKOFF_SECONDS * 2**attempt)
    raise UserError(
        f"dataset {name}: the download failed {TRIES} times ({reason}); "
        "check the network, or set data_root to a folder that holds the published files"
    )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
