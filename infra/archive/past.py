"""The messages that a stream no longer holds, read from its archive as if they were there."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from events import subjects
from events.decision import Recorded
from events.patterns import PatternIndex
from events.tape import EVERYTHING
from infra.tapes.refused import Refused
from infra.tapes.stored import Stored

from .model import ArchiveError, Part
from .parquet import Row, batches
from .place import Place

_HELD_MAX = 4  # parts of an archive on S3 that are kept on this machine; a part is some 100 MB


class Past:
    """The archive behind a tape's stream. Open it with `open`; a part is proven by its hash before it is read."""

    def __init__(self, place: Place, parts: list[Part], refused: Refused) -> None:
        self._place, self._parts, self._refused = place, parts, refused
        self._held: OrderedDict[str, tuple[ExitStack, Path]] = OrderedDict()
        self.end = parts[-1].last

    @classmethod
    async def open(cls, tape: str, location: str, needed: int, refused: Refused) -> Past:
        """Raises ArchiveError where it does not hold everything up to the sequence `needed`, or is away."""
        if not location:
            raise ArchiveError(
                f"the stream `{tape}` no longer holds what is before {needed + 1:,}, nor says where it is"
            )
        where = f"the tape `{tape}` keeps what is up to {needed:,} in the archive at {location.partition('?')[0]}"
        try:
            place = Place(location, tape)
            parts = await asyncio.to_thread(place.parts)
        except ArchiveError as error:
            raise type(error)(f"{where}: {error}") from error
        if not parts or parts[-1].last < needed:
            held = f"it ends at {parts[-1].last:,}" if parts else "nothing is there"
            raise ArchiveError(
                f"{where}, but {held}: bring it back, or say with `tape retain --archive` where it is now"
            )
        return cls(place, parts, refused)

    async def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int, until: int) -> AsyncIterator[Recorded]:
        """What matches between the two, in order. Raises ArchiveError where something cannot be had."""
        wanted = _matching(patterns)
        for part in self._parts:
            if part.last <= after or part.first > until or not any(wanted(*_split(path)) for path in part.subjects):
                continue
            found = self._rows(part, after, wanted)
            while (rows := await asyncio.to_thread(next, found, None)) is not None:
                for row in rows:
                    if row.message.seq > until:
                        return
                    yield self._recorded(row.message)

    def _rows(self, part: Part, after: int, wanted: Callable[[str, str], bool]) -> Iterator[list[Row]]:
        yield from batches(self._file(part), after=after, wanted=wanted)

    def _file(self, part: Part) -> Path:
        """Its file, fetched and proven once while it is among the last ones used."""
        if part.file not in self._held:
            stack = ExitStack()
            self._held[part.file] = stack, stack.enter_context(self._place.trusted(part))
            if len(self._held) > _HELD_MAX:
                self._held.popitem(last=False)[1][0].close()  # whoever still reads it has it open
        self._held.move_to_end(part.file)
        return self._held[part.file][1]

    def close(self) -> None:
        while self._held:
            self._held.popitem()[1][0].close()

    async def last(self, actor: str) -> Recorded | None:
        """The actor's last message in the archive."""
        seq = self._newest(_matching((f"{actor}.>",)))
        async for entry in self.read((f"{actor}.>",), after=seq - 1, until=seq):
            return entry
        return None

    async def last_match(self, pattern: str) -> int:
        return self._newest(_matching((pattern,)))

    def _newest(self, wanted: Callable[[str, str], bool]) -> int:
        for part in reversed(self._parts):
            found = [seq for path, (_, seq) in part.subjects.items() if wanted(*_split(path))]
            if found:
                return max(found)
        return 0

    def _recorded(self, message: Stored) -> Recorded:
        decision = self._refused.decision(message.seq, f"{self._place.tape}.{message.path}", message.body)
        return Recorded(message.seq, _split(message.path)[0], decision, message.known_at, message.epoch)


def _matching(patterns: Sequence[str]) -> Callable[[str, str], bool]:
    index = PatternIndex((pattern, True) for pattern in patterns)
    return lambda actor, kind: bool(index.find(actor, kind))


def _split(path: str) -> tuple[str, str]:
    return subjects.split(f".{path}")
