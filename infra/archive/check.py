"""Whether an archive is what was sealed, is all that was sealed, and tells what the tape tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import msgspec

from events import subjects
from events.codec import Codec
from events.control import ArchiveSealed
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.stored import Stored

from .chain import START
from .export import Progress
from .model import ArchiveDamaged, ArchiveError
from .place import Place
from .proof import Proven, proven


class Checked(msgspec.Struct, frozen=True):
    """Everything up to `last` is proven. `compared`: messages that the tape still holds, too, byte for byte the same.

    `witnessed`: up to here, the tape itself says what the archive's hash has to be.
    """

    parts: int
    last: int
    head: str
    compared: int = 0
    witnessed: int = 0


async def check(place: Place, tape: JetStreamTape | None, progress: Progress, *, head: str | None = None) -> Checked:
    """Reads the archive whole, and the tape, where one is given. `head`: one that was noted, which it must contain.

    Raises ArchiveDamaged with the first sequence that is missing, changed, or not as on the tape.
    """
    parts = await asyncio.to_thread(place.parts)
    if not parts:
        raise ArchiveError(f"there is no archive of the tape {place.tape!r} in {place.location}")
    if head is not None and head not in {START.hex(), *(part.head for part in parts)}:
        raise ArchiveDamaged(
            f"no part of the archive {place} ends with {head}: its last ones are missing, or its history is another",
            parts[-1].last + 1,
        )
    on_tape = await _OnTape.open(tape, parts[-1].last) if tape is not None else None
    witness = await _Witness.of(tape, place, parts[-1].last) if tape is not None else None
    try:
        async for batch in in_thread(proven(place, parts)):
            if on_tape is not None and witness is not None:
                for message, reached in batch:
                    await on_tape.compare(message)
                    witness.compare(message.seq, reached)
            progress(batch[-1][0].seq)
    finally:
        if on_tape is not None:
            await on_tape.close()
    compared = on_tape.compared if on_tape is not None else 0
    witnessed = witness.up_to if witness is not None else 0
    return Checked(len(parts), parts[-1].last, parts[-1].head, compared, witnessed)


async def in_thread(found: Iterator[list[Proven]]) -> AsyncIterator[list[Proven]]:
    """The same, read in a thread, so that a slow store holds up nobody else on the loop."""
    while (batch := await asyncio.to_thread(next, found, None)) is not None:
        if batch:
            yield batch


class _OnTape:
    """The tape's own messages beside those of the archive."""

    def __init__(self, first: int, messages: AsyncGenerator[Stored, None]) -> None:
        self.first, self.compared = first, 0
        self._messages = messages

    @classmethod
    async def open(cls, tape: JetStreamTape, until: int) -> _OnTape:
        stream = await tape.look()
        if until > stream.end:
            raise ArchiveDamaged(
                f"the archive goes to {until:,}, but the tape `{tape.name}` ends at {stream.end:,}: it lost messages "
                "that it had acknowledged; `tape restore` brings them back", stream.end + 1,
            )  # fmt: skip
        return cls(stream.first, tape.stored(after=stream.first - 1, until=until))

    async def compare(self, message: Stored) -> None:
        if message.seq < self.first:
            return
        found = await anext(self._messages, None)
        if found != message:
            what = difference(message, found)
            raise ArchiveDamaged(
                f"message {message.seq:,} is another in the archive than on the tape: {what}", message.seq
            )
        self.compared += 1

    async def close(self) -> None:
        await self._messages.aclose()


def difference(archived: Stored, found: Stored | None) -> str:
    """Which fields of two messages differ, in words."""
    if found is None:
        return "the tape has none"
    names = {"seq": "sequence", "path": "subject", "epoch": "epoch", "known_at": "append time", "body": "body"}
    return ", ".join(name for field, name in names.items() if getattr(archived, field) != getattr(found, field))


class _Witness:
    """The heads that exports recorded on the tape, as far as the stream still holds them."""

    def __init__(self, heads: dict[int, str], place: Place, last: int) -> None:
        self.up_to = 0
        self._heads, self._place = heads, place
        if (newest := max(heads, default=0)) > last:
            raise ArchiveDamaged(
                f"the tape says that it was archived up to {newest:,}, but {place} ends at {last:,}: its last parts "
                "are missing, or it is another archive that is behind, which `tape export` brings up", last + 1,
            )  # fmt: skip

    @classmethod
    async def of(cls, tape: JetStreamTape, place: Place, last: int) -> _Witness:
        codec, stream = Codec(), await tape.look()
        heads: dict[int, str] = {}
        async for message in tape.stored([f"{subjects.ARCHIVE}.>"], after=stream.first - 1):
            for fact in codec.decode_or_unreadable(f"{tape.name}.{message.path}", message.body).facts:
                if isinstance(fact, ArchiveSealed):
                    heads[fact.until] = fact.head
        return cls(heads, place, last)

    def compare(self, seq: int, head: bytes) -> None:
        """Raises ArchiveDamaged where the archive's chain is not the one that was recorded."""
        told = self._heads.get(seq)
        if told is None:
            return
        if told != head.hex():
            raise ArchiveDamaged(
                f"the archive {self._place} was changed after it was sealed: between {self.up_to + 1:,} and {seq:,} it "
                "is not what the tape says was sealed", self.up_to + 1,
            )  # fmt: skip
        self.up_to = seq
