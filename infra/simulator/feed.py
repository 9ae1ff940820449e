"""The exchange's stream: what a gateway would put on the tape, in the canonical order, without an end.

Every message of a feed has a stamp of its own, so that (stamp, feed) says where a stream stands: trades are stamped
on whole milliseconds, heartbeats on whole minutes, all else in between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, pairwise
from operator import attrgetter, itemgetter
from typing import NamedTuple

import numpy as np

from events import subjects
from events.block import candles, pack
from events.fact import Fact
from events.feed import observed
from events.market import FeedHeartbeat, FeedInterrupted, FeedOpened, Trade
from events.timeframe import MINUTE, SECOND
from infra.session.market import Stamped, merged

from .chance import key
from .exchange import SILENCE_MAX, book, columns, depths, trades
from .outages import WINDOW, Outage, of_pair
from .pairs import PAIRS, VENUE, Pair
from .settings import SimulatorSettings

BATCH = 15 * SECOND  # trades of so long come in one message
CHUNK = 64  # minutes made at once
HISTORY_AT, OPENED_AT = 100, 200  # µs after the start; nothing else stands within a minute's first millisecond
_BOOK_AT = 500  # µs after a batch's end
_Row = tuple[int, tuple[Fact, ...]]


def source(settings: SimulatorSettings, now: int) -> Callable[[int, str], Iterator[Stamped]]:
    """What `Source.stream` takes: a stream that begins around `now` on a fresh tape, else goes on where that stands."""

    def from_tape(last_ts: int, last_feed: str) -> Iterator[Stamped]:
        if last_ts:
            return resume(settings, last_ts, last_feed)
        return stream(settings, now - now % (WINDOW * MINUTE))  # so that no outage is under way

    return from_tape


def resume(settings: SimulatorSettings, last_ts: int, last_feed: str) -> Iterator[Stamped]:
    """The rest of a stream whose last message on the tape is known, whenever it was begun."""
    begun = last_ts - last_ts % MINUTE
    if last_ts - begun in (HISTORY_AT, OPENED_AT):
        rest = stream(settings, begun)
    else:
        rest = _merged(settings, partial(_running, settings, first=(last_ts - 1) // MINUTE))
    return (message for message in rest if message[:2] > (last_ts, last_feed))


def stream(settings: SimulatorSettings, start_ts: int) -> Iterator[Stamped]:
    """From the minute of `start_ts` (µs) on, after a block of history of each pair."""
    first = start_ts // MINUTE
    return _merged(settings, lambda one: _begun(settings, one, first))


def _merged(settings: SimulatorSettings, rows: Callable[[Pair], Iterator[_Row]]) -> Iterator[Stamped]:
    return merged(_stamped(one, rows(one)) for one in PAIRS[: settings.pairs])


def _stamped(one: Pair, rows: Iterator[_Row]) -> Iterator[Stamped]:
    actor = subjects.feed(VENUE, one.symbol)
    for ts, facts in rows:
        yield ts, actor, observed(actor, ts, *facts)


def _begun(settings: SimulatorSettings, one: Pair, first: int) -> Iterator[_Row]:
    start, symbol = first * MINUTE, one.symbol
    if settings.history_minutes:
        past = columns(settings, symbol, first - settings.history_minutes, first)
        yield start + HISTORY_AT, tuple(pack(VENUE, symbol, "1m", past))
    down = of_pair(settings, symbol, first)
    if down is None or not down.begin < start < down.end:
        yield start + OPENED_AT, (FeedOpened(VENUE, symbol, start + OPENED_AT, start),)
    yield from _running(settings, one, first)


class _Minute(NamedTuple):
    """`last`: (ticks, whether bought) of the last trade before it. `depth`: what its book is made of."""

    number: int
    trades: list[Trade]
    steps: list[tuple[int, bool]]
    last: tuple[int, bool]
    depth: list[float]


def _running(settings: SimulatorSettings, one: Pair, first: int) -> Iterator[_Row]:
    """All messages of a pair from a minute on, in order."""
    lead = trades(settings, one.symbol, np.arange(first - SILENCE_MAX, first, dtype=np.int64))
    last = int(lead.ticks[-1]), bool(lead.buys[-1])
    for begin in count(first, CHUNK):
        for minute in _chunk(settings, one, begin, last):
            yield from _messages(settings, one, minute)
            last = minute.steps[-1] if minute.steps else minute.last


def _chunk(settings: SimulatorSettings, one: Pair, begin: int, last: tuple[int, bool]) -> Iterator[_Minute]:
    minutes = np.arange(begin, begin + CHUNK, dtype=np.int64)
    found, depth = trades(settings, one.symbol, minutes), depths(settings, one, minutes)
    prices, sizes = found.ticks / 10.0**one.price_digits, found.lots / 10.0**one.lot_digits
    sides = found.buys.tolist()
    steps = list(zip(found.ticks.tolist(), sides, strict=True))
    facts = [
        Trade(VENUE, one.symbol, ts, price, size, "buy" if buy else "sell", str(number))
        for ts, price, size, buy, number in zip(
            found.ts.tolist(), prices.tolist(), sizes.tolist(), sides, found.ids.tolist(), strict=True
        )
    ]
    for index, (start, end) in enumerate(pairwise(found.starts.tolist())):
        yield _Minute(begin + index, facts[start:end], steps[start:end], last, depth[index])
        last = steps[end - 1] if end > start else last


def _messages(settings: SimulatorSettings, one: Pair, minute: _Minute) -> list[_Row]:
    start, down = minute.number * MINUTE, of_pair(settings, one.symbol, minute.number)
    batches: dict[int, list[Trade]] = {}
    for trade in minute.trades:
        if down is None or not down.begin < trade.ts < down.end:
            batches.setdefault((trade.ts - start) // BATCH, []).append(trade)
    rows: list[_Row] = [(batch[-1].ts, tuple(batch)) for batch in batches.values()]
    snapshot = start + (1 + key(0, one.symbol) % 3) * BATCH + _BOOK_AT
    before = bisect_left(minute.trades, snapshot, key=attrgetter("ts"))
    ticks, bought = minute.steps[before - 1] if before else minute.last
    rows.append((snapshot, (book(one, snapshot, ticks, bought, minute.depth),)))
    rows.append((start + MINUTE, (FeedHeartbeat(VENUE, one.symbol, start + MINUTE),)))
    if down is not None:
        rows = [row for row in rows if not down.begin < row[0] < down.end]
        rows += [row for row in _outage(settings, down) if row[0] // MINUTE == minute.number]
    rows.sort(key=itemgetter(0))
    return rows


def _outage(settings: SimulatorSettings, down: Outage) -> Iterator[_Row]:
    symbol, hole = down.symbol, down.minutes
    yield down.begin, (FeedInterrupted(VENUE, symbol, down.begin, "connection lost"),)
    yield down.end, (FeedOpened(VENUE, symbol, down.end, down.end),)
    if settings.backfill:
        yield down.backfill, tuple(candles(VENUE, symbol, "1m", columns(settings, symbol, hole.start, hole.stop)))
