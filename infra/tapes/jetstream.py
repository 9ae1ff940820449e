"""A tape on a JetStream stream."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import nats.errors

from events import subjects
from events.codec import Codec
from events.decision import Decision, Recorded
from events.tape import EVERYTHING, HistoryLost, LostRace, TapeError

from .access import NOBODY, Access
from .bus import EPOCH, NO_MESSAGE, ApiError, Bus, BusTrouble, ack_of
from .client import Delivery, TapeClient
from .pulling import PullReader
from .reader import Dropped, Made, Reader, T, epoch_of, known_at_of, nanos_of
from .refused import REFUSED, Refused
from .scan import worth_it
from .stored import Stored, stored
from .stream import NOTHING, Found, Known, found, open_stream
from .streampages import Page, in_columns, raw

if TYPE_CHECKING:  # most tapes have all their messages in the stream
    from infra.archive.past import Past

log = logging.getLogger(__name__)

_PATIENCE_S = 60.0  # restarting a server with a large store, or electing leaders on a loaded machine, fits in
_ACK_S = 5.0  # an ack takes 0.2 ms (R1) to some ms (R3); far beyond that it is lost or its server is
_PAUSE_S = 0.02  # between attempts: longer than another writer's append is in flight
STALE_S = 20.0  # a leader of three that is cut off answers with its old state until it notices, after 10 s and more


class MessageTooLarge(TapeError):
    """A decision does not fit a message of this server; write less of it, or raise its `max_payload`."""


class OutcomeUnknown(TapeError):
    """Neither an ack nor the stream's leader said whether the decision was appended, for all patience."""


