"""Following a stream without hurry: a pull consumer, asked now and then for what has come.

A message that is pushed wakes its reader at once, and the server writes each one by itself: where that costs more than
it is worth, the reader asks instead, and gets many in one go. All that makes sure of order and wholeness is `Reader`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from .bus import Bus, BusTrouble
from .client import Delivery, headers_of
from .reader import Broken, Made, Reader, T

BATCH = 500  # messages an answer
_BYTES = 4_000_000  # an answer, so that one of large messages is no flood; of the largest ones it holds two
_OPEN = 5  # heartbeats; so long the server waits for a first message, and is not asked meanwhile


class PullReader(Reader[T]):
    """`gather_s`: from the end of an answer to the next question; none where there was nothing, or more than fits."""

    def __init__(
        self, bus: Bus, tape: str, made: Made[T], patterns: Sequence[str], *, after: int, gather_s: float
    ) -> None:
        super().__init__(bus, tape, made, patterns, after=after, until=None)
        self._gather_s = gather_s
        self._asked = False
        self._before = 0

    async def _open(self) -> None:
        self._asked, self._before = False, 0
        await super()._open()

    def _delivery(self, inbox: str) -> dict[str, Any]:
        return {}

    async def _ask(self) -> None:
        came = self._delivered - self._before
        if self._asked and came < BATCH:
            return  # the answer goes on
        if self._bus.client.is_closed or self._subscription is None:
            return  # who waits is told
        if came and not self._asked:
            await asyncio.sleep(self._gather_s)
        self._asked, self._before = True, self._delivered
        limit = max(_BYTES, 2 * self._bus.client.max_payload)
        # It is answered at once with what there is, or as soon as there is something.
        heartbeat = int(self._heartbeat_s * 1e9)
        wanted = {
            "batch": BATCH, "max_bytes": limit, "no_wait": True, "expires": _OPEN * heartbeat,
            "idle_heartbeat": heartbeat,
        }  # fmt: skip
        subject = f"{self._bus.api}.CONSUMER.MSG.NEXT.{self._tape}.{self._consumer}"
        try:
            await self._bus.client.publish(subject, msgspec.json.encode(wanted), reply=self._subscription.subject)
        except BusTrouble as error:
            raise Broken(f"it cannot be asked: {error or type(error).__name__}") from error

    async def _control(self, msg: Delivery) -> bool:
        """The end of an answer, or a heartbeat."""
        headers = headers_of(msg.headers)
        if headers.get("Status") == "100":
            return await super()._control(msg)
        status, about = headers.get("Status"), headers.get("Description", "")
        full = status == "409" and "MaxBytes" in about and self._delivered > self._before
        if not full and status not in ("404", "408"):
            raise Broken(f"the server ended the consumer: {about or headers}")
        self._asked = False
        if full:
            self._before = self._delivered  # there is more: at once
        return False
