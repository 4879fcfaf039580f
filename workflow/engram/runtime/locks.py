"""Locks on open files, which die with their process, and the way on where a file system has none."""

import errno
from typing import IO

from engram.runtime.jobs import log

# What flock answers on network file systems mounted without locks.
UNLOCKABLE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def may_go_on(file: IO, danger: str) -> bool:
    """Lock the open `file` for this process; False if another one holds it.

    On a file system without locks the process goes on unlocked, and a warning says so: `danger` is what the user has to take
    care of instead.
    """
    import fcntl  # here, because Windows has no such module, and the package is imported there, too

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
        log.warning(
            "%s: its file system has no locks (%s); going on without one: %s", file.name, error.strerror, danger
        )
    return True
