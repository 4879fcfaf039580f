"""Every example of docs/python.md and of the public functions' docstrings gives what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

import results_folder

PAGE = Path(__file__).parents[1] / "docs/python.md"
MODULES = ["engram.scores.public", "engram.likelihood.public", "engram.neighbors", "engram.results"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with results/quickstart."""
    folder = tmp_path_factory.mktemp("docs")
    results_folder.create(folder / "results", "quickstart")
    return folder


def test_the_examples_of_the_page_give_what_it_says(folder, monkeypatch):
    monkeypatch.chdir(folder)
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 20 and not failed


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_give_what_they_say(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried and not failed
