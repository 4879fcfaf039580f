"""Files that are whole or absent, whatever ends the job that writes them."""

import os
from pathlib import Path

from engram.errors import CANNOT_WRITE, UserError, first_line


def write(path: str | Path, *content: bytes | memoryview) -> None:
    """Write a file, part after part, under a temporary name, flush it to disk, and rename it.

    It takes finished content, because libraries that write as they go may fail in ways of their own on a full disk. Raises
    UserError, naming the file, if it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_behind in path.parent.glob(f".{path.name}.*.tmp"):  # by a job killed while it wrote
            left_behind.unlink(missing_ok=True)
        with open(temporary, "wb") as file:
            for part in content:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: could not be written: {first_line(error)}; {CANNOT_WRITE}") from error
    finally:
        temporary.unlink(missing_ok=True)
