"""Choosing where to compute, and keeping two jobs off one GPU."""

import ctypes
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch

from engram.runtime.jobs import log
from engram.runtime.locks import may_go_on

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST_FROM_HEAP, KEPT = 2**25, 2**28  # bytes; the first is the most that glibc allows

ON_GPU = 16  # times as much at once as on a CPU, or launching kernels would take longer than running them


@contextmanager
def claimed_device(threads: int) -> Iterator[torch.device]:
    """A GPU that no other engram job of this user holds, waiting for one if need be; the CPU where there is no GPU.

    Where a scheduler such as SLURM hands out GPUs, CUDA_VISIBLE_DEVICES already hides the others. A job holds its GPU for
    this context only, so that another one computes while it reads and writes files.
    """
    torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        use_fastest_float32()
        keep_freed_memory()
        log.info("device: cpu, %d threads, %s float32 products", threads, torch.get_float32_matmul_precision())
        yield torch.device("cpu")
        return
    index, lock = _wait_for_slot()
    with lock:
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
        # torch's default is TensorFloat-32 in convolutions, which falsifies their log p by 0.2 nats and more
        # (benchmarks/tensor_float.py). Its matrix products are float32 by default.
        torch.backends.cudnn.allow_tf32 = False
        log.info("device: %s (%s)", device, torch.cuda.get_device_name(device))
        try:
            yield device
        finally:
            torch.cuda.empty_cache()


def use_fastest_float32() -> None:
    """Let oneDNN multiply matrices on the CPU where that keeps float32's accuracy: on some CPUs it is twice as fast.

    torch hands it float32 products only at the setting "medium", which also allows bfloat16, so a product is tried.
    """
    torch.set_float32_matmul_precision("medium")
    if not multiplies_float32():
        torch.set_float32_matmul_precision("highest")


def keep_freed_memory() -> None:
    """Let glibc's malloc keep the memory of large tensors for the next ones: asking the system for it anew took a tenth of the
    likelihood stage. At most KEPT bytes are kept; other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP)
        mallopt(M_TRIM_THRESHOLD, KEPT)


def multiplies_float32() -> bool:
    """Whether a matrix product is as accurate as float32 allows; bfloat16 misses the bound a hundredfold."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    error = (torch.mm(a, b).double() - torch.mm(a.double(), b.double())).abs().max()
    return bool(error < 1e-3)


def at_once(chunk: int, device: torch.device) -> int:
    """How many images or numbers to take at once on a device, where a CPU takes `chunk`."""
    return chunk if device.type == "cpu" else chunk * ON_GPU


def describe(device: torch.device) -> str:
    """The device's name as artifacts record it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _wait_for_slot() -> tuple[int, IO]:
    folder = Path(tempfile.gettempdir()) / f"engram-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    said = False
    while True:
        for index in range(torch.cuda.device_count()):
            lock = (folder / str(torch.cuda.get_device_properties(index).uuid)).open("w")
            if may_go_on(lock, "jobs may share a GPU, which is slower; set TMPDIR to a folder on a local disk"):
                return index, lock
            lock.close()
        if not said:
            log.info("every GPU is held by another engram job; waiting")
            said = True
        time.sleep(0.2)
