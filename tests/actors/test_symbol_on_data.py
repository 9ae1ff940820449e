"""The decider of a symbol against what exchanges themselves published, to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from actors.symbol import SymbolDecider
from events.block import Columns
from events.fact import Fact
from events.market import Candle, CandleBlock, DataFlagged, FeedHeartbeat, FeedOpened, GapFound
from events.timeframe import micros
from tests.actors import real
from tests.actors.symbols import MINUTE, S, V, bars, blocks, candles, of, plan, play, rows, same

Sent = Callable[[Columns, str], list[Fact]]


def live(columns: Columns, timeframe: str) -> list[Fact]:
    return [*candles(columns, timeframe)]


def in_blocks(columns: Columns, timeframe: str) -> list[Fact]:
    # A size that no bucket divides, so that bars straddle blocks.
    return [*blocks(columns, timeframe, 3_907)]


both = pytest.mark.parametrize("send", [live, in_blocks])

KRAKEN = {5: ("5m", 22_893), 15: ("15m", 8_569), 60: ("60m", 2_160), 720: ("720m", 180), 1440: ("1440m", 90)}


@both
def test_sparse_minutes_add_up_to_krakens_own_bars(send: Sent) -> None:
    decider = SymbolDecider(plan(empty="omit", timeframes=tuple(name for name, _ in KRAKEN.values())))
    facts = play(decider, send(real.kraken(1), "1m"))
    assert not of(facts, GapFound)
    for minutes, (name, count) in KRAKEN.items():
        wanted = rows(real.kraken(minutes))
        assert len(wanted) == count
        same(bars(facts, name), wanted)


FUTURES = {
    ("ETH", "1m", "30m"): 2_005,
    ("BTC", "5m", "15m"): 3_635,
    ("ETH", "5m", "15m"): 3_635,
    ("BTC", "3m", "15m"): 3_136,
    ("ETH", "3m", "15m"): 3_136,
    ("BTC", "15m", "1h"): 719,
    ("BTC", "30m", "1d"): 27,
}
COARSER = {
    "1m": ("3m", "5m", "15m", "30m", "1h", "1d"),
    "3m": ("15m", "30m", "1h", "1d"),
    "5m": ("15m", "30m", "1h", "1d"),
    "15m": ("30m", "1h", "1d"),
    "30m": ("1h", "1d"),
    "1h": ("1d",),
}


@both
@pytest.mark.parametrize("coin", ["BTC", "ETH", "BNB", "LINK", "LTC"])
def test_binance_bars_add_up_to_every_coarser_file(coin: str, send: Sent) -> None:
    for base, coarser in COARSER.items():
        if base == "1m" and send is live and coin not in ("BTC", "ETH"):
            continue  # the longest files one by one only for two: the columns take all five
        columns = real.futures(coin, base)
        facts = play(SymbolDecider(plan(base=base, timeframes=coarser)), send(columns, base))
        since, through = int(columns.ts[0]) - micros(base), int(columns.ts[-1])
        for name in coarser:
            theirs = real.futures(coin, name)
            full = (theirs.ts - micros(name) >= since) & (theirs.ts <= through)
            wanted, found = rows(theirs[full]), bars(facts, name)
            # Files end at different times: what we made beyond theirs has nothing to be held against.
            overlap = {ts: row for ts, row in found.items() if theirs.ts[0] <= ts <= theirs.ts[-1]}
            same(overlap, wanted)
            if (coin, base, name) in FUTURES:
                assert len(wanted) == FUTURES[coin, base, name]


def test_krakens_trades_make_krakens_minutes() -> None:
    trades = real.kraken_trades(V, S)
    # The venue's own bar of the last minute counts one trade, so the recording holds that minute to its end.
    end = trades[-1].ts + MINUTE - trades[-1].ts % MINUTE
    messages: list[Fact] = [*trades, FeedHeartbeat(V, S, end)]
    facts = play(SymbolDecider(plan(source="trades")), messages)
    found, theirs = bars(facts, "1m"), rows(real.kraken_ohlc())
    counts = [row[5] for row in found.values()]
    assert len(trades) == 1_000
    assert (sum(count != 0 for count in counts), sum(count == 0 for count in counts)) == (273, 137)
    same(found, {ts: row for ts, row in theirs.items() if min(found) <= ts <= end})
    # The recording begins within a minute.
    assert [gap.missing for gap in of(facts, GapFound)] == [1]


@pytest.mark.parametrize("announced", [True, False])
def test_xrpeth_trades_make_its_bars(announced: bool) -> None:
    trades, minutes, fives = real.xrpeth_trades(V, S), real.xrpeth("1m"), real.xrpeth("5m")
    start = int(fives.ts[0]) - 5 * MINUTE
    opened: list[Fact] = [FeedOpened(V, S, start, start)] if announced else []
    messages = [*opened, *trades, FeedHeartbeat(V, S, int(fives.ts[-1]))]
    facts = play(SymbolDecider(plan(source="trades", empty="omit", timeframes=("5m",))), messages)
    wanted = {ts: row[:5] for ts, row in rows(minutes).items()}, {ts: row[:5] for ts, row in rows(fives).items()}
    found = (
        {ts: row[:5] for ts, row in bars(facts, "1m").items()},
        {ts: row[:5] for ts, row in bars(facts, "5m").items()},
    )
    if announced:
        assert (len(found[0]), len(found[1])) == (2_469, 706)
        assert found == wanted
        assert not of(facts, GapFound)
    else:
        # Without a word on since when the stream is complete, the first minute may lack trades.
        assert [(gap.first, gap.missing) for gap in of(facts, GapFound)] == [(start + MINUTE, 1)]
        assert found == (dict(list(wanted[0].items())[1:]), dict(list(wanted[1].items())[1:]))


@both
def test_gaps_of_a_file_with_holes(send: Sent) -> None:
    columns = real.feather("crypto_klines/freqtrade_testdata/UNITTEST_BTC-1m.feather", "1m")
    facts = play(SymbolDecider(plan(timeframes=("5m",))), send(columns, "1m"))
    found = of(facts, GapFound)
    assert (len(found), sum(gap.missing for gap in found)) == (538, 717)
    have = set(columns.ts.tolist())
    assert not any(set(range(gap.first, gap.last + 1, MINUTE)) & have for gap in found)
    same(bars(facts, "1m"), rows(columns))
    ends = columns.ts + (-columns.ts) % (5 * MINUTE)
    stamps, counts = np.unique(ends, return_counts=True)
    whole = set(stamps[counts == 5].tolist())
    assert bars(facts, "5m").keys() == whole


def test_live_goes_on_after_history() -> None:
    """Half in blocks, half live: the same bars as all live, and no gap at the seam."""
    columns = real.futures("BTC", "1m")[slice(0, 6_000)]
    decider = SymbolDecider(plan(timeframes=("15m", "1h")))
    whole = play(decider, live(columns, "1m"))
    facts = play(decider, [*in_blocks(columns[slice(0, 4_001)], "1m"), *live(columns[slice(4_001, None)], "1m")])
    assert not of(facts, GapFound)
    assert not of(facts, DataFlagged)
    assert len(of(facts, Candle, "1m")) == 1_999
    assert of(facts, CandleBlock)
    for name in ("1m", "15m", "1h"):
        same(bars(facts, name), bars(whole, name))
