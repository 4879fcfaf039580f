"""A training that is killed between two turns of its models."""

import pytest

from engram.training.training import Training


def kill_at_turn(monkeypatch, number: int, act) -> None:
    """Run `act`, in which a training dies before its turn of this number, counted from 1; nothing of the patch remains."""
    advance, turns = Training._advance, 0

    def until_killed(self, orders):
        nonlocal turns
        turns += 1
        if turns == number:
            raise KeyboardInterrupt
        return advance(self, orders)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_advance", until_killed)
        with pytest.raises(KeyboardInterrupt):
            act()
