"""The market that the garbage falls into: bars and trades of seconds, in step with the clock, and the plan on it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from actors.plan import AccountPlan, BotPlan, Plan, Sizing, SymbolPlan
from events import subjects
from events.control import ReleaseTrading, ResumeBot
from events.decision import Decision
from events.fact import Fact
from events.feed import command, observed
from events.market import Candle, FeedHeartbeat, FeedOpened, Trade
from events.timeframe import SECOND

VENUE = "sim"
# Several of each: an actor appends one decision after the other, and a busy machine takes its time to say that it did.
BARS, TICKS = ("AAA-USDT", "BBB-USDT", "CCC-USDT", "DDD-USDT"), ("EEE-USDT", "FFF-USDT", "GGG-USDT", "HHH-USDT")
AHEAD_S = 5
_RELEASE_EVERY = 20  # seconds: what a stranger's plausible command has stopped goes on


def plan() -> Plan:
    shared = {"venue": VENUE, "base": "1s", "timeframes": ("5s", "15s"), "ahead": AHEAD_S}
    bots = tuple(
        BotPlan(
            name=name, venue=VENUE, symbol=symbol, timeframe=length, params={"fast": 2, "slow": 4},
            sizing=Sizing(value=Decimal("0.1")),
        )
        for name, symbol, length in (("bars", BARS[0], "1s"), ("ticks", TICKS[0], "1s"), ("slow", BARS[1], "5s"))
    )  # fmt: skip
    bars = (SymbolPlan(symbol=symbol, **shared) for symbol in BARS)
    ticks = (SymbolPlan(symbol=symbol, source="trades", **shared) for symbol in TICKS)
    return Plan(symbols=(*bars, *ticks), bots=bots, accounts=(AccountPlan(),))


class Market:
    """What a sound feed and a watchful operator say of each second."""

    def __init__(self, seed: int, start: int) -> None:
        self._chance = Random(seed)
        self.ts = start - start % SECOND
        self._price, self._number, self._seconds = 100.0, 0, 0

    def opening(self) -> Iterator[tuple[str, Decision]]:
        for symbol in TICKS:
            yield self._said(symbol, self.ts, FeedOpened(VENUE, symbol, self.ts, self.ts))

    def second(self) -> Iterator[tuple[str, Decision]]:
        """The next second, whole."""
        chance, start = self._chance, self.ts
        self.ts = end = start + SECOND
        before = self._price
        self._price = close = round(max(1.0, before * (1 + chance.uniform(-0.004, 0.004))), 2)
        prices = (before, max(before, close), min(before, close), close)
        for symbol in BARS:
            yield self._said(symbol, end, Candle(VENUE, symbol, "1s", end, *prices, 500.0, 3))
        for symbol in TICKS:
            trades = []
            for place in range(4):
                self._number += 1
                price = round(close + chance.uniform(-0.2, 0.2), 2)
                stamp = start + place * 200_000
                trades.append(Trade(VENUE, symbol, stamp, price, 50.0, "buy", f"g{self._number}"))
            yield self._said(symbol, trades[-1].ts, *trades)
            yield self._said(symbol, end, FeedHeartbeat(VENUE, symbol, end))
        self._seconds += 1
        if self._seconds % _RELEASE_EVERY == 0:
            for fact in (ReleaseTrading("*", end, "operator", "go on"), ResumeBot("*", end, "operator", "go on")):
                yield subjects.COMMAND, command(fact, end)

    @staticmethod
    def _said(symbol: str, ts: int, *facts: Fact) -> tuple[str, Decision]:
        feed = subjects.feed(VENUE, symbol)
        return feed, observed(feed, ts, *facts)
