"""An account and candles in columns: from where on a bar can change something, and its state after bars that do not."""

from __future__ import annotations

from math import inf

from events.block import Columns, Floats

from .book import AccountState, Market
from .decider import AccountDecider, Source

_SCAN = 64  # rows looked at first; mostly an order is met soon or not for long


def first_of_interest(decider: AccountDecider, state: AccountState, source: Source, rows: Columns, start: int) -> int:
    """The first row from `start` on that the account may answer; all before it leave its orders and its day alone.

    `rows.ts` in order. A row may turn out to change nothing: it is then decided the long way, to the same end.
    """
    market = state.markets[source.key]
    day = max(start, int(rows.ts.searchsorted(state.day_end, "right")))
    if not market.orders or day == start:
        return day
    low, high = guards(market)
    return min(day, _first_beyond(rows.low, rows.high, start, low, high))


def guards(market: Market) -> tuple[float, float]:
    """(low, high) such that a bar above the one and below the other certainly changes no order.

    A decimal and the float nearest to it compare alike with every float that was written with fewer digits, because
    rounding never changes an order; where two become one, the bar is looked at.
    """
    low, high = -inf, inf
    for order in market.orders.values():
        buys = order.side == "buy"
        if order.kind == "limit" and order.limit is not None:
            level, below = order.limit, buys
        elif order.kind in ("stop", "stop-limit") and not order.triggered and order.trigger is not None:
            level, below = order.trigger, not buys
        elif order.trail is not None and not order.triggered and order.trigger is not None:
            away = order.trigger - order.trail if buys else order.trigger + order.trail
            low = max(low, float(away if buys else order.trigger))
            high = min(high, float(order.trigger if buys else away))
            continue
        else:
            return inf, -inf
        if below:
            low = max(low, float(level))
        else:
            high = min(high, float(level))
    return low, high


def _first_beyond(lows: Floats, highs: Floats, start: int, low: float, high: float) -> int:
    if low == inf:
        return start
    step, rows = _SCAN, len(lows)
    while start < rows:
        end = min(rows, start + step)
        met = (lows[start:end] <= low) | (highs[start:end] >= high)
        place = int(met.argmax())
        if met[place]:
            return start + place
        start, step = end, step * 4
    return rows


def pass_over(state: AccountState, source: Source, rows: Columns, first: int, last: int) -> None:
    """Takes in bars that change nothing, rows first to last - 1, as `observe` would one by one."""
    if last <= first:
        return
    market = state.markets[source.key]
    market.before = float(rows.close[last - 2]) if last - first > 1 else market.price
    market.price, market.ts = float(rows.close[last - 1]), int(rows.ts[last - 1])
    for order in market.orders.values():
        begun = first if order.met else max(first, int(rows.ts.searchsorted(order.ts + source.length)))
        whole = last - begun
        order.rested = order.rested or whole > (0 if order.met else 1)
        order.met = order.met or whole > 0
