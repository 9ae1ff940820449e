"""Facts about markets. Times are microseconds UTC, prices and quantities float64 as the venue wrote them.

The same types stand on `feed.*` (as received) and on `market.*` (validated by the symbol's actor).
"""

from __future__ import annotations

from .fact import Fact


class Trade(Fact, frozen=True, tag="trade/1"):
    """One execution on the venue. `side` is the taker's: buy, sell, or empty where the venue does not say."""

    venue: str
    symbol: str
    ts: int
    price: float
    qty: float
    side: str = ""
    id: str = ""


class Quote(Fact, frozen=True, tag="quote/1"):
    """Best bid and ask."""

    venue: str
    symbol: str
    ts: int
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float


class Book(Fact, frozen=True, tag="book/1"):
    """The best levels of an order book, best first, as (price, quantity)."""

    venue: str
    symbol: str
    ts: int
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]


class Candle(Fact, frozen=True, tag="candle/1"):
    """A complete bar over [ts - timeframe, ts): `ts` is its CLOSE time. `count` is the number of trades, if known."""

    venue: str
    symbol: str
    timeframe: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    count: int | None = None


class CandleBackfilled(Fact, frozen=True, tag="candle-backfilled/1"):
    """A complete bar that became known after later ones: it fills a gap, and nobody trades on it."""

    venue: str
    symbol: str
    timeframe: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    count: int | None = None


class CandleRevised(Fact, frozen=True, tag="candle-revised/1"):
    """The source corrected a bar that was already published. The new values hold from now on; history stays."""

    venue: str
    symbol: str
    timeframe: str
    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    count: int | None = None


class CandleBlock(Fact, frozen=True, tag="candle-block/1"):
    """Bulk history, columnar: each column is `rows` packed little-endian values (see `events.block`).

    `ts` int64 close times, strictly increasing; `open` to `volume` float64; `count` int64, -1 where unknown.
    """

    venue: str
    symbol: str
    timeframe: str
    rows: int
    ts: bytes
    open: bytes
    high: bytes
    low: bytes
    close: bytes
    volume: bytes
    count: bytes


class FeedOpened(Fact, frozen=True, tag="feed-opened/1"):
    """A stream began, or began again: everything from `complete_from` on is in it."""

    venue: str
    symbol: str
    ts: int
    complete_from: int


class FeedHeartbeat(Fact, frozen=True, tag="feed-heartbeat/1"):
    """The stream has reached `ts`: nothing older will come. It closes bars of minutes without trades."""

    venue: str
    symbol: str
    ts: int


class FeedInterrupted(Fact, frozen=True, tag="feed-interrupted/1"):
    """The stream broke after `ts`; bars that overlap the hole are incomplete until it is filled."""

    venue: str
    symbol: str
    ts: int
    reason: str


class GapFound(Fact, frozen=True, tag="gap-found/1"):
    """`missing` expected bars, with close times from `first` to `last`, did not come."""

    venue: str
    symbol: str
    timeframe: str
    first: int
    last: int
    missing: int


class GapFilled(Fact, frozen=True, tag="gap-filled/1"):
    """The whole of a found gap (`first` to `last`, as in its GapFound) has been filled."""

    venue: str
    symbol: str
    timeframe: str
    first: int
    last: int
    missing: int


class DataFlagged(Fact, frozen=True, tag="data-flagged/1"):
    """Input that was plausible enough to keep or to drop, but not silently: `issue` is a short stable code."""

    venue: str
    symbol: str
    ts: int
    issue: str
    detail: str
