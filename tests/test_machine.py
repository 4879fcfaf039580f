"""What engram asks of the machine, and what it says where the machine has no answer."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import workspace
from engram.runtime import machine

# What Windows lacks: these modules cannot be imported, and os has no sysconf.
AS_ON_WINDOWS = """
    import os, platform, sys

    sys.modules.update(fcntl=None, resource=None)
    del os.sysconf
    platform.system = lambda: "Windows"
"""


def on_windows(code):
    program = textwrap.dedent(AS_ON_WINDOWS) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_scores_need_nothing_that_only_unix_has():
    run = on_windows("""
        import engram
        table = engram.score([[-1.0], [-2.0], [-1.0], [-3.0]], [[1], [0], [1], [0]], [0, 0, 1, 1])
        print(table.score[0])
    """)
    assert run.stdout == "1.5\n", run.stderr  # repeat 0: 1, repeat 1: 2; their mean


@pytest.mark.slow
def test_estimates_need_nothing_that_only_unix_has():
    run = on_windows("""
        import numpy as np
        import engram
        model = engram.models.build("bernoulli_mlp_vae", (1, 8, 8), latent_dim=2, hidden=(4, 3))
        print(engram.estimate(model, np.zeros((3, 1, 8, 8), np.uint8), samples=2, seed=0).log_px.numel())
    """)
    assert run.stdout == "3\n", run.stderr


def test_the_workflow_says_in_a_line_that_it_needs_linux():
    run = on_windows("""
        from engram.errors import UserError
        from engram.runtime import machine
        for ask in (machine.require_supported, machine.installed_memory):
            try:
                ask()
            except UserError as error:
                print(error)
    """)
    workflow, memory = run.stdout.splitlines()
    assert "needs Linux, and this is Windows; on Windows run it in WSL" in workflow, run.stderr
    assert "needs Linux" in memory


def test_a_start_of_the_workflow_elsewhere_ends_in_that_line(tmp_path):
    folder = workspace.create(tmp_path / "engram")
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['fcntl'] = None\n")
    start = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    run = subprocess.run(start, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode != 0 and "engram's workflow needs Linux" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_a_unix_that_was_never_tried_gets_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    machine.require_supported()
    assert caplog.messages == ["engram was tested on Linux only, and this is Darwin"]


def test_linux_is_supported_without_a_word(caplog):
    machine.require_supported()
    assert not caplog.messages


def test_memory_is_counted_in_bytes():
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert machine.installed_memory() == pytest.approx(int(meminfo["MemTotal"].split()[0]) * 1024, rel=0.01)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert machine.peak_memory() == pytest.approx(int(status["VmHWM"].split()[0]) * 1024, rel=0.05)
