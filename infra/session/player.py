"""Plays market facts without lock-step: at the pace of their event times, or as fast as the bus takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from events.tape import Tape
from infra.session.market import Stamped


class Player:
    """`speed` event seconds per second; None: no pauses. One writer per feed, so it knows each feed's last sequence."""

    def __init__(self, tape: Tape, speed: float | None, progress: Callable[[int], None] | None = None) -> None:
        self._tape = tape
        self._speed = speed
        self._progress = progress
        self._versions: dict[str, int] = {}
        self.published = 0

    async def play(self, stream: Iterable[Stamped]) -> None:
        loop = asyncio.get_running_loop()
        began: tuple[float, int] | None = None
        for ts, actor, message in stream:
            if self._speed is not None:
                began = began or (loop.time(), ts)
                due = began[0] + (ts - began[1]) / 1e6 / self._speed
                if (pause := due - loop.time()) > 0:
                    await asyncio.sleep(pause)
            if actor not in self._versions:
                last = await self._tape.last(actor)
                self._versions[actor] = last.seq if last else 0
            self._versions[actor] = await self._tape.append(actor, message, expected=self._versions[actor])
            self.published += 1
            if self._progress is not None:
                self._progress(self.published)


def after(stream: Iterable[Stamped], last_ts: int, last_feed: str) -> Iterator[Stamped]:
    """What of a recorded stream is not on the tape yet, where its newest message there is known."""
    return (message for message in stream if message[:2] > (last_ts, last_feed))
