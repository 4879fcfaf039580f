"""What a comparison with a peer's program is, and how a peer's own code is found: as it is, nothing edited or copied."""

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from common import alternate, quiet, spread

Value = float | np.ndarray
DISAGREES = "DISAGREES"


class Comparison(NamedTuple):
    """One quantity by both programs from the same arrays.

    ours, theirs: compute it, a number or arrays of one shape. within: the largest difference that counts as agreement, or
    None where a convention or a fault parts them. remark: the convention that both keep here, or what parts them. timed:
    whether both do their usual work here; not where one was led to the other's convention.
    """

    quantity: str
    ours: Callable[[], Value]
    theirs: Callable[[], Value]
    within: float | None
    remark: str
    timed: bool = True

    def values(self, peer: str) -> dict[str, str]:
        """A row of the table of values; of arrays it has the mean, but every number is compared."""
        with quiet():
            ours, theirs = (np.asarray(compute(), dtype=np.float64) for compute in (self.ours, self.theirs))
        difference = largest_difference(ours, theirs)
        return {
            "quantity": self.quantity,
            "peer": peer,
            "engram": f"{ours.mean():.6g}",
            "peer's": f"{theirs.mean():.6g}",
            "largest difference": f"{difference:.1e}",
            "verdict": self._verdict(difference),
            "remark": self.remark,
        }

    def _verdict(self, difference: float) -> str:
        if self.within is None:
            return "differs"
        return "agrees" if difference <= self.within else DISAGREES

    def times(self, peer: str, rounds: int) -> dict[str, str]:
        """A row of the table of times, which are the processor's: what else the machine does counts for neither."""
        actions = {"engram": _counted(self.ours), "peer": _counted(self.theirs)}
        rates = alternate(actions, rounds, time.process_time)
        ours, theirs = (f"{1000 / np.median(of_program):.3g}" for of_program in rates.values())
        ratio = spread(rates["engram"] / rates["peer"])
        return {"time": self.quantity, "peer": peer, "engram, ms": ours, "peer, ms": theirs, "peer / engram": ratio}


class Peer(NamedTuple):
    """source: a file below the folder of peers, or an installed module. compare: its comparisons, from the module."""

    name: str
    source: str
    compare: Callable[[ModuleType], Iterable[Comparison]]

    def load(self, peers: Path) -> ModuleType:
        """The peer's module; FileNotFoundError or ImportError says what is missing."""
        if not self.source.endswith(".py"):
            return importlib.import_module(self.source)
        path, repository = peers / self.source, peers / Path(self.source).parts[0]
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}")
        sys.path.append(str(repository))  # where the file's own imports lie
        try:
            spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(repository))
        return module


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Absolute; infinite where only one of both is a number. Raises ValueError unless their shapes are equal."""
    if ours.shape != theirs.shape:
        raise ValueError(f"engram has values of shape {ours.shape}, the peer {theirs.shape}")
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    difference = np.abs(np.subtract(ours, theirs, where=~same, out=np.zeros(ours.shape)))
    return float(np.where(np.isnan(difference), np.inf, difference).max())


def _counted(compute: Callable[[], Value]) -> Callable[[], int]:
    """The same as an action of `alternate`, which counts as one."""

    def once() -> int:
        compute()
        return 1

    return once
