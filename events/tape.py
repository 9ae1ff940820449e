"""The tape port: one append-only, totally ordered log. Memory, file and JetStream keep the same contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from .decision import Decision, Recorded

EVERYTHING: tuple[str, ...] = (">",)


class TapeError(Exception):
    """Something about a tape that whoever runs the system has to know."""


class LostRace(TapeError):
    """Another writer appended to this actor's subjects first. Fatal for the loser: it must not decide again."""

    def __init__(self, actor: str, expected: int, found: int) -> None:
        super().__init__(
            f"another writer is at work as {actor}: expected its last message at {expected}, found {found}; "
            "this one stops"
        )
        self.actor, self.expected, self.found = actor, expected, found

    def __reduce__(self) -> tuple[type[LostRace], tuple[str, int, int]]:
        return type(self), (self.actor, self.expected, self.found)  # it crosses processes


class TapeDamaged(TapeError):
    """Stored bytes are not what was appended; the message says where."""


class HistoryLost(TapeDamaged):
    """Messages that the tape had acknowledged are gone: it ends before `known`, or another message stands there now.

    Whoever raises it has read or written up to `known`, and must not go on from there.
    """

    def __init__(self, tape: str, known: int, end: int) -> None:
        now = f"it ends at {end}" if end < known else f"another message stands there now, and the tape ends at {end}"
        super().__init__(
            f"the tape {tape!r} has lost messages that it had acknowledged: it was known up to {known}, {now} "
            "(see the durability tiers)"
        )
        self.tape, self.known, self.end = tape, known, end

    def __reduce__(self) -> tuple[type[HistoryLost], tuple[str, int, int]]:
        return type(self), (self.tape, self.known, self.end)  # it crosses processes


class Tape(Protocol):
    """Patterns are relative to the tape (`market.*.*.candle`, `bot.ema.>`); sequences start at 1."""

    name: str

    async def append(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> int:
        """Appends and returns the sequence: the old one where this decision, of this epoch, already is the last.

        `expected` is the sequence of the actor's last message (0: none). Raises LostRace where it is another: also
        where a writer of another epoch has appended the same decision, for only one of two may go on.
        """

    async def last(self, actor: str) -> Recorded | None:
        """The actor's last message, read your own writes."""

    async def entry(self, seq: int) -> Recorded | None:
        """The message at a sequence, read your own writes; None where there is none."""

    async def end(self) -> int:
        """The sequence of the newest message, 0 where there is none."""

    async def last_match(self, pattern: str) -> int:
        """The sequence of the newest message under a pattern, read your own writes; 0 where there is none."""

    def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        """What is stored now, in order, once each."""

    def follow(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        """What is stored and then what comes, in order, once each, until the caller stops."""

    async def close(self) -> None: ...
