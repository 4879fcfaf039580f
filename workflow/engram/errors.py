"""The one exception a user is meant to read, and how its messages are put."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

CANNOT_WRITE = "free some space or make the folder writable, then start again; what is finished is kept"


class UserError(Exception):
    """A mistake or a fault the user can mend: one line naming the key or file, the value, and what would be right."""


def make_again(path: object) -> str:
    """What to do about an artifact that cannot be used."""
    return f"delete it and run `snakemake --cores all {path}` to make it again"


def first_line(error: Exception) -> str:
    """What an exception of some library says, cut to one line; its type if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def suggest(name: object, known: Iterable[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, or else any of them.

    >>> suggest("mnits", ["mnist", "cifar10"])
    "did you mean 'mnist'?"
    """
    names = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), names, 1)
    return f"did you mean {names[close[0]]!r}?" if close else f"choose {', '.join(names.values())}"


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Put `subject`, such as a key of config.yaml, before the message of a UserError raised inside."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{subject}: {error}") from error
