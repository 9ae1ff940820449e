"""Reading a stream in order, once each: a push consumer without acks, and a continuity check of its own.

The consumer numbers what it delivers. A hole in those numbers, missing heartbeats or a reconnect end it, and a new
one starts after the last message taken. The server sends only as much as flow control allows, and its requests are
answered when the caller has taken all that came before them: a slow reader slows the server and loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import uuid4

from nats.aio.subscription import Subscription

from events import subjects
from events.patterns import PatternIndex
from events.tape import HistoryLost, TapeDamaged, TapeError

from .bus import API_TIMEOUT_S, EPOCH, NO_MESSAGE, ApiError, Bus, BusTrouble
from .client import Delivery, headers_of
from .patterns import filters
from .stream import Found, closed_subject, found

log = logging.getLogger(__name__)

_HEARTBEAT_S = 1.0
_HEARTBEAT_READ_S = 0.1  # the server's minimum: a read of stored messages ends with a heartbeat when filters end it
_HEARTBEATS_MISSED_MAX = 5  # fewer, and a busy machine or a pause of the server causes needless new consumers
_SILENCE_MIN_S = 2.0  # for the same reason, however short the heartbeat is
_CREATE_S_MAX = 60.0  # from far back and with several filters, the server first counts what will come: seconds
_PAGE_MAX = 500  # messages, some milliseconds of decoding
_RETRY_S = 0.1  # between attempts to create a consumer: an election or a restart takes some hundred ms at least
_SERVER_KEEPS_S = 30  # the server removes a consumer that nobody listens to after this
_STANDSTILLS_MAX = 20  # heartbeats (0.1 s) short of the end without a message in between
_LOOK_BACK_S = 2.0  # of three servers, which need twice as long to go on without one that leads; it costs one question
_LOOK_WAIT_S = 1.0
_LAG_CHECKS_MAX = 200  # x _RETRY_S: a leader of three that is cut off shows its old state until it notices


_OURS = f"NATS/1.0\r\n{EPOCH}: ".encode()
KNOWN_AT = "Tape-Known-At"  # µs UTC: in a restored message, when it was first appended

T = TypeVar("T")
Made = Callable[[int, str, Delivery, int], T]
"""What a reader yields, of sequence, actor, message and append time in µs."""


class Broken(Exception):
    """This consumer cannot be trusted any more; a new one goes on where it ended."""


class Dropped(TapeError):
    """The stream begins at `first`, behind what was asked for: what is missing was dropped behind an archive."""

    def __init__(self, tape: str, first: int) -> None:
        super().__init__(f"the stream `{tape}` begins at {first}: what was before was dropped")
        self.first = first


class Reader(Generic[T]):
    """One iteration over a stream. `until`: the sequence to end at, or None to follow."""

    def __init__(
        self, bus: Bus, tape: str, made: Made[T], patterns: Sequence[str], *, after: int, until: int | None
    ) -> None:
        self._bus, self._tape, self._made = bus, tape, made
        self._patterns = tuple(patterns)
        self._filters, check_again = filters(tape, self._patterns)
        self._wanted = PatternIndex((pattern, True) for pattern in self._patterns) if check_again else None
        self._start, self._place, self._until = after, after, until
        self._stamp = 0
        self._inbox: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._heartbeat_s = _HEARTBEAT_S if until is None else _HEARTBEAT_READ_S
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._delivered = self._standstills = 0
        self._reconnects = 0
        self._stopped = False
        self._hole = -1
        self._replicas, self._look_at = 1, 0.0
        self._looked: tuple[int, int] | None = None

    @property
    def place(self) -> int:
        """The sequence of the last message looked at."""
        return self._place

    async def entries(self) -> AsyncGenerator[T, None]:
        """As `pages`, one by one."""
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                for entry in page:
                    yield entry

    async def pages(self) -> AsyncGenerator[list[T], None]:
        """What has come, in order, some at a time: never empty, and at once.

        Raises Dropped where the stream no longer holds what comes next, TapeDamaged where it has a hole.
        """
        if self._until is not None and self._place >= self._until:
            return
        self._bus.listen(self._arrived)
        try:
            while True:
                await self._open()
                try:
                    async for page in self._consume():
                        yield page
                    return
                except Broken as reason:
                    log.warning("%s: reading again from %d: %s", self._tape, self._place + 1, reason)
                await self._shut()
        finally:
            self._bus.unlisten(self._arrived)
            await self._shut()

    async def _consume(self) -> AsyncIterator[list[T]]:
        inbox = self._inbox
        while True:
            page: list[T] = []
            over, trouble = False, None
            try:
                over = self._drain(page)
            except (Broken, TapeError) as reason:
                trouble = reason
            if page:
                yield page  # before anything is answered or given up: it was looked at
            if trouble is not None:
                raise trouble
            if over:
                return
            if not inbox:
                if self._reconnects != self._bus.reconnects:
                    raise Broken("the connection was lost in between")
                if self._replicas > 1:
                    await self._look_back()
                await self._ask()
                if not inbox:  # nothing has come in between
                    await self._wait()
            elif not inbox[0].reply.startswith("$JS.ACK.") and await self._control(inbox.popleft()):
                return

    def _drain(self, page: list[T]) -> bool:
        """Takes messages up to one that is the server's own; whether that was all."""
        inbox, until, made, whole = self._inbox, self._until, self._made, not self._filters
        while inbox and len(page) < _PAGE_MAX:
            msg = inbox[0]
            if not msg.reply.startswith("$JS.ACK."):
                return False
            inbox.popleft()
            if self._consumer not in msg.reply:  # somebody has a consumer of his own deliver here
                raise Broken(f"a message came from another consumer: {msg.reply}")
            seq, delivered, ns = ack_parts(msg.reply)
            if delivered != self._delivered + 1:
                raise Broken(f"message {self._delivered + 1} of the consumer did not come, {delivered} did")
            self._delivered, self._standstills = delivered, 0
            if until is not None and seq > until:
                return True
            if whole and seq != self._place + 1:
                self._report_hole(seq)
            self._place, self._stamp = seq, ns
            actor, kind = subjects.split(msg.subject)
            if self._wanted is None or self._wanted.find(actor, kind):
                page.append(made(seq, actor, msg, ns // 1000))
            if self._place == until:
                return True
        return False

    async def _look_back(self) -> None:
        """Now and then: three servers can lose their end, grow again and give this consumer what comes then, without
        its connection or the consumer itself being lost. While they have no leader, nothing comes, and nobody can
        answer: then the message that was the last one is asked for again, whatever has come since."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at or self._place == self._start:
            return
        self._look_at = now + _LOOK_BACK_S
        seq, stamp = self._looked = self._looked or (self._place, self._stamp)
        try:
            stands = await self._bus.ask(f"STREAM.MSG.GET.{self._tape}", {"seq": seq}, timeout_s=_LOOK_WAIT_S)
            there = nanos_of(stands["message"]["time"])
        except BusTrouble:
            return
        except ApiError as error:
            if error.code == NO_MESSAGE:
                await self._gone(seq)
            return
        self._looked = None
        if there != stamp:
            raise HistoryLost(self._tape, seq, self._place)

    async def _gone(self, seq: int) -> None:
        """A message was dropped behind an archive or lost, or who was asked is not up to date."""
        try:
            first = found(await self._bus.ask(f"STREAM.INFO.{self._tape}", timeout_s=_LOOK_WAIT_S)).first
        except (ApiError, *BusTrouble):
            return
        if first > seq:
            self._looked = None
        elif seq == self._place:
            raise Broken(f"{seq} is not there any more")  # a new consumer waits for whoever is up to date

    def _report_hole(self, seq: int) -> None:
        """Messages dropped while they were on their way are found in the archive by a new consumer; others nowhere."""
        if self._hole == self._place:
            raise TapeDamaged(f"the tape `{self._tape}` has nothing between {self._place} and {seq}")
        self._hole = self._place
        raise Broken(f"{seq} came after {self._place}")

    async def _control(self, msg: Delivery) -> bool:
        """Answers flow control; true where a heartbeat says that the consumer has seen all there is up to `until`."""
        if msg.reply:  # a flow control request
            await self._bus.client.publish(msg.reply)
            return False
        headers = headers_of(msg.headers)
        if stalled := headers.get("Nats-Consumer-Stalled"):
            await self._bus.client.publish(stalled)  # our answer to the request was lost: the server waits for it
        if (last := headers.get("Nats-Last-Consumer")) is None:
            raise Broken(f"the server ended the consumer: {headers.get('Description') or headers}")
        if int(last) != self._delivered:
            raise Broken(f"the consumer is at its message {last}, {self._delivered} came")
        if stalled:
            return False
        if self._until is None or int(headers.get("Nats-Last-Stream", 0)) >= self._until:
            return self._until is not None
        # Replicas that lost different ends in a power cut differ until the next append: another one may have it all.
        self._standstills += 1
        if self._standstills > _STANDSTILLS_MAX:
            raise Broken(f"the consumer stands at {last}, short of {self._until}")
        return False

    async def _wait(self) -> None:
        if self._bus.client.is_closed:
            raise TapeError(f"{self._tape}: the connection to NATS is closed")
        self._arrived.clear()
        silence = max(_HEARTBEATS_MISSED_MAX * self._heartbeat_s, _SILENCE_MIN_S)
        timer = asyncio.get_running_loop().call_later(silence, self._silent)
        try:
            await self._arrived.wait()
        finally:
            timer.cancel()
        if self._stopped:
            raise Broken("the consumer's heartbeats stopped")

    def _silent(self) -> None:
        self._stopped = not self._arrived.is_set()
        self._arrived.set()

    def _take(self, msg: Delivery) -> None:
        inbox = self._inbox
        if not msg.data and not msg.reply and inbox and not inbox[-1].data and not inbox[-1].reply:
            inbox.pop()  # of heartbeats in a row the newest is enough: a reader that pauses for hours stays small
        inbox.append(msg)
        self._arrived.set()

    async def _open(self) -> None:
        """Creates a consumer from the next message on, however long that takes, but for errors that stay."""
        attempts, patience_s = 0, API_TIMEOUT_S
        while True:
            self._inbox.clear()
            self._delivered = self._standstills = 0
            self._stopped = False
            self._reconnects = self._bus.reconnects
            try:
                await self._create(attempts, patience_s)
                return
            except ApiError as error:
                if not error.passing:
                    raise
                trouble: BaseException = error
            except BusTrouble as error:
                if self._bus.client.is_closed:
                    raise TapeError(f"{self._tape}: the connection to NATS is closed") from error
                trouble = error
                if isinstance(error, TimeoutError):
                    patience_s = min(2 * patience_s, _CREATE_S_MAX)
            attempts += 1
            level = logging.WARNING if attempts % 50 == 1 else logging.DEBUG
            log.log(level, "%s: no consumer yet: %s", self._tape, trouble or type(trouble).__name__)
            await self._shut()
            await asyncio.sleep(_RETRY_S)

    async def _create(self, attempts: int, patience_s: float) -> None:
        inbox = self._bus.client.new_inbox()
        self._subscription = await self._bus.client.subscribe_directly(inbox, self._take)
        self._consumer = f"tape-{uuid4().hex}"
        config: dict[str, Any] = {
            "name": self._consumer,
            **self._delivery(inbox),
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._place + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": _SERVER_KEEPS_S * 1_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,  # its place is known here; a copy of it on the servers is worth nothing
        }
        if self._filters:
            config["filter_subjects"] = self._filters
        body = {"stream_name": self._tape, "config": config, "action": "create"}
        await self._bus.ask(f"CONSUMER.CREATE.{self._tape}.{self._consumer}", body, timeout_s=patience_s)
        await self._check_whole(attempts)

    def _delivery(self, inbox: str) -> dict[str, Any]:
        heartbeat = int(self._heartbeat_s * 1e9)
        return {"deliver_subject": inbox, "flow_control": True, "idle_heartbeat": heartbeat}

    async def _ask(self) -> None:
        """For more, where it does not come by itself."""

    async def _check_whole(self, attempts: int) -> None:
        """The server is silent about messages that a consumer should have had and that are gone: it is asked.

        What drops messages looks for consumers after it has closed the stream. One that was made while the stream was
        open is seen there, and one that was not is given up here.
        """
        info = await self._bus.ask(f"STREAM.INFO.{self._tape}")
        if info["config"].get("subjects") == [closed_subject(self._tape)]:
            raise TimeoutError("the stream is closed while old messages are dropped")
        stream = found(info)
        self._replicas = stream.replicas
        if stream.first > self._place + 1:
            raise Dropped(self._tape, stream.first)
        if self._place > self._start:
            await self._check_same_history(stream, attempts)

    async def _check_same_history(self, stream: Found, attempts: int) -> None:
        """The last message taken must still be the one it was: a server that lost its end may have grown again."""
        if stream.end < self._place and stream.replicas > 1 and attempts < _LAG_CHECKS_MAX:
            raise TimeoutError(f"the stream ends at {stream.end}, before {self._place}")
        if stream.end >= self._place:
            if self._place < stream.first:
                return
            stands = await self._bus.ask(f"STREAM.MSG.GET.{self._tape}", {"seq": self._place})
            if nanos_of(stands["message"]["time"]) == self._stamp:
                return
        raise HistoryLost(self._tape, self._place, stream.end)

    async def _shut(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is None or self._bus.client.is_closed:
            return
        try:
            await self._bus.client.unsubscribe_directly(subscription)
            if self._bus.client.is_connected:
                # Without waiting for the answer: a consumer without interest is removed by the server anyway. That a
                # role may delete any consumer is of no use to it: their names cannot be guessed.
                inbox = self._bus.client.new_inbox()
                subject = f"{self._bus.api}.CONSUMER.DELETE.{self._tape}.{self._consumer}"
                await self._bus.client.publish(subject, reply=inbox)
        except BusTrouble as error:
            log.debug("%s: consumer %s is left to the server: %s", self._tape, self._consumer, error)


def ack_parts(reply: str) -> tuple[int, int, int]:
    """(stream sequence, consumer sequence, append time in ns) of an ack subject, in its form v1 (9 tokens) or v2."""
    parts = reply.split(".")
    place = 5 if len(parts) == 9 else 7
    return int(parts[place]), int(parts[place + 1]), int(parts[place + 2])


def known_at_of(raw: bytes, otherwise: int) -> int:
    """When a restored message was first appended, in µs UTC."""
    text = headers_of(raw).get(KNOWN_AT, "") if raw else ""
    return int(text) if text.isascii() and text.isdecimal() else otherwise


def epoch_of(raw: bytes) -> int:
    """The writer's epoch from a message's headers; 0 where a foreign message carries none, or none that is a number."""
    if raw.startswith(_OURS):
        text = raw[len(_OURS) : raw.find(b"\r\n", len(_OURS))]
    else:
        text = headers_of(raw).get(EPOCH, "").encode() if raw else b""
    return int(text) if text.isdigit() and len(text) < 19 else 0  # more is no epoch, and fits no column


def nanos_of(stamp: str) -> int:
    """Nanoseconds UTC of an RFC 3339 time with up to nine decimals, as JetStream writes it."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))
