"""Paths as a user writes them in the config."""

import os
import re
from pathlib import Path


def expanded(written: str | Path) -> Path:
    """`written` with `~` and environment variables replaced; a variable that is not set stays as it is."""
    return Path(os.path.expandvars(os.path.expanduser(written)))


def absent(written: str | Path) -> str:
    """Why nothing may be found under the path `written`, in words to follow "does not exist"; "" if it is plain."""
    path = expanded(written)
    if unset := re.findall(r"\$(?:\w+|\{\w+\})", str(path)):
        return f": the environment variable {unset[0]} is not set"
    return "" if os.path.isabs(written) else f": looked for {os.path.abspath(path)}"


def readable(name: str) -> str:
    """A name as valid text for a file or a page: bytes of it that are not UTF-8 become `\\xe9`, a null becomes `\\x00`."""
    if name.isascii() and "\0" not in name:
        return name
    return "".join(_readable(letter) for letter in name)


def _readable(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python spells a byte of a file's name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return repr(letter)[1:-1] if letter == "\0" or 0xD800 <= code <= 0xDFFF else letter


def printable(text: str) -> str:
    """`text` for a terminal: control characters, which could move its cursor, become escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in readable(text))
