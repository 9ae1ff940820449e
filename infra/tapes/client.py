"""nats-py with three short cuts for what a tape does for every message; all else is its own, reconnects above all.

Bytes of the socket are cut into messages as they come, and deliveries go straight to a function: no stream reader, no
parser with regular expressions, no queue and no task in between. A request is written at once and answered through a
table: no flusher, no random tokens, no task for its time-out. Headers are read only where they are needed.

It overrides `_read_loop` and writes past `_flusher`, both private: a version without them is refused at import.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

_NEEDED = ("_process_msg", "_process_op_err", "_read_loop", "_send_command", "_flusher", "_connect_command")
if missing := [name for name in _NEEDED if not hasattr(Client, name)]:
    raise ImportError(f"this nats-py has no {', '.join(missing)}: install the version in infra/pins/constraints.txt")


_NO_TEXT = re.compile("[\udc80-\udcff]")


class Delivery(NamedTuple):
    """A message as it came; `headers` are its raw bytes, empty where it has none."""

    subject: str
    reply: str
    data: bytes
    headers: bytes


Handler = Callable[[Delivery], None]


class AnswerLost(nats.errors.Error):
    """A request may have arrived; its answer never will."""


class TapeClient(Client):
    """A connection whose appends and deliveries take the short way."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[int, Handler] = {}
        self._answers: dict[str, asyncio.Future[Delivery]] = {}
        self._answers_at = ""
        self._asked = 0
        self.encrypted = False
        """Whether to speak to no server that does not encrypt; nats-py itself takes the server's word for it."""

    async def subscribe_directly(self, subject: str, handler: Handler) -> Subscription:
        """As `subscribe`, but `handler` is called while the socket is read: it must be short and must not fail."""
        found = await self.subscribe(subject, cb=_never)
        self._handlers[found._id] = handler  # the loop was not left since: nothing can have come before it
        return found

    async def unsubscribe_directly(self, subscription: Subscription) -> None:
        self._handlers.pop(subscription._id, None)
        await subscription.unsubscribe()

    async def ask_directly(self, subject: str, headers: bytes, body: bytes, timeout_s: float) -> Delivery:
        """A request. Raises what `request` raises."""
        if not self._answers_at:
            self._answers_at = self.new_inbox()
            await self.subscribe_directly(f"{self._answers_at}.*", self._answered)
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        size = len(headers) + len(body)
        if size > self.max_payload:
            raise nats.errors.MaxPayloadError
        self._asked += 1
        token = str(self._asked)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Delivery] = loop.create_future()
        self._answers[token] = answer
        timer = loop.call_later(timeout_s, _expire, answer)
        sizes = f"{len(headers)} {size}" if headers else size
        line = f"{'HPUB' if headers else 'PUB'} {subject} {self._answers_at}.{token} {sizes}\r\n".encode()
        try:
            if not self._write(line + headers + body + b"\r\n"):
                await self._send_command(line + headers + body + b"\r\n")  # kept for when it is connected again
            found = await answer
        finally:
            timer.cancel()
            self._answers.pop(token, None)
        if found.headers.startswith(b"NATS/1.0 503"):
            raise nats.errors.NoRespondersError
        return found

    async def publish_lines(self, lines: list[bytes]) -> None:
        """Publishes whole commands of the protocol, many at once."""
        command = b"".join(lines)
        if not self._write(command):
            await self._send_command(command)

    def _connect_command(self) -> bytes:
        """Called before anything is said, on a reconnect as well."""
        if self.encrypted and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnRequiredError
        return super()._connect_command()

    def hang_up(self) -> None:
        """Closes the socket of an attempt to connect that is given up."""
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

    def interrupt(self, why: str) -> None:
        """Ends the waiting for answers, some of which will not come; those of the others are unclear now."""
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(AnswerLost(why))

    def _write(self, command: bytes) -> bool:
        """Hands a command to the socket after what is pending; false where there is no connection."""
        if not self.is_connected or self._transport is None:
            return False
        if self._pending:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.writelines(pending)
        self._transport.write(command)
        return True

    async def _process_op_err(self, e: Exception) -> None:
        """What was asked over the connection that is lost will not be answered: whoever waits asks again at once."""
        self.interrupt("the connection was lost before the answer came")
        await super()._process_op_err(e)

    def _answered(self, found: Delivery) -> None:
        waiting = self._answers.get(found.subject[len(self._answers_at) + 1 :])
        if waiting is not None and not waiting.done():
            waiting.set_result(found)

    async def _read_loop(self) -> None:
        """What is not delivered directly is left to nats-py's parser, in order."""
        writer = getattr(self._transport, "_io_writer", None)
        reader = getattr(self._transport, "_io_reader", None)
        if writer is None or reader is None:  # not TCP
            return await super()._read_loop()
        stream = _Stream(writer.transport.get_protocol(), self._handlers)
        stream.take(bytes(reader._buffer))
        reader._buffer.clear()
        writer.transport.set_protocol(stream)
        if not writer.transport.is_reading():
            writer.transport.resume_reading()  # so much had come before that the former protocol paused it
        try:
            while not (self.is_closed or self.is_reconnecting):
                while stream.rest:
                    await self._ps.parse(stream.rest.popleft())
                if stream.over:
                    found = stream.trouble or nats.errors.UnexpectedEOF()
                    await self._error_cb(found)
                    return await self._process_op_err(found)
                await stream.news()
        except nats.errors.ProtocolError:
            await self._process_op_err(nats.errors.ProtocolError())
        except asyncio.CancelledError:
            pass
        return None


