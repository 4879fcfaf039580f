"""What docs/own_model.md shows: a model, and the experiment that trains it."""

import re
from pathlib import Path

import yaml

PAGE = Path(__file__).parents[1] / "docs/own_model.md"


def model() -> str:
    """The source of my_model.py."""
    return _blocks("python")[0]


def config() -> dict:
    """The lines of config.yaml."""
    return yaml.safe_load(_blocks("yaml")[0])


def excerpts() -> list[str]:
    """Lines of the files in examples/, without their indentation."""
    of_examples = PAGE.read_text().partition("## Four examples")[2].partition("\n## ")[0]
    return [line.strip() for line in re.findall(r"^ {4}.+$", of_examples, flags=re.MULTILINE)]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
