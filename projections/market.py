"""The views of market data: candles, series, feeds, gaps and data quality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from events.block import unpack
from events.decision import Recorded
from events.fact import Fact, kind
from events.market import (
    Book,
    Candle,
    CandleBackfilled,
    CandleBlock,
    CandleRevised,
    DataFlagged,
    FeedHeartbeat,
    FeedInterrupted,
    FeedOpened,
    GapFilled,
    GapFound,
    Quote,
    Trade,
)

from .candles import NEVER, Block, cell, checked, sound
from .rows import FIRST, LAST, Row, Rows, moment
from .state import State

LIVE, HISTORY = cell("live"), cell("history")

_ORIGINS = {Candle: LIVE, CandleBackfilled: cell("backfilled"), CandleRevised: cell("revised")}


def candle(state: State, rows: Rows, entry: Recorded, n: int, fact: Candle | CandleBackfilled | CandleRevised) -> None:
    checked(fact.ts)
    series = rows.candles.at((fact.venue, fact.symbol, fact.timeframe), state.series)
    rows.candles.add(series, fact, _ORIGINS[type(fact)], entry.seq, entry.known_at)


def block(state: State, rows: Rows, entry: Recorded, n: int, fact: CandleBlock) -> None:
    if fact.rows:
        columns = unpack(fact)
        sound(columns)
        series = rows.candles.at((fact.venue, fact.symbol, fact.timeframe), state.series)
        rows.candles.add_block(series, Block(columns, entry.seq, entry.known_at, HISTORY))


def settle_candles(state: State, rows: Rows) -> None:
    new = False
    for key, series in rows.candles.series.items():
        if series.high != NEVER:
            new = new or key not in state.series
            state.series[key] = series.high
    if new:  # what is saved must not depend on who came first
        state.series = dict(sorted(state.series.items()))


def feed(state: State, rows: Rows, entry: Recorded, n: int, fact: Any) -> None:
    """The newest event of each feed, whatever it is; its row is made when the batch ends."""
    last = fact.ts
    if not FIRST <= last <= LAST:
        moment(last)
    rows.feeds[fact.venue, fact.symbol] = (type(fact), last, entry.seq, entry.known_at)


def feed_block(state: State, rows: Rows, entry: Recorded, n: int, fact: CandleBlock) -> None:
    columns = unpack(fact)
    if len(columns):
        last = int(columns.ts[-1])
        moment(last)
        rows.feeds[fact.venue, fact.symbol] = (type(fact), last, entry.seq, entry.known_at)


def feed_state(state: State, rows: Rows, entry: Recorded, n: int, fact: FeedOpened | FeedInterrupted) -> None:
    known: Row = (moment(fact.ts), fact.reason) if isinstance(fact, FeedInterrupted) else (None, None)
    opened = (moment(fact.ts), moment(fact.complete_from)) if isinstance(fact, FeedOpened) else (None, None)
    end = (entry.seq, moment(entry.known_at))
    rows.merge("feeds", (fact.venue, fact.symbol), kind(fact), None, *opened, *known, *end)
    feed(state, rows, entry, n, fact)


def settle_feeds(rows: Rows) -> None:
    for key, (fact, last, seq, known_at) in rows.feeds.items():
        rows.merge("feeds", key, kind(fact), moment(last), None, None, None, None, seq, moment(known_at))


def gap(state: State, rows: Rows, entry: Recorded, n: int, fact: GapFound | GapFilled) -> None:
    key = (fact.venue, fact.symbol, fact.timeframe, moment(fact.first))
    when = (moment(entry.known_at), entry.seq)
    known = ("found", *when, None, None) if isinstance(fact, GapFound) else ("filled", None, None, *when)
    rows.merge("gaps", key, moment(fact.last), fact.missing, *known)


def flagged(state: State, rows: Rows, entry: Recorded, n: int, fact: DataFlagged) -> None:
    at, known_at = moment(fact.ts), moment(entry.known_at)
    rows.add("data_quality", entry.seq, n, fact.venue, fact.symbol, at, fact.issue, fact.detail, known_at)


FEED: dict[type[Fact], Callable[..., None]] = {
    **dict.fromkeys((Trade, Quote, Book, Candle, CandleBackfilled, CandleRevised, FeedHeartbeat), feed),
    CandleBlock: feed_block,
    FeedOpened: feed_state,
    FeedInterrupted: feed_state,
}
"""What feeds say, and what is made of it."""