class _Stream(asyncio.Protocol):
    """Cuts what comes into messages. Flow control and the end are passed on to the stream's former protocol too."""

    def __init__(self, former: Any, handlers: dict[int, Handler]) -> None:
        self._former, self._handlers = former, handlers
        self._kept = b""
        self._waiting: asyncio.Future[None] | None = None
        self.rest: deque[bytes] = deque()
        self.over = False
        self.trouble: Exception | None = None

    async def news(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def take(self, data: bytes) -> None:
        """Keeps an unfinished message for the next time."""
        if self._kept:
            data = self._kept + data
        at, end = 0, len(data)
        while at < end:
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                break
            words = data[at:line_end].split(b" ")  # a subject may hold other white space
            body, size = line_end + 2, 0
            if words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                if body + size + 2 > end:
                    break
                handler = self._handlers.get(int(words[2]))
                if handler is not None:
                    handler(_delivery(words, data, body, size))
                    at = body + size + 2
                    continue
                size += 2
            self.rest.append(data[at : body + size])
            at = body + size
        self._kept = data[at:] if at else data

    def data_received(self, data: bytes) -> None:
        self.take(data)
        if self.rest:
            self._wake()

    def eof_received(self) -> bool | None:
        self._end(None)
        found: bool | None = self._former.eof_received()
        return found

    def connection_lost(self, trouble: Exception | None) -> None:
        self._end(trouble)
        self._former.connection_lost(trouble)

    def pause_writing(self) -> None:
        self._former.pause_writing()

    def resume_writing(self) -> None:
        self._former.resume_writing()

    def _end(self, trouble: Exception | None) -> None:
        self.over, self.trouble = True, trouble
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _delivery(words: list[bytes], data: bytes, body: int, size: int) -> Delivery:
    headers = int(words[-2]) if words[0] == b"HMSG" else 0
    reply = words[3].decode() if len(words) == (6 if headers else 5) else ""
    return Delivery(_text(words[1]), reply, data[body + headers : body + size], data[body : body + headers])


def _text(subject: bytes) -> str:
    """The server takes any bytes for a subject; what is no UTF-8 is read as its own JSON shows it, byte by byte."""
    try:
        return subject.decode()
    except UnicodeDecodeError:
        return _NO_TEXT.sub("\ufffd", subject.decode("utf-8", "surrogateescape"))


def headers_of(raw: bytes) -> dict[str, str]:
    """Names and values; a status line's parts are named `Status` and `Description`."""
    first, *lines = raw.decode("utf-8", "replace").split("\r\n")
    _, status, about = (*first.split(" ", 2), "", "")[:3]
    found: dict[str, str] = {"Status": status, "Description": about} if status else {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _expire(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(nats.errors.TimeoutError())


async def _never(_: Msg) -> None:
    raise AssertionError("a delivery went round its handler")
