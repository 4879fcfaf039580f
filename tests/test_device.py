"""The device a job computes on, and that speed never costs accuracy."""

import pytest
import torch

from engram import device


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
