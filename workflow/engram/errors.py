"""The one exception a user is meant to read, and how its messages are put."""

import difflib
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CANNOT_WRITE = "free some space or make the folder writable, then start again; what is finished is kept"


class UserError(Exception):
    """A mistake or a fault the user can mend: one line naming the key or file, the value, and what would be right."""


def make_again(path: object) -> str:
    """What to do about an artifact that cannot be used."""
    return f"delete it and run `snakemake --cores all {path}` to make it again"


def first_line(error: Exception) -> str:
    """What an exception of some library says, cut to one line; its type if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def in_users_code(error: BaseException) -> str | None:
    """What a user's own code, such as a model, raised or made a library raise, and where; None if no such code was running.

    For instance "my_model.py, line 17, in decode: RuntimeError: mat1 and mat2 shapes cannot be multiplied".
    """
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(Path(frame.filename))]
    if not own:
        return None
    place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name}"
    said = next(iter(str(error).splitlines()), "")
    return f"{place}: {type(error).__name__}{': ' if said else ''}{said}"


def _is_users(path: Path) -> bool:
    """Whether a source file belongs neither to engram, nor to Python, nor to an installed library, nor to Snakemake."""
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    folders = {"site-packages", "dist-packages", ".snakemake"}
    installed = folders & {*path.parts} or any(library in path.parents for library in libraries)
    return path.suffix == ".py" and not installed and Path(__file__).parent not in path.parents


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
