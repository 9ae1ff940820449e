"""A tape in memory: what backtests run on, and the twin that the others are held against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from . import subjects
from .decision import Decision, Recorded
from .tape import EVERYTHING, LostRace


class MemoryTape:
    """Keeps decisions as objects; nothing is encoded. `known_at` is the event time, for there is no clock here."""

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.entries: list[Recorded] = []
        self._last: dict[str, Recorded] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def put(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> Recorded:
        """`append` without a loop to await on."""
        last = self._last.get(actor)
        if last is not None and (last.decision.key, last.epoch) == (decision.key, epoch):
            return last
        found = last.seq if last is not None else 0
        if found != expected:
            raise LostRace(actor, expected, found)
        entry = Recorded(len(self.entries) + 1, actor, decision, decision.ts, epoch)
        self.entries.append(entry)
        self._last[actor] = entry
        for follower in self._waiting:  # at once: an appender that is cancelled after this has still told them
            if not follower.done():
                follower.set_result(None)
        self._waiting.clear()
        return entry

    async def append(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> int:
        return self.put(actor, decision, expected=expected, epoch=epoch).seq

    async def last(self, actor: str) -> Recorded | None:
        return self._last.get(actor)

    async def entry(self, seq: int) -> Recorded | None:
        return self.entries[seq - 1] if 0 < seq <= len(self.entries) else None

    async def end(self) -> int:
        return len(self.entries)

    async def last_match(self, pattern: str) -> int:
        return next((entry.seq for entry in reversed(self.entries) if _wanted((pattern,), entry)), 0)

    async def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        for place in range(after, len(self.entries)):
            if _wanted(patterns, self.entries[place]):
                yield self.entries[place]

    async def follow(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        place = after
        while True:
            while place < len(self.entries):
                entry = self.entries[place]
                place += 1
                if _wanted(patterns, entry):
                    yield entry
            grown = asyncio.get_running_loop().create_future()
            self._waiting.append(grown)
            await grown

    async def close(self) -> None: ...


def _wanted(patterns: Sequence[str], entry: Recorded) -> bool:
    return any(subjects.matches(pattern, entry.actor, entry.decision.kind) for pattern in patterns)
