"""hftbacktest knows no candles: each becomes two states of a book, its open at the start of the minute and its close
shortly before the end, with the price as the bid and one tick more as the ask.

The compiled strategy wakes after each close; its market order arrives 0.1 s later, when the next open is in the book.
So it pays one tick more for each entry than the others.
"""

from __future__ import annotations

from typing import Any

from work import DIGITS, FAST, FEE, SLOW, Watch, table, tell

watch = Watch()

import numpy as np  # noqa: E402
from hftbacktest import (  # noqa: E402
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.types import event_dtype  # noqa: E402
from numba import njit  # noqa: E402

TICK = 10.0**-DIGITS
MINUTE, CLOSE_AT, WAKE_AT, LATENCY, HEARD = 60_000_000_000, 59_900_000_000, 59_950_000_000, 100_000_000, 1_000
"""Nanoseconds; `LATENCY` of an order to the venue, `HEARD` of its answer."""
BID = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | BUY_EVENT
ASK = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | SELL_EVENT
DEEP = 1e6
SLIDE = 0.05
"""How far beyond the touch the limit of a market order lies: it is never what decides."""
TIDY_EVERY = 64


@njit
def book(stamps, opens, closes, bid, ask, out):  # type: ignore[no-untyped-def]
    """Fills `out`; the number of rows. A new price clears the old levels."""
    row, last = 0, -1.0
    for at in range(len(stamps)):
        for half in range(2):
            price = closes[at] if half else opens[at]
            if price == last:
                continue
            when = stamps[at] + (CLOSE_AT if half else 0)
            for level in range(0 if last > 0 else 2, 4):
                one = out[row]
                one.ev = ask if level % 2 else bid
                one.exch_ts = when
                one.local_ts = when + 1
                one.px = (last if level < 2 else price) + (TICK if level % 2 else 0.0)
                one.qty = 0.0 if level < 2 else DEEP
                row += 1
            last = price
    return row


@njit
def cross(run, rows, fast_span, slow_span):  # type: ignore[no-untyped-def]
    """Closed trades."""
    trades, orders, held, above, fast, slow = 0, 0, False, False, 0.0, 0.0
    for seen in range(rows):
        if run.elapse(MINUTE if seen else WAKE_AT) != 0:
            break
        depth = run.depth(0)
        price = depth.best_bid
        fast = fast + 2.0 / (fast_span + 1.0) * (price - fast) if seen else price
        slow = slow + 2.0 / (slow_span + 1.0) * (price - slow) if seen else price
        before = above
        above = fast > slow
        if seen < slow_span or above in (before, held):
            continue
        orders += 1
        held = above
        if held:
            run.submit_buy_order(0, orders, round(price * (1 + SLIDE), 2), 1.0, GTC, MARKET, False)
        else:
            trades += 1
            run.submit_sell_order(0, orders, round(price * (1 - SLIDE), 2), 1.0, GTC, MARKET, False)
        if orders % TIDY_EVERY == 0:
            run.clear_inactive_orders(0)
    return trades


def venue(events: Any) -> Any:
    asset = BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(LATENCY, HEARD)
    asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(FEE, FEE)
    return HashMapMarketDepthBacktest([asset.tick_size(TICK).lot_size(0.001).last_trades_capacity(0)])


watch.done("import")
frame = table()
stamps = frame.index.astype("datetime64[ns]").astype("int64").to_numpy()
opens, closes = (np.round(frame[name].to_numpy(), DIGITS) for name in ("open", "close"))
events = np.zeros(8 * len(frame), event_dtype)
events = events[: book(stamps, opens, closes, np.uint64(BID), np.uint64(ASK), events)]
watch.done("load")
short = venue(events[:800])
cross(short, 50, FAST, SLOW)
short.close()
watch.done("cold")
run = venue(events)
watch.done("setup")
trades = cross(run, len(frame), FAST, SLOW)
watch.done("engine")
state = run.state_values(0)
pnl = state.balance + state.position * closes[-1] - state.fee
tell(watch, len(frame), trades, pnl, events=len(events), note="compiled strategy; entries pay one tick of spread")
