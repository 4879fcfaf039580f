"""What can be known of this machine and process without importing torch."""

import logging
import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

from engram.errors import UserError

NEEDED = ("fcntl", "resource")  # modules of Python that only Unix has


def require_supported() -> None:
    """Raise UserError where the workflow cannot run, such as on Windows; warn where it was never tried, such as on macOS."""
    if not all(map(find_spec, NEEDED)):
        raise UserError(
            f"engram's workflow needs Linux, and this is {platform.system()}; on Windows run it in WSL. "
            "engram.score works here, too"
        )
    if sys.platform != "linux":
        logging.getLogger("engram").warning("engram was tested on Linux only, and this is %s", platform.system())


def has_gpu() -> bool:
    """Whether an NVIDIA driver runs here."""
    return Path("/dev/nvidiactl").exists()


def installed_memory() -> int:
    """Memory of this machine, bytes. Raises UserError where the system does not tell."""
    if not hasattr(os, "sysconf"):
        raise UserError(
            f"the memory of this machine cannot be known on {platform.system()}; engram needs Linux for this"
        )
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_memory() -> int:
    """Most memory this process has held so far, bytes."""
    import resource  # here, because Windows has no such module, and the package is imported there, too

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
