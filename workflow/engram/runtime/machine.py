"""What can be known of this machine and process without importing torch."""

import os
import resource
from pathlib import Path


def has_gpu() -> bool:
    """Whether an NVIDIA driver runs here."""
    return Path("/dev/nvidiactl").exists()


def installed_memory() -> int:
    """Memory of this machine, bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_memory() -> int:
    """Most memory this process has held so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
