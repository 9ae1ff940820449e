"""Files of trades in windows against the stream of messages that they are."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pytest

from actors.plan import AccountPlan, BotPlan, FillModel, Plan, Sizing, SymbolPlan
from events.decision import Decision
from events.timeframe import MINUTE
from infra.backtest import data
from infra.backtest.data import MarketFile
from infra.backtest.engine import backtest, closing_last
from infra.backtest.tickfiles import Rows, fits, parts
from infra.backtest.ticks import eligible, messages, play_trades
from tests.infra.ticking import START, walk

CROSS = {"params": {"fast": 2, "slow": 5}, "sizing": Sizing(method="quantity")}
PLAN = Plan(
    symbols=tuple(SymbolPlan(venue="sim", symbol=f"S{n}-USD", source="trades") for n in range(2)),
    bots=tuple(BotPlan(name=f"b{n}", venue="sim", symbol=f"S{n}-USD", **CROSS) for n in range(2)),
    accounts=(AccountPlan(fills=FillModel(participation=None)),),
)


def rows(seed: int, count: int, **how: object) -> Rows:
    found = walk(seed, count, **how)  # type: ignore[arg-type]
    return Rows(found.ts, found.price, found.qty, found.side, list(found.id))


def file(trades: Rows, symbol: str = "S0-USD") -> MarketFile:
    return MarketFile("f.csv", "0", "sim", symbol, None, None, trades, None, None, SimpleNamespace(first_ts=0), ())


def files() -> list[MarketFile]:
    """Trades that several files have alike, trades alike without ids, and two instruments."""
    one, two = rows(5, 400, same=True, ids="text"), rows(6, 300, same=True, ids="none")
    double = np.sort(np.concatenate((np.arange(300), np.arange(0, 300, 7))))
    alike = Rows(two.ts[double], two.price[double], two.qty[double], two.side[double], [""] * len(double))
    return [file(one), file(one[100:180]), file(alike, "S1-USD"), file(alike[50:90], "S1-USD")]


def ids(stream: Iterable[tuple[int, str, Decision]]) -> list[tuple[int, str, str]]:
    return [(ts, actor, message.id) for ts, actor, message in stream]


def said(found: Iterable[object]) -> list[tuple[int, str, str]]:
    out: list[tuple[int, str, Decision]] = []
    for part in found:
        out += [part] if isinstance(part, tuple) else messages(PLAN, [part])  # type: ignore[list-item]
    return ids(out)


@pytest.mark.parametrize("count", [1, 50, 10_000])
@pytest.mark.parametrize("close_last", [False, True])
def test_files_in_windows_say_what_the_stream_says(count: int, close_last: bool) -> None:
    assert fits(PLAN, files())
    expected = list(data.stream(files()))
    if close_last:
        expected = list(closing_last(PLAN, expected))
    assert said(parts(PLAN, files(), rows=count, close_last=close_last)) == ids(expected)
    start, end = START + 10 * MINUTE, START + 40 * MINUTE
    bounded = said(parts(PLAN, files(), start=start, end=end, rows=count))
    assert bounded == ids(data.stream(files(), start=start, end=end))


@pytest.mark.parametrize("close_last", [False, True])
def test_files_are_played_to_the_same_end(close_last: bool) -> None:
    word = "open" if close_last else None
    expected = backtest(PLAN, data.stream(files()), close_last=word)
    found = play_trades(PLAN, parts(PLAN, files(), rows=97, close_last=close_last), close_last=word)
    assert found.fills
    assert (found.digest, found.entries, found.counts) == (expected.digest, expected.entries, expected.counts)
    assert (found.curves["main"].equity == expected.curves["main"].equity).all()


def test_what_does_not_fit_is_known() -> None:
    assert not eligible(Plan(symbols=(SymbolPlan(venue="sim", symbol="S0-USD"),)))
    higher = Plan(symbols=(SymbolPlan(venue="sim", symbol="S0-USD", source="trades", timeframes=("5m",)),))
    assert not eligible(higher)
    assert not fits(PLAN, [file(rows(1, 10), "S9-USD")])
