"""Dropping a tape's oldest messages from its stream, behind an archive that was proven just before.

The stream denies deletes and purges for ever, so the way is its own limit of messages, set and taken away again. While
it is set the stream listens to a subject where nobody can publish: nothing can be appended, so the count cannot go past
what was worked out, and a crash in between leaves a stream that refuses writers instead of one that forgets.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from events.tape import TapeError
from infra.tapes.access import NOBODY, Access
from infra.tapes.bus import NO_STREAM, ApiError, Bus
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.stream import ARCHIVE, Found, closed_subject, found

from .check import check
from .export import Progress, record
from .model import ArchiveError
from .place import Place

KEPT_MIN = 1_000
"""The newest messages of the archive stay on the stream as well: what joins the two is never at the very edge."""
_PATIENCE_S = 10.0  # covers the election of a leader
_SETTLE_S = 0.05  # what was accepted before the stream was closed is stored well within
_SETTLED_CHECKS_MAX = 100
_STEP = 500_000  # messages dropped at once: writers wait meanwhile, half a second


class Retained(msgspec.Struct, frozen=True):
    """`first` is the oldest message that the stream holds now; `dropped` how many fewer there are than before."""

    first: int
    dropped: int
    archived: int


class Behind(ArchiveError):
    """Somebody still reads messages that were to be dropped."""


async def retain(
    tape: JetStreamTape, place: Place, first: int, progress: Progress, *, kept: int = KEPT_MIN
) -> Retained:
    """Drops what is before the sequence `first`, or before the archive's last `kept` messages where that is less.

    The whole archive is recomputed, compared with the stream and recorded on the tape in the same call. Raises
    ArchiveDamaged, and Behind where a reader is not that far yet; then nothing was dropped.
    """
    checked = await check(place, tape, progress)
    last = (await asyncio.to_thread(place.parts))[-1]
    if last.head != checked.head:
        raise ArchiveError(f"the archive {place} grew while it was checked: try again")
    await record(tape, last)
    first = max(1, min(first, checked.last + 1 - kept))
    before = await tape.look()
    dropping = _Dropping(tape.bus, tape.name, place.location)
    if first > before.first:
        for step in (*range(before.first + _STEP, first, _STEP), first):
            await dropping.run(step)
            progress(step)
    elif before.archive not in ("", place.location):
        await dropping.run(before.first)
    now = await tape.look()
    if now.first > max(first, before.first):
        raise TapeError(
            f"the tape `{tape.name}` begins at {now.first:,} and not at {first:,}: another program changed its stream"
        )
    return Retained(now.first, now.first - before.first, checked.last)


async def mend(url: str, name: str, access: Access = NOBODY) -> bool:
    """Opens a stream again that was left closed; true where it was."""
    bus = Bus(f"mending {name}", access)
    await bus.connect(url)
    try:
        info = await bus.ask_patiently(f"STREAM.INFO.{name}", patience_s=_PATIENCE_S)
        if info["config"]["subjects"] != [closed_subject(name)]:
            return False
        await _Dropping(bus, name, "").open_again()
        return True
    except ApiError as error:
        if error.code == NO_STREAM:
            return False
        raise
    finally:
        await bus.close()


class _Dropping:
    """The steps on the stream. Every one states the whole configuration, so any may be the last one done."""

    def __init__(self, bus: Bus, name: str, location: str) -> None:
        self._bus, self._name, self._location = bus, name, location

    async def run(self, first: int) -> None:
        await self._update(self._closed)
        try:
            end = await self._settled()
            await self._nobody_behind(first)
            await self._update(lambda config: self._closed(config) | {"discard": "old", "max_msgs": end - first + 1})
        finally:
            await self.open_again()

    async def open_again(self) -> None:
        open_ = {"subjects": [f"{self._name}.>"], "discard": "new", "max_msgs": -1}
        await self._update(lambda config: config | open_)

    def _closed(self, config: dict[str, Any]) -> dict[str, Any]:
        """Nobody can append; where the messages that may be gone are found is said before one is."""
        told = {ARCHIVE: self._location}
        closed = {"subjects": [closed_subject(self._name)], "metadata": (config.get("metadata") or {}) | told}
        return config | {"discard": "new", "max_msgs": -1} | closed

    async def _update(self, change: Any) -> None:
        info = await self._info()
        await self._bus.ask_patiently(f"STREAM.UPDATE.{self._name}", change(info["config"]), patience_s=_PATIENCE_S)

    async def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = await self._bus.ask_patiently(f"STREAM.INFO.{self._name}", patience_s=_PATIENCE_S)
        return info

    async def _settled(self) -> int:
        """The stream's end, twice the same."""
        stream: Found | None = None
        for _ in range(_SETTLED_CHECKS_MAX):
            now = found(await self._info())
            if stream == now:
                return now.end
            stream = now
            await asyncio.sleep(_SETTLE_S)
        raise TapeError(f"the stream `{self._name}` still grows though it is closed; try again when it is quiet")

    async def _nobody_behind(self, first: int) -> None:
        """A consumer whose messages vanish is not told: it must have been sent all that will be dropped."""
        offset = 0
        while True:
            page = await self._bus.ask_patiently(
                f"CONSUMER.LIST.{self._name}", {"offset": offset}, patience_s=_PATIENCE_S
            )
            for one in page["consumers"] or ():
                if one["num_pending"] and int(one["delivered"]["stream_seq"]) < first - 1:
                    at = int(one["delivered"]["stream_seq"])
                    raise Behind(
                        f"a reader of the tape `{self._name}` is at {at:,} and still has to read on to {first:,}; "
                        "nothing was dropped: try again when it has caught up"
                    )
            offset += len(page["consumers"] or ())
            if offset >= page["total"] or not page["consumers"]:
                return


async def boundary(tape: JetStreamTape, before: int) -> int:
    """The sequence of the first message of the stream that was appended at `before` (µs UTC) or later."""
    stream = await tape.look()
    low, high = stream.first, stream.end + 1
    while low < high:
        middle = (low + high) // 2
        message = [one async for one in tape.stored(after=middle - 1, until=middle)]
        if message and message[0].known_at < before:
            low = middle + 1
        else:
            high = middle
    return low