class JetStreamTape:
    """Open it with `connect`. Appends and reads run over connections of their own, so neither waits for the other.

    What was dropped from the stream behind an archive is read from there. Raises ArchiveError where that is away.
    """

    def __init__(
        self, name: str, url: str, bus: Bus, stream: Found, patience_s: float, ack_s: float, access: Access,
        gather_s: float = 0.0,
    ) -> None:  # fmt: skip
        self.name = name
        self.replicas = stream.replicas
        self._stream = stream
        self._past: Past | None = None
        self._url = url
        self._access, self._gather_s = access, gather_s
        self._bus = bus
        self._reading: Bus | None = None
        self._opening = asyncio.Lock()
        self._refused = Refused()
        self._learning = asyncio.Lock()
        self._patience_s, self._ack_s = patience_s, ack_s
        self._codec = Codec()
        # The stream forgets an id after two minutes; a gateway that sends the same content again after that is
        # stopped by what is known here. After a reconnect it is asked for again: the server may have lost it.
        self._known: dict[str, Known] = {}

    @classmethod
    async def connect(
        cls,
        url: str,
        name: str,
        *,
        replicas: int = 1,
        create: bool = True,
        access: Access = NOBODY,
        patience_s: float = _PATIENCE_S,
        ack_s: float = _ACK_S,
        gather_s: float = 0.0,
    ) -> JetStreamTape:
        """Opens the stream `name`, and creates it where `create` says so.

        `url` may name several servers, separated by commas; `access` says as what to connect. `patience_s`: how long an
        append waits for a server that is away; `ack_s`: how long for one ack. `gather_s`: who follows is
        in no hurry, and asks so long after each answer for what has come meanwhile. Raises TapeError, and ValueError
        for a name that cannot be one.
        """
        subjects.token(name)
        bus = Bus(f"tape {name}", access)
        await bus.connect(url)
        try:
            stream = await open_stream(bus, name, replicas=replicas, create=create)
        except BaseException:
            await bus.close()
            raise
        return cls(name, url, bus, stream, patience_s, ack_s, access, gather_s)

    @property
    def bus(self) -> Bus:
        """The connection that appends and asks."""
        return self._bus

    @property
    def client(self) -> TapeClient:
        """The connection that appends."""
        return self._bus.client

    async def append(self, actor: str, decision: Decision, *, expected: int, epoch: int = 0) -> int:
        """As the port says. Raises LostRace, HistoryLost, MessageTooLarge, and OutcomeUnknown after `patience_s`."""
        known = self._known.get(actor, NOTHING)
        await self._check(actor, known)
        if known.says(decision, epoch):
            return known.seq
        seq = await self._append(actor, decision, expected, epoch, known)
        self._known[actor] = Known(decision.key, epoch, seq, self._bus.reconnects)
        return seq

    async def _check(self, actor: str, known: Known, *, again: bool = False) -> None:
        """After the connection or a race was lost, what is known must still be on the tape. Raises HistoryLost."""
        client = self._bus.client
        sure = known.reconnects == self._bus.reconnects and client.is_connected and not again
        if sure or not known.seq or client.is_closed:
            return
        deadline = asyncio.get_running_loop().time() + (STALE_S if self.replicas > 1 else 0.0)
        while (message := await self._message({"seq": known.seq})) is None:
            if asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(_PAUSE_S)
        entry = self._recorded(message) if message is not None else None
        archived = entry is None and known.seq < await self._begins()
        same = entry is not None and entry.actor == actor and known.says(entry.decision, entry.epoch)
        if not (same or archived):
            self._known[actor] = known  # whoever tries again is told again
            raise HistoryLost(self.name, known.seq, await self.end())
        self._known[actor] = known._replace(reconnects=self._bus.reconnects)

    async def _append(self, actor: str, decision: Decision, expected: int, epoch: int, known: Known) -> int:
        body = self._codec.encode(decision)
        subject = subjects.subject(self.name, actor, decision.kind)
        guarded = subjects.every(self.name, actor)
        # The epoch first: readers look for it there. Another epoch's copy is no duplicate but a lost race. The same
        # words later on, as of a venue that says something again, expect another message before them: they are no
        # duplicate either.
        opening = f"NATS/1.0\r\n{EPOCH}: {epoch}\r\nNats-Msg-Id: {decision.id}/{epoch}/{expected}\r\n"
        guard = f"Nats-Expected-Last-Subject-Sequence-Subject: {guarded}\r\n\r\n"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        loud_at = loop.time() + self._ack_s
        stale_until = loop.time() + STALE_S
        while True:
            on_stream = expected
            if await self._dropped(expected):
                last = await self.last(actor)
                if last is not None and (last.decision.key, last.epoch) == (decision.key, epoch):
                    return last.seq
                if (found := last.seq if last is not None else 0) != expected:
                    raise LostRace(actor, expected, found)
                on_stream = 0
            headers = f"{opening}Nats-Expected-Last-Subject-Sequence: {on_stream}\r\n{guard}".encode()
            seq, trouble = await self._send(subject, body, headers)
            if seq:
                return seq
            # Whether it was appended is now read from the stream's leader. If it was not, it is sent again with the
            # same id and the same expectation, of which the stream can take one copy only, whenever they arrive.
            level = logging.INFO
            if loop.time() > loud_at:  # not the loss of an ack, then: somebody should look at the server
                level, loud_at = logging.WARNING, loop.time() + self._ack_s
            log.log(level, "%s: append of %s is unclear (%s)", actor, decision.id, trouble)
            last = await self.last(actor)
            await self._check(actor, known)
            found = last.seq if last is not None else 0
            if last is not None and (last.decision.key, last.epoch) == (decision.key, epoch):
                return last.seq
            stale = found < expected and self.replicas > 1 and loop.time() < stale_until
            if found != expected and not stale:
                await self._check(actor, known, again=True)
                raise LostRace(actor, expected, found)
            if loop.time() > deadline:
                raise OutcomeUnknown(f"{actor}: no append in {self._patience_s:g} s; the last answer was: {trouble}")
            await asyncio.sleep(_PAUSE_S)

    async def _dropped(self, expected: int) -> bool:
        """Whether the stream no longer holds an actor's last message, so that it knows of none."""
        if expected == 0:
            await self.look()  # once in an actor's life: all that it ever wrote may have been dropped since
        return expected < self._stream.first and self._stream.first > 1

    async def _send(self, subject: str, body: bytes, headers: bytes) -> tuple[int, str]:
        """(sequence of a fresh append, or 0; what happened instead)."""
        try:
            answer = await self._bus.client.ask_directly(subject, headers, body, self._ack_s)
            return self._acked(answer)
        except nats.errors.MaxPayloadError as error:
            limit = self._bus.client.max_payload
            raise MessageTooLarge(f"{subject}: {len(body)} bytes exceed the server's limit of {limit}") from error
        except BusTrouble as error:
            self._bus.check_allowed(subject)
            trouble = str(error) or type(error).__name__
            if self._bus.client.is_closed:
                raise OutcomeUnknown(f"{subject}: the connection to NATS is closed: {trouble}") from error
            return 0, trouble

    def _acked(self, answer: Delivery) -> tuple[int, str]:
        try:
            found = ack_of(answer.data)
        except msgspec.MsgspecError:
            return 0, "an answer that is not JetStream's"
        if (error := found.error) is not None:
            if error.err_code == 10054:
                raise MessageTooLarge(f"{self.name}: {error.description}")
            return 0, f"{error.description} (error {error.err_code})"
        if found.stream != self.name:
            raise TapeError(f"the append to `{self.name}` was taken by the stream {found.stream!r}")
        if found.duplicate:
            return 0, "a duplicate"
        return found.seq, ""

    async def last(self, actor: str) -> Recorded | None:
        """The actor's last message, answered by the stream's leader."""
        message = await self._message({"last_by_subj": subjects.every(self.name, actor)})
        if message is not None:
            entry = self._recorded(message)
        elif await self._begins() > 1 and (archived := await (await self._the_past()).last(actor)) is not None:
            entry = archived
        else:
            return None
        self._known[actor] = Known(entry.decision.key, entry.epoch, entry.seq, self._bus.reconnects)
        return entry

    async def last_match(self, pattern: str, *, past: bool = True) -> int:
        """The sequence of the newest message under a pattern, answered by the leader; 0 where there is none."""
        message = await self._message({"last_by_subj": f"{self.name}.{pattern}"})
        if message is not None:
            return int(message["seq"])
        return await (await self._the_past()).last_match(pattern) if past and await self._begins() > 1 else 0

    async def entry(self, seq: int) -> Recorded | None:
        """The message at a sequence, answered by the stream's leader."""
        message = await self._message({"seq": seq}) if seq > 0 else None  # 0 would ask for nothing
        if message is not None:
            return self._recorded(message)
        if not 0 < seq < await self._begins():
            return None
        return await anext(aiter((await self._the_past()).read(after=seq - 1, until=seq)), None)

    async def _message(self, which: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer = await self._bus.ask_patiently(f"STREAM.MSG.GET.{self.name}", which, patience_s=self._patience_s)
        except ApiError as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        message: dict[str, Any] = answer["message"]
        return message

    def _recorded(self, message: dict[str, Any]) -> Recorded:
        data = base64.b64decode(message.get("data", ""))
        headers = base64.b64decode(message.get("hdrs", ""))
        actor, _ = subjects.split(message["subject"])
        return self._made(
            message["seq"], actor, Delivery(message["subject"], "", data, headers), nanos_of(message["time"]) // 1000
        )

    def _made(self, seq: int, actor: str, message: Delivery, appended_at: int) -> Recorded:
        decision = self._refused.decision(seq, message.subject, message.data)
        if seq <= self._stream.restored:
            appended_at = known_at_of(message.headers, appended_at)
        return Recorded(seq, actor, decision, appended_at, epoch_of(message.headers))

    async def end(self) -> int:
        """The stream's last sequence, answered by its leader."""
        return (await self.look()).end

    async def _begins(self) -> int:
        """The oldest sequence that the stream still holds; more may be dropped at any time."""
        return (await self.look()).first

    async def look(self) -> Found:
        """How the stream stands, answered by its leader."""
        info = await self._bus.ask_patiently(f"STREAM.INFO.{self.name}", patience_s=self._patience_s)
        self._stream = found(info)
        return self._stream

    async def _the_past(self) -> Past:
        """What the stream no longer holds. Raises ArchiveError."""
        from infra.archive.past import Past

        async with self._opening:
            if self._past is None or self._past.end < self._stream.first - 1:
                if self._past is not None:
                    self._past.close()
                self._past = await Past.open(
                    self.name, (await self.look()).archive, self._stream.first - 1, self._refused
                )
            return self._past

    async def read(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        """As the port says. Where filters leave the end out, it takes 0.1 s longer to be sure that there is no more."""
        await self._learn_refused(after)
        async for entry in self._entries(patterns, after, await self.end()):
            yield entry

    async def follow(self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0) -> AsyncIterator[Recorded]:
        """As the port says. Outlives restarts of the server and waits for it as long as it takes."""
        await self._learn_refused(after)
        async for entry in self._entries(patterns, after, None):
            yield entry

    async def stored(
        self, patterns: Sequence[str] = EVERYTHING, *, after: int = 0, until: int | None = None
    ) -> AsyncGenerator[Stored, None]:
        """The messages that the stream holds, as it keeps them, up to its end or `until`. Raises Dropped."""
        stream = await self.look()
        until = stream.end if until is None else min(until, stream.end)
        made = stored(stream.restored)
        reader = Reader(await self._reading_bus(), self.name, made, patterns, after=after, until=until)
        async for message in reader.entries():
            yield message

    async def _learn_refused(self, after: int) -> None:
        """What was refused stands behind it; the archive is asked only where it has to be read anyway."""
        async with self._learning:
            if after >= self._refused.since:
                return
            newest = await self.last_match(REFUSED, past=after < await self._begins() - 1)
            async for entry in self._entries((REFUSED,), after, newest):
                self._refused.note(entry)
            self._refused.since = after

    async def pages(self, *, after: int = 0, columns: bool | None = None) -> AsyncIterator[Page]:
        """As `FileTape.pages`."""
        await self._learn_refused(after)
        until = await self.end()
        if worth_it(until - after) if columns is None else columns:
            found = self._paged(EVERYTHING, after, until, raw)
            async for page in in_columns(found, self._made, self._stream.restored, self._refused):
                yield page
        else:
            async for entries in self._paged(EVERYTHING, after, until, self._made):
                yield list(entries)

    async def _entries(self, patterns: Sequence[str], after: int, until: int | None) -> AsyncIterator[Recorded]:
        async for page in self._paged(patterns, after, until, self._made):
            for entry in page:
                yield entry

    async def _paged(
        self, patterns: Sequence[str], after: int, until: int | None, made: Made[T]
    ) -> AsyncIterator[Sequence[T | Recorded]]:
        """From the stream as `made`, from an archive as entries."""
        bus = await self._reading_bus()
        while True:
            reader = self._reader(bus, made, patterns, after, until)
            try:
                async for page in reader.pages():
                    yield page
                return
            except Dropped as gap:
                await self.look()
                begins, after = gap.first, reader.place
            past = await self._the_past()
            async for entry in past.read(patterns, after=after, until=begins - 1):
                yield [entry]
            after = begins - 1

    def _reader(self, bus: Bus, made: Made[T], patterns: Sequence[str], after: int, until: int | None) -> Reader[T]:
        if until is None and self._gather_s:
            return PullReader(bus, self.name, made, patterns, after=after, gather_s=self._gather_s)
        return Reader(bus, self.name, made, patterns, after=after, until=until)

    async def _reading_bus(self) -> Bus:
        async with self._opening:
            if self._reading is None:
                bus = Bus(f"tape {self.name}, reading", self._access)
                await bus.connect(self._url)
                self._reading = bus
            return self._reading

    async def close(self) -> None:
        """Closes the connections; whoever still follows gets a TapeError."""
        await self._bus.close()
        if self._reading is not None:
            await self._reading.close()
        if self._past is not None:
            self._past.close()
