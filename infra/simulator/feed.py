"""The exchange's stream: what a gateway would put on the tape, in the canonical order, without an end.

Every message of a feed has a stamp of its own, so that (stamp, feed) says where a stream stands: trades are stamped
on whole milliseconds, heartbeats on whole minutes, all else in between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, groupby, pairwise
from operator import attrgetter, itemgetter
from typing import NamedTuple

import numpy as np

from actors.plan import SymbolPlan
from events import subjects
from events.block import candles, pack
from events.fact import Fact
from events.feed import observed
from events.market import FeedHeartbeat, FeedInterrupted, FeedOpened, Trade
from events.timeframe import MINUTE, SECOND
from infra.session.market import Stamped, merged

from .chance import key
from .exchange import SILENCE_MAX, book, candle, columns, depths, trades
from .outages import WINDOW, Outage, of_pair
from .pairs import PAIRS, VENUE, Pair
from .settings import SimulatorSettings

BATCH = 15 * SECOND  # trades of so long come in one message
CHUNK = 64  # minutes made at once
HISTORY_AT, OPENED_AT = 100, 200  # µs after the start; nothing else stands within a minute's first millisecond
_BOOK_AT = 500  # µs after a batch's end
_Row = tuple[int, tuple[Fact, ...]]


class _Listing(NamedTuple):
    """`bars`: the stream of this pair sends closed bars, not trades."""

    pair: Pair
    bars: bool = False


def source(
    settings: SimulatorSettings, now: int, wanted: Sequence[SymbolPlan] = ()
) -> Callable[[int, str], Iterator[Stamped]]:
    """What `Source.stream` takes: a stream that begins around `now` on a fresh tape, else goes on where that stands.

    `wanted`: only these, each as trades or bars, whichever its plan is made of; empty: the trades of all pairs.
    Raises ValueError, at once, on what the exchange does not have.
    """
    _listed(settings, wanted)

    def from_tape(last_ts: int, last_feed: str) -> Iterator[Stamped]:
        if last_ts:
            return resume(settings, last_ts, last_feed, wanted)
        return stream(settings, now - now % (WINDOW * MINUTE), wanted)  # so that no outage is under way

    return from_tape


def resume(
    settings: SimulatorSettings, last_ts: int, last_feed: str, wanted: Sequence[SymbolPlan] = ()
) -> Iterator[Stamped]:
    """The rest of a stream whose last message on the tape is known, whenever it was begun."""
    begun = last_ts - last_ts % MINUTE
    if last_ts - begun in (HISTORY_AT, OPENED_AT):
        rest = stream(settings, begun, wanted)
    else:
        rest = _merged(settings, wanted, partial(_running, settings, first=(last_ts - 1) // MINUTE))
    return (message for message in rest if message[:2] > (last_ts, last_feed))


def stream(settings: SimulatorSettings, start_ts: int, wanted: Sequence[SymbolPlan] = ()) -> Iterator[Stamped]:
    """From the minute of `start_ts` (µs) on, after a block of history of each pair."""
    return _merged(settings, wanted, partial(_begun, settings, first=start_ts // MINUTE))


def _listed(settings: SimulatorSettings, wanted: Sequence[SymbolPlan]) -> list[_Listing]:
    if not wanted:
        return [_Listing(one) for one in PAIRS[: settings.pairs]]
    there = {one.symbol: one for one in PAIRS[: settings.pairs]}
    for plan in wanted:
        if plan.venue != VENUE or plan.symbol not in there:
            raise ValueError(
                f"the simulated exchange {VENUE!r} has no {plan.symbol} of venue {plan.venue!r}; "
                f"it has {', '.join(there)}"
            )
        if plan.base != "1m":
            raise ValueError(
                f"{plan.symbol} has base {plan.base!r}, but the simulated exchange's bars are of 1m: "
                "write base = '1m' and name longer timeframes in `timeframes`"
            )
    return [_Listing(there[plan.symbol], plan.source == "candles") for plan in wanted]


def _merged(
    settings: SimulatorSettings, wanted: Sequence[SymbolPlan], rows: Callable[[_Listing], Iterator[_Row]]
) -> Iterator[Stamped]:
    return merged(_stamped(one.pair, rows(one)) for one in _listed(settings, wanted))


def _stamped(one: Pair, rows: Iterator[_Row]) -> Iterator[Stamped]:
    actor = subjects.feed(VENUE, one.symbol)
    for ts, facts in rows:
        yield ts, actor, observed(actor, ts, *facts)


def _begun(settings: SimulatorSettings, listing: _Listing, first: int) -> Iterator[_Row]:
    start, symbol = first * MINUTE, listing.pair.symbol
    if settings.history_minutes:
        past = columns(settings, symbol, first - settings.history_minutes, first)
        yield start + HISTORY_AT, tuple(pack(VENUE, symbol, "1m", past))
    down = of_pair(settings, symbol, first)
    if down is None or not down.begin < start < down.end:
        yield start + OPENED_AT, (FeedOpened(VENUE, symbol, start + OPENED_AT, start),)
    yield from _running(settings, listing, first)


class _Minute(NamedTuple):
    """`last`: (ticks, whether bought) of the last trade before it. `depth`: what its book is made of."""

    number: int
    trades: list[Trade]
    steps: list[tuple[int, bool]]
    last: tuple[int, bool]
    depth: list[float]


def _running(settings: SimulatorSettings, listing: _Listing, first: int) -> Iterator[_Row]:
    """All messages of a pair from a minute on, in order."""
    one = listing.pair
    lead = trades(settings, one.symbol, np.arange(first - SILENCE_MAX, first, dtype=np.int64))
    last = int(lead.ticks[-1]), bool(lead.buys[-1])
    for begin in count(first, CHUNK):
        for minute in _chunk(settings, one, begin, last):
            yield from _messages(settings, listing, minute)
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


def _messages(settings: SimulatorSettings, listing: _Listing, minute: _Minute) -> list[_Row]:
    one, start = listing.pair, minute.number * MINUTE
    rows = [_closed(settings, one, minute.number)] if listing.bars else _traded(one, minute)
    snapshot = start + (1 + key(0, one.symbol) % 3) * BATCH + _BOOK_AT
    before = bisect_left(minute.trades, snapshot, key=attrgetter("ts"))
    ticks, bought = minute.steps[before - 1] if before else minute.last
    rows.append((snapshot, (book(one, snapshot, ticks, bought, minute.depth),)))
    down = of_pair(settings, one.symbol, minute.number)
    if down is not None:
        rows = [*_heard(rows, down), *_missed(settings, listing, down, start)]
    rows.sort(key=itemgetter(0))
    return rows


def _closed(settings: SimulatorSettings, one: Pair, number: int) -> _Row:
    return (number + 1) * MINUTE, (candle(settings, one.symbol, number),)


def _traded(one: Pair, minute: _Minute) -> list[_Row]:
    end = (minute.number + 1) * MINUTE
    rows: list[_Row] = [(end, (FeedHeartbeat(VENUE, one.symbol, end),))]
    for _, batch in groupby(minute.trades, lambda trade: trade.ts // BATCH):
        made = tuple(batch)
        rows.append((made[-1].ts, made))
    return rows


def _heard(rows: list[_Row], down: Outage) -> Iterator[_Row]:
    """What comes through of a minute's messages."""
    for ts, facts in rows:
        if isinstance(facts[0], Trade):
            made = [fact for fact in facts if isinstance(fact, Trade) and not down.begin < fact.ts < down.end]
            if made:
                yield made[-1].ts, tuple(made)
        elif not down.begin < ts < down.end:
            yield ts, facts


def _missed(settings: SimulatorSettings, listing: _Listing, down: Outage, start: int) -> Iterator[_Row]:
    """What an outage adds to a minute's messages."""
    symbol, hole = listing.pair.symbol, down.minutes
    if down.begin // MINUTE * MINUTE == start:
        yield down.begin, (FeedInterrupted(VENUE, symbol, down.begin, "connection lost"),)
    if down.end // MINUTE * MINUTE == start:
        yield down.end, (FeedOpened(VENUE, symbol, down.end, down.end),)
    if settings.backfill and down.backfill // MINUTE * MINUTE == start:
        # A bar that closes when the stream is back came itself; as trades, a part of its minute is missing.
        stop = hole.stop - 1 if listing.bars else hole.stop
        yield down.backfill, tuple(candles(VENUE, symbol, "1m", columns(settings, symbol, hole.start, stop)))
