"""What is written down twice must agree."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import yaml

from engram import catalogue
from engram.files import layout
from engram.files.layout import Layout
from engram.report import contents

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


def test_every_rule_has_a_script_of_its_name_or_that_of_the_catalogue_and_every_script_a_rule():
    rules = [file.read_text() for file in (REPOSITORY / "rules").glob("*.smk")]
    named = {name for text in rules for name in re.findall(r"^rule (\w+):", text, re.M)}
    scripts = {name for text in rules for name in re.findall(r"workflow/scripts/(\w+)\.py", text)}
    assert scripts == {path.stem for path in (REPOSITORY / "workflow/scripts").glob("*.py")}
    assert named | {"analysis", "figure", "paper_figure"} == scripts


def test_every_analysis_and_figure_of_the_catalogue_has_its_module_and_every_module_an_entry():
    for package, entries in (
        ("analyses", catalogue.ANALYSES),
        ("figures", catalogue.FIGURES | catalogue.PAPER_FIGURES),
    ):
        for name, entry in entries.items():
            module = import_module(f"engram.{package}.{name}")
            assert callable(getattr(module, "analyse" if package == "analyses" else name)), name
            assert set(entry.reads) <= {*catalogue.READABLE, *catalogue.ANALYSES}, name
            assert entry.title and entry.says.endswith("."), name
    # published_null is drawn by a benchmark; the others are what analyses and figures share.
    for package, function, entries in (
        ("analyses", "analyse", catalogue.ANALYSES),
        ("figures", None, catalogue.FIGURES | catalogue.PAPER_FIGURES),
    ):
        files = (REPOSITORY / "workflow/engram" / package).glob("*.py")
        defines = {path.stem: re.findall(r"^def (\w+)", path.read_text(), re.MULTILINE) for path in files}
        assert {name for name, functions in defines.items() if (function or name) in functions} == set(entries)


def test_the_catalogue_imports_nothing_but_the_standard_library():
    assert not re.search(
        r"^\s*(import|from) (engram|numpy|xarray|torch|matplotlib)", Path(catalogue.__file__).read_text(), re.M
    )


def test_every_key_of_an_experiment_and_an_estimator_is_explained_in_the_config():
    schema = yaml.safe_load((REPOSITORY / "workflow/engram/schemas/config.schema.yaml").read_text())
    text = (REPOSITORY / "config.yaml").read_text()
    kinds = schema["$defs"]
    keys = {*schema["properties"], *kinds["estimator_settings"]["properties"]}
    for kind in ("trained", "given", "audited"):
        keys |= set(kinds[kind]["properties"])
        for part in ("training", "membership"):
            keys |= set(kinds[kind]["properties"].get(part, {}).get("properties", {}))
    for key in keys:
        assert re.search(rf"^ *#? *{key}:", text, re.MULTILINE), f"config.yaml does not show {key}"


def test_the_package_never_imports_snakemake():
    for path in (REPOSITORY / "workflow/engram").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path


def test_documents_have_no_gaps_left_to_fill():
    for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        assert not re.search(r"@@|to be timed|TODO|SECONDS s", path.read_text(), re.IGNORECASE), path


def test_documents_open_analyses_that_their_experiments_make():
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    opened = {
        (path.name, *names)
        for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
        for names in re.findall(r'load\("results/(\w+)"\)\.analyses\["(\w+)"\]', path.read_text())
    }
    assert len(opened) > 5
    wrong = [each for each in opened if each[2] not in contents.experiment(config, each[1])["analyses"]]
    assert not wrong


def test_the_paths_are_those_that_the_readme_of_the_results_lists():
    experiment, reproduction = Layout("{experiment}"), Layout("{reproduction}")
    text = (REPOSITORY / "results/README.md").read_text()
    for path in (
        layout.dataset("{dataset}"),
        experiment.membership,
        experiment.models("{repeat}"),
        experiment.likelihood("{estimator}", "{repeat}", "{epoch}"),
        experiment.scores("{estimator}"),
        experiment.analysis("{analysis}"),
        experiment.measures(),
        experiment.figure("{figure}", "pdf"),
        reproduction.table,
    ):
        assert f" {path.removeprefix('results/')}" in text
    assert Layout("quickstart").scores("corrected", "csv") == "results/quickstart/scores/corrected.csv"
