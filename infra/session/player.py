"""Plays market facts without lock-step: at the pace of their event times, or as fast as the bus takes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from actors.symbol.rules import STAMP_MAX, STAMP_MIN
from events.decision import Decision
from events.tape import LostRace, Tape
from infra.session.market import Stamped

log = logging.getLogger("tickertape.player")

RACES_MAX = 100  # of one message: a stranger that writes faster than the feed, for so long, is left to a person


class Player:
    """`speed` event seconds per second; None: no pauses. It is the only writer of its feeds that is meant to be."""

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
            await self.publish(actor, message)
            self.published += 1
            if self._progress is not None:
                self._progress(self.published)

    async def publish(self, actor: str, message: Decision) -> None:
        """What others write on a feed, by mistake or malice, is for the symbol's actor to judge: the feed goes on."""
        for _ in range(RACES_MAX):
            if actor not in self._versions:
                last = await self._tape.last(actor)
                self._versions[actor] = last.seq if last else 0
            try:
                self._versions[actor] = await self._tape.append(actor, message, expected=self._versions[actor])
                return
            except LostRace as race:
                log.warning("a stranger writes on a feed: %s", str(race).removesuffix("; this one stops"))
                del self._versions[actor]
                lost = race
        raise lost


def after(stream: Iterable[Stamped], last_ts: int, last_feed: str) -> Iterator[Stamped]:
    """What of a recorded stream is not on the tape yet, where its newest message there is known."""
    return (message for message in stream if message[:2] > (last_ts, last_feed))


async def newest(tape: Tape, feeds: Sequence[str]) -> tuple[int, int, str]:
    """(sequence of the newest message of any feed; event time and feed of the newest to go on from), or (0, 0, '').

    A stranger's message does not name a time to go on from where the symbol's actor could not take it.
    """
    found = [(last.seq, last.decision.ts, feed) for feed in feeds if (last := await tape.last(feed))]
    if all(plausible(ts) for _, ts, _ in found):
        return max(found, default=(0, 0, ""))
    known = [(one.seq, one.decision.ts, one.actor) async for one in tape.read([f"{feed}.>" for feed in feeds])]
    _, ts, feed = max((one for one in known if plausible(one[1])), default=(0, 0, ""))
    return max(known)[0], ts, feed


def plausible(ts: int) -> bool:
    return STAMP_MIN <= ts <= STAMP_MAX
