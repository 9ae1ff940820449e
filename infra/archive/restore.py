"""From an archive to a stream: the same sequences, subjects, epochs and bodies, and the first append times beside."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import msgspec

from events import subjects
from events.tape import EVERYTHING, TapeError
from infra.tapes.access import NOBODY, Access
from infra.tapes.bus import EPOCH, NO_STREAM, ApiError, Bus, BusTrouble
from infra.tapes.client import Delivery
from infra.tapes.reader import KNOWN_AT, Reader
from infra.tapes.stored import Stored, stored
from infra.tapes.stream import RESTORED, RESTORING, check, config_of, found

from .check import difference, in_thread
from .export import Progress
from .model import ArchiveError, Part
from .place import Place
from .proof import proven

_PATIENCE_S = 10.0  # for an answer about the stream: covers the election of a leader
_ACK_S = 10.0  # for the acks of a window: they take milliseconds; beyond this the server is away
_WINDOW = 1_000  # messages on their way: enough to keep the server busy, little for it to queue
_EVERYTHING = 2**62


class Restored(msgspec.Struct, frozen=True):
    """`found`: messages that were there already and are the archive's; `added`: those that were not."""

    found: int
    added: int
    last: int
    head: str


async def restore(url: str, place: Place, replicas: int, progress: Progress, access: Access = NOBODY) -> Restored:
    """Brings a stream to where its archive ends: one that is not there, is empty, or is a beginning of the archive.

    Until it is whole the stream cannot be opened as a tape. Ended at any point, the next call goes on. Raises
    ArchiveError where the stream has another history, ArchiveDamaged for an archive that is not as it was sealed.
    """
    name = subjects.token(place.tape)
    parts = await asyncio.to_thread(place.parts)
    if not parts:
        raise ArchiveError(f"there is no archive of the tape {name!r} in {place.location}")
    bus = Bus(f"restore of {name}", access)
    await bus.connect(url)
    try:
        return await _Restoring(bus, name, place, parts, progress).run(replicas)
    except BusTrouble as error:
        reason = str(error) or type(error).__name__
        raise TapeError(f"NATS went away: {reason}; `tape restore` goes on where this one ended") from error
    finally:
        await bus.close()


class _Restoring:
    def __init__(self, bus: Bus, name: str, place: Place, parts: list[Part], progress: Progress) -> None:
        self._bus, self._name, self._place, self._parts, self._progress = bus, name, place, parts, progress
        self._last, self._head = parts[-1].last, parts[-1].head

    async def run(self, replicas: int) -> Restored:
        config, first, end = await self._stream(replicas)
        if end >= self._last and RESTORING not in config["metadata"]:
            await self._compare(first, self._last)
            return Restored(self._last - first + 1, 0, self._last, self._head)
        await self._compare(first, end)
        config = {**config, "metadata": {**config["metadata"], RESTORING: self._head}}
        await self._bus.ask_patiently(f"STREAM.UPDATE.{self._name}", config, patience_s=_PATIENCE_S)
        await self._add(end)
        config["metadata"][RESTORED] = str(self._last)
        del config["metadata"][RESTORING]
        await self._bus.ask_patiently(f"STREAM.UPDATE.{self._name}", config, patience_s=_PATIENCE_S)
        return Restored(end - first + 1 if end else 0, self._last - end, self._last, self._head)

    async def _stream(self, replicas: int) -> tuple[dict[str, Any], int, int]:
        """(configuration, first and last sequence) of the stream, which is created where there is none."""
        try:
            info = await self._bus.ask_patiently(f"STREAM.INFO.{self._name}", patience_s=_PATIENCE_S)
        except ApiError as error:
            if error.code != NO_STREAM:
                raise
            config = config_of(self._name, replicas) | {"metadata": {RESTORING: self._head}}
            info = await self._bus.ask_patiently(f"STREAM.CREATE.{self._name}", config, patience_s=_PATIENCE_S)
        config = info["config"]
        metadata = dict(config.get("metadata") or {})
        check(self._name, {**config, "metadata": {}})
        begun = metadata.get(RESTORING, self._head)
        if begun not in {part.head for part in self._parts}:
            raise ArchiveError(
                f"the tape `{self._name}` is being restored from another archive than {self._place}: name that one "
                "with --archive, or restore into another data folder"
            )
        stream = found(info)
        return {**config, "metadata": metadata}, stream.first, stream.end

    async def _compare(self, first: int, end: int) -> None:
        """Raises ArchiveError where what stands on the stream is not the archive's."""
        if end < first:
            return
        made = stored(_EVERYTHING)
        reader = Reader(self._bus, self._name, made, EVERYTHING, after=first - 1, until=min(end, self._last))
        async with aclosing(reader.entries()) as entries:
            async for batch in in_thread(proven(self._place, self._parts)):
                for message, _ in batch:
                    if message.seq > end:
                        return
                    if message.seq >= first and (held := await anext(entries, None)) != message:
                        raise ArchiveError(
                            f"the tape `{self._name}` is not a beginning of the archive {self._place}: message "
                            f"{message.seq:,} is another ({difference(message, held)}). Restore into an empty data "
                            "folder, or name another tape"
                        )
                self._progress(batch[-1][0].seq)

    async def _add(self, after: int) -> None:
        sending = _Sending(self._bus, self._name)
        await sending.open()
        async for batch in in_thread(proven(self._place, self._parts)):
            rest = [message for message, _ in batch if message.seq > after]
            for start in range(0, len(rest), _WINDOW):
                await sending.send(rest[start : start + _WINDOW])
            self._progress(batch[-1][0].seq)


class _Sending:
    """Publishes windows of messages, each of which says which sequence it must get."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus, self._name = bus, name
        self._inbox = ""
        self._due = 0
        self._done: asyncio.Future[None] | None = None

    async def open(self) -> None:
        self._inbox = self._bus.client.new_inbox()
        await self._bus.client.subscribe_directly(self._inbox, self._acked)

    async def send(self, messages: list[Stored]) -> None:
        """Raises TapeError where one did not get its sequence, BusTrouble where the server is away."""
        self._due = messages[-1].seq
        self._done = asyncio.get_running_loop().create_future()
        await self._bus.client.publish_lines([self._line(message) for message in messages])
        async with asyncio.timeout(_ACK_S):
            await self._done

    def _line(self, message: Stored) -> bytes:
        headers = (
            f"NATS/1.0\r\n{EPOCH}: {message.epoch}\r\n{KNOWN_AT}: {message.known_at}\r\n"
            f"Nats-Expected-Last-Sequence: {message.seq - 1}\r\n\r\n"
        ).encode()
        size = len(headers) + len(message.body)
        subject = f"{self._name}.{message.path}"
        return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
            subject.encode(), self._inbox.encode(), len(headers), size, headers, message.body,
        )  # fmt: skip

    def _acked(self, answer: Delivery) -> None:
        done = self._done
        if done is None or done.done():
            return
        told = msgspec.json.decode(answer.data) if answer.data else {}
        if "seq" not in told or "error" in told:
            reason = told.get("error", {}).get("description") or "nobody listens: is the stream still there?"
            done.set_exception(TapeError(f"restoring `{self._name}` ended: {reason}; does somebody else write to it?"))
        elif told["seq"] == self._due:
            done.set_result(None)
