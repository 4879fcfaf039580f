"""The one exception a user is meant to read."""

CANNOT_WRITE = "free some space or make the folder writable, then start again; what is finished is kept"


class UserError(Exception):
    """A mistake or a fault the user can mend: one line naming the key or file, the value, and what would be right."""


def make_again(path: object) -> str:
    """What to do about an artifact that cannot be used."""
    return f"delete it and run `snakemake --cores all {path}` to make it again"


def first_line(error: Exception) -> str:
    """What an exception of some library says, cut to one line; its type if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
