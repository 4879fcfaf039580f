"""Finding and checking published files in a local folder."""

import hashlib
from pathlib import Path

from engram.errors import UserError


def find(name: str, root: Path, subfolders: list[str], files: list[str]) -> Path:
    """The first existing `root`/subfolder/file. Raises UserError saying what was looked for."""
    for subfolder in subfolders:
        for file in files:
            path = root / subfolder / file
            if path.exists():
                return path
    raise UserError(
        f"data_root: folder '{root}' has no files of {name}; expected {' or '.join(files)} in it "
        f"or in its sub-folder {' or '.join(folder for folder in subfolders if folder != '.')}"
    )


def require_md5(path: Path, found: str, published: str) -> None:
    """Raise UserError unless the MD5 sum `found` for `path` is the `published` one."""
    if found != published:
        raise UserError(f"{path}: is not the published file: its content's MD5 is {found}, must be {published}")


def md5_of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
