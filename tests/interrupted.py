"""A training that is killed between two blocks of steps."""

import pytest

from engram.training.training import Training


def kill_at_block(monkeypatch, number: int, act) -> None:
    """Run `act`, in which a training dies before its block of this number, counted from 1; nothing of the patch remains."""
    advance, blocks = Training._advance, 0

    def until_killed(self, orders):
        nonlocal blocks
        blocks += 1
        if blocks == number:
            raise KeyboardInterrupt
        return advance(self, orders)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_advance", until_killed)
        with pytest.raises(KeyboardInterrupt):
            act()
