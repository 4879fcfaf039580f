"""A stage's digest changes with its code, and with nothing else."""

import shutil
from pathlib import Path

import pytest

import engram
from engram.files import provenance

SCRIPTS = Path(engram.__file__).parents[1] / "scripts"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files may be edited."""
    copy = tmp_path / "engram"
    shutil.copytree(provenance.PACKAGE, copy)
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    return copy


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_changed_value_in_an_indirectly_imported_module_changes_the_digest(package):
    before = provenance.source_digest(SCRIPTS / "train.py")
    edit(package / "lockstep.py", '"fused": True', '"fused": False')
    assert provenance.source_digest(SCRIPTS / "train.py") != before


def test_comments_docstrings_layout_and_touching_do_not_change_it(package):
    before = provenance.source_digest(SCRIPTS / "train.py")
    edit(package / "training.py", "STEPS_PER_BLOCK = 32", "# a better comment\nSTEPS_PER_BLOCK  =  32")
    edit(package / "training.py", '"""Training the models', '"""How to train the models')
    (package / "lockstep.py").touch()
    assert provenance.source_digest(SCRIPTS / "train.py") == before


def test_modules_that_a_stage_does_not_use_do_not_count(package):
    before = provenance.source_digest(SCRIPTS / "train.py")
    edit(package / "neighbors.py", "def distance_ratio", "x = 1\n\n\ndef distance_ratio")
    assert provenance.source_digest(SCRIPTS / "train.py") == before


def test_attributes_name_versions_and_commit():
    attributes = provenance.attributes("e", 3, {"b": 1, "a": 2}, device="cpu")
    assert attributes["values"] == '{"a": 2, "b": 1}' and attributes["device"] == "cpu"
    assert attributes["engram_version"] == engram.__version__ and attributes["git_commit"]
