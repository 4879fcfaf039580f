"""The attributes that every artifact carries."""

import engram
from engram.files import provenance


def test_attributes_name_versions_and_commit():
    attributes = provenance.attributes("e", 3, {"b": 1, "a": 2}, device="cpu")
    assert attributes["values"] == '{"a": 2, "b": 1}' and attributes["device"] == "cpu"
    assert attributes["engram_version"] == engram.__version__ and attributes["git_commit"]
