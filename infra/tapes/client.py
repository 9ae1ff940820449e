"""nats-py with three short cuts for what a tape does for every message; all else is its own, reconnects above all.

Deliveries go from the parser straight to a function, without a queue and a task in between; a request is written at
once and answered through a table, without the flusher, random tokens and a task for its time-out; headers are read
only where they are needed. Measured on two cores, that is a third of the way from publish to publish.

It overrides `_process_msg` and writes past `_flusher`, both private: a version without them is refused at import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

_NEEDED = ("_process_msg", "_send_command", "_flush_pending")
if missing := [name for name in _NEEDED if not hasattr(Client, name)]:
    raise ImportError(f"this nats-py has no {', '.join(missing)}: install the version in infra/pins/constraints.txt")


class Delivery(NamedTuple):
    """A message as it came; `headers` are its raw bytes, empty where it has none."""

    subject: str
    reply: str
    data: bytes
    headers: bytes


Handler = Callable[[Delivery], None]


class TapeClient(Client):
    """A connection whose appends and deliveries take the short way."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[int, Handler] = {}
        self._answers: dict[str, asyncio.Future[Delivery]] = {}
        self._answers_at = ""
        self._asked = 0

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
        line = f"HPUB {subject} {self._answers_at}.{token} {len(headers)} {size}\r\n".encode()
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

    def _write(self, command: bytes) -> bool:
        """Hands a command to the socket after what is pending; false where there is no connection."""
        if not self.is_connected or self._transport is None:
            return False
        if self._pending:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.writelines(pending)
        self._transport.write(command)
        return True

    def _answered(self, found: Delivery) -> None:
        waiting = self._answers.get(found.subject[len(self._answers_at) + 1 :])
        if waiting is not None and not waiting.done():
            waiting.set_result(found)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        handler = self._handlers.get(sid)
        if handler is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            handler(Delivery(subject.decode(), reply.decode(), data, headers or b""))


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
