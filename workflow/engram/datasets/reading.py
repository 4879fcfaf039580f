"""What a reader met on its way: gathered, so that everything is said at once and nothing is dropped in silence."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from engram.datasets.paths import printable, readable
from engram.errors import UserError

NAMED = 5  # of a kind; the others are counted


@dataclass(frozen=True)
class Reading:
    """used: images by size and mode; skipped, remarks: names of files or arrays by kind; problems: (name, detail) by kind.

    split: what decided which image is a test image. Problems are what no data set can be made of: `refuse` raises them all.
    """

    split: str = ""
    used: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def skip(self, kind: str, name: str) -> None:
        self.skipped.setdefault(readable(kind), []).append(readable(name))

    def remark(self, kind: str, name: str) -> None:
        self.remarks.setdefault(readable(kind), []).append(readable(name))

    def problem(self, kind: str, name: str = "", detail: str = "") -> None:
        self.problems.setdefault(kind, []).append((name, detail))

    def note_unused(self, definition: dict[str, Any]) -> None:
        """Remark on what has no effect on data that have a split of their own."""
        if "test_fraction" in definition:
            self.remark("settings without effect, as the data have a split of their own", "test_fraction")

    def refuse(self, where: str) -> None:
        """Raise UserError with every problem, if there is one: "WHERE: first kind; second kind"."""
        if self.problems:
            told = "; ".join(_told(kind, entries) for kind, entries in self.problems.items())
            raise UserError(printable(f"{where}: {told}"))


def enumerated(names: list[str]) -> str:
    """The first five names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _told(kind: str, entries: list[tuple[str, str]]) -> str:
    if entries[0][0] == "":
        return kind
    names = [f"{name} ({detail})" if detail else name for name, detail in entries]
    if len(entries) == 1:
        name, detail = entries[0]
        return f"{name}: {kind}" + (f" ({detail})" if detail else "")
    return f"{kind} ({len(entries)}): {enumerated(names)}"
