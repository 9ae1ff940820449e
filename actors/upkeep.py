"""What spares a process reading the tape from its start."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from actors.snapshot import Snapshots


class SnapshotGone(Exception):
    """A resting actor's snapshot is not there any more. Its process starts again, from the tape."""


class Recoveries(Protocol):
    """So many places for processes that read far, so that not all read at once after all have died."""

    def enter(self) -> bool:
        """Takes a place; False where none is free now."""

    def leave(self) -> None:
        """Gives the place back; does nothing where it has none."""


class Upkeep(NamedTuple):
    """Actors that heard nothing for `passivate_s` (0: never) have their state in their snapshot alone until they hear
    something."""

    snapshots: Snapshots | None = None
    recoveries: Recoveries | None = None
    passivate_s: float = 0.0
