"""The device a job computes on, and that speed never costs accuracy."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from engram.runtime import device


@pytest.fixture(autouse=True)
def _restore_precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_a_job_multiplies_matrices_with_float32_accuracy():
    with device.claimed_device(threads=1) as chosen:
        assert device.describe(chosen)
        a, b = torch.randn(64, 1024, device=chosen), torch.randn(1024, 512, device=chosen)
        error = ((a @ b).double() - a.double() @ b.double()).abs().max()
    assert error < 1e-3


def test_a_setting_that_multiplies_in_bfloat16_is_not_used(monkeypatch):
    product = torch.mm

    def lossy_when_allowed(a, b):
        if a.dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium":
            return product(a.bfloat16(), b.bfloat16()).float()
        return product(a, b)

    monkeypatch.setattr(torch, "mm", lossy_when_allowed)
    device.use_fastest_float32()
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_threads_asked_for_are_used():
    before = torch.get_num_threads()
    try:
        with device.claimed_device(threads=2):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# A process whose torch believes in two GPUs, of which CUDA_VISIBLE_DEVICES shows it some, as CUDA does; it claims one and says
# which, then holds it until its standard input closes.
CLAIM = """
    import os, sys
    from types import SimpleNamespace

    shown = [int(number) for number in os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")]
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: len(shown),
        get_device_properties=lambda index: SimpleNamespace(uuid=f"GPU-{shown[index]}"),
        set_device=lambda chosen: None,
        get_device_name=lambda chosen: "pretended",
        empty_cache=lambda: None,
    )
    backends = SimpleNamespace(cudnn=SimpleNamespace(allow_tf32=True))
    device = lambda kind, index: SimpleNamespace(type=kind, index=index)
    sys.modules["torch"] = SimpleNamespace(
        cuda=cuda, backends=backends, device=device, set_num_threads=lambda threads: None
    )
    from engram.runtime.device import claimed_device

    with claimed_device(threads=1) as chosen:
        assert not backends.cudnn.allow_tf32
        print(shown[chosen.index], flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path):
    """Start a job that claims a GPU; jobs of one test share their slots with no other test or user."""
    started = []

    def start(first="", **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(first) + textwrap.dedent(CLAIM)],
            env=os.environ | {"TMPDIR": str(tmp_path)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        process.stderr.close()


def test_each_of_several_jobs_gets_a_gpu_of_its_own_and_a_further_one_waits(claim):
    holders = {job.stdout.readline(): job for job in (claim(), claim())}
    assert holders.keys() == {"0\n", "1\n"}
    third = claim()
    time.sleep(1)
    holders["1\n"].stdin.close()
    assert third.stdout.readline() == "1\n"


def test_a_killed_job_gives_its_gpu_back(claim):
    first = claim(CUDA_VISIBLE_DEVICES="1")
    assert first.stdout.readline() == "1\n"
    first.kill()
    assert claim(CUDA_VISIBLE_DEVICES="1").stdout.readline() == "1\n"


def test_gpus_are_told_apart_by_what_they_are_not_by_their_number_in_the_job(claim):
    # Number 0 of either job, but different GPUs, as SLURM hands them out.
    assert claim(CUDA_VISIBLE_DEVICES="0").stdout.readline() == "0\n"
    assert claim(CUDA_VISIBLE_DEVICES="1").stdout.readline() == "1\n"


WITHOUT_LOCKS = """
    import errno, fcntl, os

    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = flock
"""


def test_where_the_temporary_folder_has_no_locks_a_gpu_is_used_and_what_to_do_is_said(claim):
    job = claim(first=WITHOUT_LOCKS)
    assert job.stdout.readline() == "0\n"
    warning = job.stderr.readline()
    assert "GPU-0: its file system has no locks (No locks available)" in warning and "set TMPDIR" in warning
