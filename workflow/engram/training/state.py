"""The folder a training keeps while it runs: a lock, the newest state, and snapshots of the scored epochs.

It is not a declared output of the workflow, so Snakemake leaves it alone when a job fails or is killed, and the next start
goes on from there. It is removed when the finished models are written.
"""

import hashlib
import json
import os
import platform
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from engram.errors import CANNOT_WRITE, UserError, first_line
from engram.files.untrusted import require_room
from engram.runtime.jobs import log
from engram.runtime.locks import may_go_on


def fingerprint(values: dict[str, Any], *arrays: np.ndarray) -> str:
    """Hash of all that a training depends on; a state with another fingerprint is not continued."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class StateFolder:
    """Atomic saves of one training's state; `fingerprint` ties them to its settings and data."""

    def __init__(self, path: str | Path, fingerprint: str):
        self.path = Path(path)
        self.fingerprint = fingerprint

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; raise UserError if another process does. The lock dies with its process.

        Where the file system has no locks, two processes are not kept apart, and a warning says so.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as lock:
            if not may_go_on(lock, "do not train these models by two processes at once"):
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                raise UserError(f"{self.path}: {holder} is still training these models; wait for it or stop it")
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {platform.node()}")
            lock.flush()
            yield

    def remove(self) -> None:
        shutil.rmtree(self.path)

    def save(self, name: str, arrays: dict[str, np.ndarray], **counters: int | float) -> None:
        """Write `arrays` and scalar `counters` to NAME.npz, whole or not at all."""
        temporary = self.path / f"{name}.tmp"
        try:
            with temporary.open("wb") as file:
                np.savez(file, **arrays, **counters, fingerprint=self.fingerprint)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._file(name))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(f"{self._file(name)}: could not be written: {error}; {CANNOT_WRITE}") from error

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """Arrays and counters of NAME.npz, or None if there is none that fits; one that does not fit is said aloud."""
        if not self._file(name).exists():
            return None
        try:
            with zipfile.ZipFile(self._file(name)) as file:
                require_room("it", sum(member.file_size for member in file.infolist()))
            with np.load(self._file(name), allow_pickle=False) as file:
                state = dict(file)
        except Exception as error:  # zip, zlib and numpy's own reader each raise their own
            log.warning("%s: is damaged (%s); training starts again without it", self._file(name), first_line(error))
            return None
        if state.pop("fingerprint", None) != self.fingerprint:
            log.warning(
                "%s: belongs to other settings, data or code; training starts again without it", self._file(name)
            )
            return None
        return state

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npz"
