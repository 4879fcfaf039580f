"""A config.yaml that is no YAML is one line with the place of the fault."""

from pathlib import Path

import pytest
import yaml

import workspace
from engram import config_file
from engram.errors import UserError

# text -> line, column (both from 1, counted by hand), and words of the message
FAULTS = {
    "a tab": ("run: [a]\n\texperiments: 1\n", 2, 1, ["indent with spaces, not tabs"]),
    "an open bracket": ("run: [quickstart\nexperiments:\n  a: 1\n", 2, 12, ["begins in line 1", "close the bracket"]),
    "an open brace at the end": ("run: [a]\nx: {b: 1\n", 3, 1, ["begins in line 2", "close the bracket"]),
    "two colons": ("run: [a]\nx: y: z\n", 2, 5, ["give every key a line of its own"]),
    "a key without its colon": ("run: [a]\nseed\nx: 1\n", 3, 1, ["could not find expected ':'", "write key: value"]),
    "uneven indentation": ("x:\n   a: 1\n  b: 2\n", 3, 3, ["indent the keys of one mapping alike"]),
    "an open quote": ("run: [a]\nx: 'abc\n", 3, 1, ["quoted scalar, which begins in line 2", "close the quotes"]),
    "an unknown anchor": ("x: *there\n", 1, 4, ["undefined alias"]),
    "a python object": ("run: !!python/object/apply:os.system ['touch hacked']\n", 1, 6, ["write a text with !"]),
    "a key twice": ("x:\n  a: 1\n  b: 2\n  a: 3\n", 4, 3, ["the key a is there already, in line 2"]),
    "a list as a key": ("x: 1\n? [a, b]\n: 2\n", 2, 3, ["unhashable key"]),
    "a control character": ("run: [a]\nx: a\x07b\n", 2, 5, ["control character 0x07"]),
    "two documents": ("a: 1\n---\nb: 2\n", 2, 1, ["expected a single document"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_with_its_place(fault, tmp_path):
    text, line, column, words = FAULTS[fault]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        config_file.require_readable(path)
    message = str(raised.value)
    assert message.startswith(f"{path}, line {line}, column {column}: ") and "\n" not in message
    for word in words:
        assert word in message


def test_a_file_in_another_encoding_is_told_by_its_first_byte_that_is_no_utf_8(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes("run: [a]\n# caf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match="line 2, column 6: byte 0xe9 is no UTF-8; save the file as UTF-8"):
        config_file.require_readable(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty, must hold keys"),
        ("# only a comment\n", "is empty, must hold keys"),
        ("- a\n- b\n", "holds a list, must hold keys"),
        ("run", "holds a str, must hold keys"),
        ("a: " + "[" * 5000, "nested too deep"),
        ("a: 2026-13-45\n", "month must be in 1..12"),
    ],
)
def test_what_has_no_place_is_one_line_too(text, says, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as raised:
        config_file.require_readable(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n",
        "\ufeffa: 1\n",
        "a: 1\r\nb: 2\r\n",
        '{"a": 1,\n\t"b": 2}',
        "a: &a {x: 1}\nb: {<<: *a, x: 2}\n",  # a merged key may be given another value
        "x: {a: 1}\ny: {a: 1}\n",
        (workspace.REPOSITORY / "config.yaml").read_text(),
    ],
)
def test_what_is_yaml_or_json_is_let_pass(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode())
    config_file.require_readable(path)


def test_anchors_that_unfold_without_end_are_not_unfolded(tmp_path):
    lines = ["a: &a [x]"] + [
        f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(lines))
    config_file.require_readable(path)


def test_a_missing_file_is_left_to_snakemake():
    config_file.require_readable(Path("no") / "config.yaml")


def test_on_the_command_line_the_place_is_said_before_anything_runs(tmp_path):
    folder = workspace.create(tmp_path / "engram")
    text = yaml.safe_dump(workspace.read(folder)) + "run: [tiny\n"
    (folder / "config.yaml").write_text(text)
    run = workspace.snakemake(folder, "--dry-run", timeout=120)
    last = len(text.splitlines()) + 1
    assert run.returncode != 0 and f"config.yaml, line {last}, column 1: " in run.stdout, run.stdout
    assert "Traceback" not in run.stdout
