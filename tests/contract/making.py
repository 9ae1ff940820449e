"""Decisions to put on tapes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from events.block import Columns, pack
from events.control import BotPaused
from events.decision import Decision, Recorded, digest_of
from events.fact import Fact
from events.market import Candle, CandleBlock, Trade
from events.tape import Tape

MINUTE = 60_000_000
KINDS = ("candle", "trade", "bot-paused")


def fact(number: int, kind: str = "candle") -> Fact:
    ts = 1_700_000_040_000_000 + number * MINUTE
    if kind == "trade":
        return Trade("binance", "BTC-USDT", ts, 100.1 + number, 0.5, "buy", str(number))
    if kind == "bot-paused":
        return BotPaused("ema", ts, f'number {number}, with ünïcode and "quotes"')
    return Candle("binance", "BTC-USDT", "1m", ts, 1.1, 2.2, 0.3, 1.7, 12.5 + number, None if number % 2 else number)


def decision(name: str, number: int, kind: str = "candle", cause: int = 0) -> Decision:
    found = fact(number, kind)
    return Decision(digest_of(f"{name} {number}".encode()), cause, digest_of(b"cause"), found.ts, (found,))  # type: ignore[attr-defined]


def block(rows: int) -> CandleBlock:
    random = np.random.default_rng(rows)
    ts = 1_700_000_040_000_000 + np.arange(rows, dtype=np.int64) * MINUTE
    o, h, l, c, v = random.normal(100, 1, (5, rows))
    return next(pack("binance", "BTC-USDT", "1m", Columns(ts, o, h, l, c, v, np.arange(rows, dtype=np.int64))))


async def all_of(entries: AsyncIterator[Recorded]) -> list[Recorded]:
    return [entry async for entry in entries]


async def fill(tape: Tape, actors: list[str], count: int, start: int = 0) -> list[tuple[str, Decision]]:
    """`count` decisions, actors in turn, kinds changing."""
    made = []
    for number in range(start, start + count):
        actor = actors[number % len(actors)]
        last = await tape.last(actor)
        entry = decision(actor, number, KINDS[number % 3], cause=number)
        await tape.append(actor, entry, expected=last.seq if last else 0)
        made.append((actor, entry))
    return made


class Following:
    """A follower in a task of its own; `entries` is what it saw."""

    def __init__(self, entries: AsyncIterator[Recorded]) -> None:
        self.entries: list[Recorded] = []
        self._task = asyncio.ensure_future(self._run(entries))

    async def _run(self, entries: AsyncIterator[Recorded]) -> None:
        async for entry in entries:
            self.entries.append(entry)

    async def seen(self, count: int, patience_s: float = 30.0) -> list[Recorded]:
        """What it saw once that is `count` at least. The patience covers a server's restart on a busy machine."""
        async with asyncio.timeout(patience_s):
            while len(self.entries) < count:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.005)
        return self.entries

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
