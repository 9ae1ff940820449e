"""From a tape to its archive: sealed parts, one after the other, each whole before its manifest is seen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from events import subjects
from events.control import ArchiveSealed
from events.feed import observed
from events.tape import LostRace
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.reader import Dropped
from infra.tapes.stored import Stored

from .chain import START, linked
from .model import ArchiveError, Part, encoded, file_name
from .parquet import PartWriter
from .place import Place, file_hash

PART_ROWS = 1_000_000
PART_BYTES = 512 << 20  # of bodies; compressed a tenth of that
_SEALED_PATH = f"{subjects.ARCHIVE}.archive-sealed"
_BREATHE = 4_096  # messages after which others on the loop get their turn

Progress = Callable[[int], None]
"""Told the sequence reached."""


class Exported(msgspec.Struct, frozen=True):
    """What an export came to: the parts it sealed, and where the archive ends now."""

    parts: int
    messages: int
    last: int
    head: str


class _Sealing:
    """The part that is being written, in a file of its own until it is whole."""

    def __init__(self, folder: Path, tape: str, first: int, head: bytes) -> None:
        self.path = folder / file_name(first)
        self.first, self.last, self.bytes = first, first - 1, 0
        self.before, self.penultimate, self.head = head, head, head
        self._tape = tape
        self.writer = PartWriter(self.path)
        self._subjects: dict[str, tuple[int, int]] = {}
        self._first_at = self._last_at = 0

    def add(self, message: Stored) -> None:
        if message.seq != self.last + 1:
            raise ArchiveError(f"the tape `{self._tape}` gave {message.seq} after {self.last}")
        self.penultimate, self.head = self.head, linked(self.head, message)
        self.writer.add(message, self.head)
        if self.last < self.first:
            self._first_at = message.known_at
        self._last_at, self.last = message.known_at, message.seq
        self._subjects[message.path] = (self._subjects.get(message.path, (0, 0))[0] + 1, message.seq)
        self.bytes += len(message.body)

    @property
    def rows(self) -> int:
        return self.last - self.first + 1

    @property
    def only_seals(self) -> bool:
        """Whether nothing stands in it but the records of earlier exports: sealing those would never end."""
        return set(self._subjects) <= {_SEALED_PATH}

    def seal(self, place: Place) -> Part:
        self.writer.close()
        part = Part(
            tape=self._tape, first=self.first, last=self.last, first_at=self._first_at, last_at=self._last_at,
            before=self.before.hex(), penultimate=self.penultimate.hex(), head=self.head.hex(),
            file=self.path.name, size=self.path.stat().st_size, hash=file_hash(self.path), subjects=self._subjects,
        )  # fmt: skip
        place.put(self.path)
        place.write(part.manifest, encoded(part))
        self.path.unlink()
        return part

    def drop(self) -> None:
        self.writer.close()
        self.path.unlink()


async def export(
    tape: JetStreamTape, place: Place, progress: Progress, *, rows: int = PART_ROWS, size: int = PART_BYTES
) -> Exported:
    """Seals what the tape has and the archive has not, in parts of `rows` messages or `size` bytes at most.

    It may be ended at any point: what was sealed stays, and the next export goes on from there. What it sealed is
    recorded on the tape. Raises ArchiveError where the archive is not of this tape, or longer than it.
    """
    parts = await asyncio.to_thread(place.parts)
    end = (await tape.look()).end
    sealed = await _sealed(tape, place, parts, end, progress, rows, size) if end else []
    last = (parts + sealed)[-1] if parts or sealed else None
    if last is not None:
        await record(tape, last)
    messages = sum(part.last - part.first + 1 for part in sealed)
    return Exported(len(sealed), messages, last.last if last else 0, last.head if last else START.hex())


async def _sealed(
    tape: JetStreamTape, place: Place, parts: list[Part], end: int, progress: Progress, rows: int, size: int
) -> list[Part]:
    head = bytes.fromhex(parts[-1].head) if parts else START
    after = parts[-1].last if parts else 0
    if after > end:
        raise ArchiveError(
            f"the archive {place} goes to {after:,}, but the tape `{tape.name}` ends at {end:,}: it lost messages that "
            "it had acknowledged. `tape restore` brings them back; nothing else may be appended before"
        )
    if parts:
        await continued(tape, place, parts[-1])
    sealed: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="tape-export-") as folder:
        sealing: _Sealing | None = None
        try:
            async for message in tape.stored(after=after, until=end):
                sealing = sealing or _Sealing(Path(folder), tape.name, message.seq, head)
                sealing.add(message)
                if sealing.writer.full:
                    await asyncio.to_thread(sealing.writer.flush)  # the connection must not wait for it
                if message.seq % _BREATHE == 0:
                    progress(message.seq)
                    await asyncio.sleep(0)
                if sealing.rows >= rows or sealing.bytes >= size:
                    sealed.append(await asyncio.to_thread(sealing.seal, place))
                    head, sealing = sealing.head, None
        except Dropped as gap:
            raise _gap(tape, place, after, gap.first) from gap
        if sealing is not None:
            if sealing.only_seals:
                sealing.drop()
            else:
                sealed.append(await asyncio.to_thread(sealing.seal, place))
    return sealed


async def continued(tape: JetStreamTape, place: Place, part: Part) -> None:
    """Raises ArchiveError where the last message of an archive is not the one that the tape has there."""
    try:
        async for message in tape.stored(after=part.last - 1, until=part.last):
            if linked(bytes.fromhex(part.penultimate), message).hex() == part.head:
                return
        raise ArchiveError(
            f"the archive {place} is of another history than the tape `{tape.name}`: message {part.last:,} differs. "
            "`tape check` names the first that does; a new tape needs a new archive"
        )
    except Dropped as gap:
        raise _gap(tape, place, part.last, gap.first) from gap


def _gap(tape: JetStreamTape, place: Place, after: int, first: int) -> ArchiveError:
    return ArchiveError(
        f"the tape `{tape.name}` begins at {first:,} and the archive {place} ends at {after:,}: what is between stands "
        "in the archive that was there when it was dropped; name that one"
    )


async def record(tape: JetStreamTape, part: Part) -> None:
    """Puts on the tape where its archive ended and with which head, where that is not said yet."""
    fact = ArchiveSealed(part.last_at, part.last, part.head)
    message = observed(subjects.ARCHIVE, part.last_at, fact)
    while True:
        last = await tape.last(subjects.ARCHIVE)
        if last is not None and last.decision.id == message.id:
            return
        try:
            await tape.append(subjects.ARCHIVE, message, expected=last.seq if last else 0)
            return
        except LostRace:  # two exports at once: one after the other
            continue
