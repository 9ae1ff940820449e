"""Market facts from a source to the feeds of a tape, without lock-step at the pace of their event times or at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from actors.symbol.rules import STAMP_MAX, STAMP_MIN
from events.control import FeedClaimed, QuarantineRetried
from events.decision import Decision, Recorded
from events.feed import observed
from events.tape import LostRace, Tape
from infra.session.market import Stamped
from infra.session.writing import RACES_MAX, Writer

CLAIMS_AT_ONCE = 100


class Feeds:
    """Puts messages on feeds. It is the only writer of them that is meant to be, by the epoch of its session."""

    def __init__(self, tape: Tape, epoch: int = 0) -> None:
        self._tape, self.epoch = tape, epoch
        self._writers: dict[str, Writer] = {}

    async def claim(self, feeds: Sequence[str]) -> None:
        """Fences players of earlier sessions out: whatever one of them sends from here on is a lost race."""
        places = asyncio.Semaphore(CLAIMS_AT_ONCE)

        async def one(feed: str) -> None:
            async with places:
                await self._claim(feed)

        await asyncio.gather(*map(one, feeds))

    async def _claim(self, feed: str) -> None:
        for _ in range(RACES_MAX):
            version, at, ts = await place_of(self._tape, feed)
            claim = observed(feed, ts, FeedClaimed(feed, self.epoch, at, ts))
            try:
                version = await self._tape.append(feed, claim, expected=version, epoch=self.epoch)
            except LostRace as race:  # by an earlier player, which ends by this claim, or by a stranger
                lost = race
                continue
            self._writers[feed] = Writer(self._tape, feed, self.epoch, version)
            return
        raise lost

    async def publish(self, feed: str, message: Decision) -> int:
        """The sequence. What others write on a feed, by mistake or malice, is for the symbol's actor to judge.

        Raises LostRace where a later session has claimed the feed.
        """
        writer = self._writers.get(feed)
        if writer is None:
            last = await self._tape.last(feed)
            writer = self._writers[feed] = Writer(self._tape, feed, self.epoch, last.seq if last else 0)
        return await writer.append(message)


class Player:
    """`speed` event seconds per second; None: no pauses."""

    def __init__(
        self,
        tape: Tape,
        speed: float | None,
        progress: Callable[[int], None] | None = None,
        feeds: Feeds | None = None,
    ) -> None:
        self._speed = speed
        self._progress = progress
        self._feeds = feeds or Feeds(tape)
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
        await self._feeds.publish(actor, message)


def after(stream: Iterable[Stamped], last_ts: int, last_feed: str) -> Iterator[Stamped]:
    """What of a recorded stream is not on the tape yet, where its newest message there is known."""
    return (message for message in stream if message[:2] > (last_ts, last_feed))


def begun(stream: Iterator[Stamped]) -> Iterator[Stamped]:
    """Draws the first message: what stands on the tape already is passed over by then, which may take long."""
    first = list(islice(stream, 1))
    return chain(first, stream)


async def newest(tape: Tape, feeds: Sequence[str]) -> tuple[int, int, str]:
    """(sequence of the newest message of any feed; event time and feed of the newest to go on from), or (0, 0, '').

    Claims are no messages. A stranger's message does not name a time to go on from where the symbol's actor could not
    take it, nor does one that was retried from quarantine.
    """
    found = [(feed, await place_of(tape, feed)) for feed in feeds]
    ts, feed = max(((ts, feed) for feed, (_, _, ts) in found if ts), default=(0, ""))
    return max((at for _, (_, at, _) in found), default=0), ts, feed


async def place_of(tape: Tape, feed: str) -> tuple[int, int, int]:
    """Of a feed: its version, the sequence of its newest message but claims, and the event time to go on from."""
    last = await tape.last(feed)
    if last is None:
        return 0, 0, 0
    claim = last.decision.facts[-1]
    if isinstance(claim, FeedClaimed):
        return last.seq, claim.at, claim.ts
    if tells_time(last):
        return last.seq, last.seq, last.decision.ts
    ts = 0
    async for one in tape.read([f"{feed}.>"]):
        if tells_time(one):
            ts = one.decision.ts
    return last.seq, last.seq, ts


def tells_time(entry: Recorded) -> bool:
    """Whether a feed's message says how far the feed has come."""
    return plausible(entry.decision.ts) and not isinstance(entry.decision.facts[-1], QuarantineRetried)


def plausible(ts: int) -> bool:
    return STAMP_MIN <= ts <= STAMP_MAX
