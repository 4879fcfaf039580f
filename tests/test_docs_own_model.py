"""What docs/own_model.md shows can be run, and agrees with examples/ and the code; tests/test_example_models.py runs its model."""

import doctest
import sys

import pytest

import own_model_page
import workspace
from engram import config
from engram.models import protocols
from own_model_page import PAGE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the page's my_model.py."""
    (tmp_path / "my_model.py").write_text(own_model_page.model())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_model", None)


def test_the_examples_of_the_page_give_what_it_says(folder):
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 4 and not failed


def test_config_yaml_takes_the_pages_experiment():
    shipped, shown = workspace.read(workspace.REPOSITORY), own_model_page.config()
    config.validate(shipped | {"run": shown["run"], "experiments": shipped["experiments"] | shown["experiments"]})


def test_the_lines_shown_of_an_example_stand_in_its_file():
    lines = [
        line.strip() for path in sorted(PAGE.parents[1].glob("examples/*.py")) for line in path.read_text().splitlines()
    ]
    assert len(own_model_page.excerpts()) > 4
    assert {*own_model_page.excerpts()} <= {*lines}


@pytest.mark.parametrize("name", [name for name in vars(protocols) if name.endswith("Model") or name == "OwnProposal"])
def test_the_page_names_all_that_a_protocol_asks_for(name):
    text = PAGE.read_text()
    assert not [member for member in protocols.lacking(object(), getattr(protocols, name)) if member not in text]
