"""The workflow from data set to report under each Python that is supported and is on this machine."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import workspace

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
NEEDED = [*workspace.PARTS, "tests", "pyproject.toml", "README.md", "LICENSE"]
MAKE_TINY = """
import pathlib, sys
sys.path.insert(0, "tests")
import workspace
run = workspace.snakemake(workspace.create(pathlib.Path("tiny")))
print(run.stdout)
sys.exit(run.returncode)
"""


def interpreter(version):
    """Path of a Python of this version, or None."""
    managed = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
    return managed[-1] if managed else shutil.which(f"python{version}")


@pytest.mark.interpreters
@pytest.mark.parametrize("version", VERSIONS)
def test_the_workflow_runs_from_data_set_to_report(version, tmp_path):
    python = interpreter(version)
    if python is None or shutil.which("uv") is None:
        pytest.skip(f"needs uv and Python {version}, and one of them is not on this machine")
    for part in NEEDED:
        source = workspace.REPOSITORY / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / part)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for command in (
        ["uv", "sync", "--quiet", "--python", python],
        ["uv", "run", "--no-sync", "python", "-W", "error::SyntaxWarning", "-c", MAKE_TINY],
    ):
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert run.returncode == 0, run.stdout + run.stderr
    used = subprocess.run([tmp_path / ".venv/bin/python", "--version"], capture_output=True, text=True).stdout
    assert used.startswith(f"Python {version}.") and (tmp_path / "tiny/results/report.html").exists()
