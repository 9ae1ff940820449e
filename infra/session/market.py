"""Market facts from stored columns, in the order in which live lock-step and backtest take them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from events import subjects
from events.block import Columns, candles
from events.decision import Decision
from events.feed import observed

Stamped = tuple[int, str, Decision]
"""Event time in µs, the feed it comes from, the message."""


def candle_messages(venue: str, symbol: str, timeframe: str, columns: Columns) -> Iterator[Stamped]:
    """One message per row, as a live feed of closed candles would send them."""
    actor = subjects.feed(venue, symbol)
    for candle in candles(venue, symbol, timeframe, columns):
        yield candle.ts, actor, observed(actor, candle.ts, candle)


def merged(streams: Iterable[Iterator[Stamped]]) -> Iterator[Stamped]:
    """By event time, then by feed: the canonical order."""
    return heapq.merge(*streams, key=lambda message: message[:2])


def unstamped(stream: Iterable[Stamped]) -> Iterator[tuple[str, Decision]]:
    return ((actor, message) for _, actor, message in stream)
