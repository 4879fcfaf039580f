"""The prompt of each image, from a CSV with the columns image and prompt."""

import csv
from collections.abc import Mapping
from pathlib import Path

from engram.audit.images import Images, Rows, source_of
from engram.datasets.paths import absent, expanded
from engram.datasets.reading import enumerated
from engram.errors import UserError, first_line

COLUMNS = ("image", "prompt")


def read(key: str, written: str | Path) -> dict[str, str]:
    """The prompts by the image's file. Raises UserError, beginning with `key`, for a file that is no such CSV."""
    try:
        with expanded(written).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            there, rows = reader.fieldnames or [], list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{key}: '{written}' cannot be read ({first_line(error)}){absent(written)}") from error
    if not {*COLUMNS} <= {*there}:
        raise UserError(f"{key}: {written} has the columns {', '.join(there) or 'none'}; it needs image and prompt")
    prompts: dict[str, str] = {}
    for row in rows:
        if None in row:  # where csv puts what lies beyond the header
            raise UserError(
                f"{key}: {written} has {len(row[None]) + len(there)} columns in the row of {row['image']!r}, and {len(there)} in "
                "its header; put a prompt that holds commas in quotes"
            )
        if row["prompt"] is None:
            raise UserError(
                f"{key}: {written} has no prompt in the row of {row['image']!r}; write one, or an empty text"
            )
        if prompts.setdefault(row["image"], row["prompt"]) != row["prompt"]:
            raise UserError(f"{key}: {written} has two prompts of {row['image']}; an image has one")
    return prompts


def of_images(key: str, prompts: dict[str, str], sets: Mapping[str, Images], rows: Rows) -> list[str]:
    """The prompt of each row: the one of "training/cat.png" (the set it comes from, and its file), or else that of "cat.png".

    Raises UserError, beginning with `key`, if images have none, or if "cat.png" could be either of two images of unlike pixels.
    """
    _require_one_image_each(key, prompts, sets)
    found = [prompts.get(_row(prompts, *each)) for each in zip(rows.source, rows.path, strict=True)]
    without = [file for file, prompt in zip(rows.path, found, strict=True) if prompt is None]
    if without:
        raise UserError(
            f"{key}: has no prompt of {len(without)} of {len(found)} images: {enumerated(without)}; add their rows"
        )
    return found


def _row(prompts: dict[str, str], source: str, file: str) -> str:
    """The image that is named by the row which would be that of a file of a set."""
    return named if (named := f"{source}/{file}") in prompts else file


def _require_one_image_each(key: str, prompts: dict[str, str], sets: Mapping[str, Images]) -> None:
    first: dict[str, tuple[str, int]] = {}
    for name, images in sets.items():
        source = source_of(name)
        for file, digest in zip(images.path, images.digest(), strict=True):
            row, image = _row(prompts, source, file), f"{source}/{file}"
            other, others_digest = first.setdefault(row, (image, digest))
            if row in prompts and digest != others_digest and image != other:
                raise UserError(
                    f"{key}: its row of {row} could be {other} or {image}, which are different images; name one of these"
                )
