"""Pages from their templates, each of which needs no other file."""

from pathlib import Path
from typing import Any

import jinja2

import engram
from engram.files import atomic

TEMPLATES = Path(__file__).parent / "templates"


def write(path: str | Path, template: str, **values: Any) -> None:
    """Write a page; a value that its template asks for and is not given is an error."""
    options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), **options)
    text = environment.get_template(template).render(engram_version=engram.__version__, **values)
    atomic.write(path, text.encode())
