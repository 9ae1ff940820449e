"""What nearly every fact of a long tape is, done at once: the same as the views do of it, one after the other."""

from __future__ import annotations

from events.decision import Recorded
from events.market import Candle

from .market import LIVE
from .rows import LAST, Rows
from .state import State


def candle(state: State, rows: Rows, entry: Recorded, fact: Candle) -> bool:
    """A validated bar behind all others of its series, in a market where nobody holds anything."""
    venue, symbol = fact.venue, fact.symbol
    series = rows.candles.series.get((venue, symbol, fact.timeframe))
    if series is None:
        return False
    market = series.market
    if market is None:
        market = series.market = state.markets.get((venue, symbol))
        if market is None:
            return False
    ts, close = fact.ts, fact.close
    if ts <= series.high or ts < market.ts or ts > LAST or market.positions or close - close != 0.0:
        return False
    market.ts = ts
    rows.marks[series.place] = close
    series.newer(fact, LIVE, entry.seq, entry.known_at)
    return True
