"""config.yaml as a file: what is no YAML is said with its line and column, where Snakemake only says that something is wrong."""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from engram.errors import UserError, first_line

# What PyYAML says of a fault -> how to mend it.
MENDS = {
    "'\\t'": "indent with spaces, not tabs",
    "mapping values are not allowed here": "give every key a line of its own, and write a text with a colon in quotes",
    "expected ',' or": "close the bracket or brace, and put a comma between entries",
    "expected <block end>": "indent the keys of one mapping alike",
    "could not find expected ':'": "write key: value, with a space after the colon",
    "could not determine a constructor": "write a text with ! in quotes",
    "end of stream": "close the quotes; the file ends within them",
}


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, of which only the last would count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in lines:
                first = lines[key.tag, key.value]
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} is there already, in line {first}; rename or remove one",
                    problem_mark=key.start_mark,
                )
            lines[key.tag, key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def require_readable(path: str | Path) -> None:
    """Raise UserError with line and column if the file is no YAML, or holds a key twice. A missing file is let pass.

    >>> require_readable("config.yaml")
    """
    path = Path(path)
    if not path.is_file():
        return
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line, column = content.count(b"\n", 0, error.start) + 1, error.start - content.rfind(b"\n", 0, error.start)
        raise UserError(
            f"{path}, line {line}, column {column}: byte {content[error.start]:#04x} is no UTF-8; save the file as UTF-8"
        ) from None
    values = _values(path, text)
    if not isinstance(values, dict):
        what = "is empty" if values is None else f"holds a {type(values).__name__}"
        raise UserError(f"{path}: {what}, must hold keys with values: run, experiments, estimators")


def _values(path: Path, text: str) -> Any:
    try:
        return json.loads(text)  # JSON may be indented with tabs
    except ValueError:
        pass
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{path}, {_explain(error)}") from None
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        character = f"the control character {error.character:#04x}"
        raise UserError(f"{path}, line {line}, column {column}: {character} is not allowed; remove it") from None
    except RecursionError:
        raise UserError(f"{path}: its brackets are nested too deep") from None
    except ValueError as error:  # a date or number that does not exist
        raise UserError(
            f"{path}: {first_line(error)}; write texts that look like a date or a number in quotes"
        ) from None


def _explain(error: yaml.MarkedYAMLError) -> str:
    """ "line 3, column 5: what is wrong, in what; how to mend it", of a fault that PyYAML found."""
    mark = error.problem_mark or error.context_mark
    says = f"line {mark.line + 1}, column {mark.column + 1}: {first_line(Exception(error.problem))}"
    if error.context and error.context_mark:
        says += f" {error.context}, which begins in line {error.context_mark.line + 1}"
    mend = next((mend for fault, mend in MENDS.items() if fault in str(error.problem)), None)
    return f"{says}; {mend}" if mend else says
