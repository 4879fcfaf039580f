"""What is written down twice must agree."""

import re
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

# Not needed inside a rule: the workflow manager itself.
ONLY_OUTSIDE_RULES = {"snakemake", "snakemake-executor-plugin-slurm"}


def requirement(text):
    name, bound = re.fullmatch(r"([A-Za-z0-9-]+)(?:\[.*\])?(.*)", text).groups()
    return {"pytorch": "torch"}.get(name, name), bound


def test_the_conda_environment_is_in_step_with_pyproject():
    conda = dict(map(requirement, yaml.safe_load((REPOSITORY / "envs/engram.yaml").read_text())["dependencies"]))
    assert conda.pop("python") == PROJECT["requires-python"]
    needed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["workflow"]
    assert conda == {name: bound for name, bound in map(requirement, needed) if name not in ONLY_OUTSIDE_RULES}


def test_the_version_is_the_same_everywhere():
    import engram

    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert engram.__version__ == PROJECT["version"] == citation["version"]
    assert f"## {engram.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()


def test_every_rule_has_a_script_of_its_name_and_every_script_a_rule():
    rules = {
        name
        for file in (REPOSITORY / "rules").glob("*.smk")
        for name in re.findall(r"^rule (\w+):", file.read_text(), re.M)
    }
    assert rules == {path.stem for path in (REPOSITORY / "workflow/scripts").glob("*.py")}


def test_every_key_of_an_experiment_and_an_estimator_is_explained_in_the_config():
    schema = yaml.safe_load((REPOSITORY / "workflow/engram/schemas/config.schema.yaml").read_text())
    text = (REPOSITORY / "config.yaml").read_text()
    kinds = schema["$defs"]
    keys = {*schema["properties"], *kinds["estimator_settings"]["properties"]}
    for part in ("training", "membership"):
        keys |= set(kinds["experiment"]["properties"][part]["properties"])
    for key in keys:
        assert re.search(rf"^ *#? *{key}:", text, re.MULTILINE), f"config.yaml does not show {key}"


def test_the_package_never_imports_snakemake():
    for path in (REPOSITORY / "workflow/engram").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path


def test_documents_have_no_gaps_left_to_fill():
    for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        assert not re.search(r"@@|to be timed|TODO|SECONDS s", path.read_text(), re.IGNORECASE), path
