"""What can be known of this machine without importing torch, while the workflow is parsed."""

from pathlib import Path


def has_gpu() -> bool:
    """Whether an NVIDIA driver runs here."""
    return Path("/dev/nvidiactl").exists()
