"""Backtests with published numbers, fill by fill."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, localcontext

import pytest

from actors.account import AccountDecider, equity_of
from actors.account.money import EXACT
from actors.plan import AccountPlan, BotPlan, Sizing, SymbolPlan
from events import subjects, timeframe
from events.control import RestrictTrading
from events.market import Candle
from events.trading import Fill, Signal
from tests import data

from .account_driver import FREE, IDEAL, Account

Row = tuple[str, float, float, float, float, float]


def read(name: str) -> list[Row]:
    with data.path(f"published/{name}").open(newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    return [(row[0], *(float(cell) for cell in row[1:6])) for row in rows]  # type: ignore[misc]


def candles(rows: list[Row]) -> Iterator[Candle]:
    for day, *columns in rows:
        opened = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * timeframe.SECOND
        o, h, l, c, volume = columns
        yield Candle("nyse", "X", "1d", opened + timeframe.DAY, o, h, l, c, volume)


def account(sizing: Sizing) -> Account:
    plan = AccountPlan(cash=Decimal(10_000), fees=FREE, fills=IDEAL)
    symbol = SymbolPlan(venue="nyse", symbol="X", base="1d", lot=Decimal(1))
    bot = BotPlan(name="sma", venue="nyse", symbol="X", timeframe="1d", sizing=sizing)
    return Account(AccountDecider(plan, (symbol,), (bot,)), audit=False)


def play(found: Account, bars: list[Candle], targets: list[float | None], *, flatten: bool) -> None:
    for place, bar in enumerate(bars):
        found.tell(subjects.market("nyse", "X"), bar.ts, bar)
        target = targets[place]
        if target is not None:
            found.tell(subjects.bot("sma"), bar.ts, Signal("sma", "nyse", "X", bar.ts, target, bar.close))
        if flatten and place == len(bars) - 2:
            found.tell(subjects.COMMAND, bar.ts, RestrictTrading("*", bar.ts, "test", "flatten", "the data end"))


def mean(values: list[Decimal], end: int, length: int) -> Decimal | None:
    return sum(values[end + 1 - length : end + 1], Decimal(0)) / length if end + 1 >= length else None


def _gap(closes: list[Decimal], place: int) -> Decimal:
    fast, slow = mean(closes, place, 10), mean(closes, place, 30)
    assert fast is not None
    assert slow is not None
    return fast - slow


def crosses(bars: list[Candle]) -> list[float | None]:
    """SMA(10) against SMA(30) of the close: 1 and -1 where they cross strictly."""
    closes = [Decimal(repr(bar.close)) for bar in bars]
    found: list[float | None] = [None] * len(bars)
    for place in range(30, len(bars)):
        now = _gap(closes, place)
        before = _gap(closes, place - 1)
        if before < 0 < now or before > 0 > now:
            found[place] = 1.0 if now > 0 else -1.0
    return found


def test_the_goog_flips_are_the_published_trades_to_the_cent() -> None:
    bars = list(candles(read("backtesting.py/GOOG.csv")))
    with data.path("published/backtesting.py/A_goog_smacross_10_30_trades.csv").open(newline="") as lines:
        published = list(csv.DictReader(lines))
    found = account(Sizing(method="all-in"))
    play(found, bars, crosses(bars), flatten=True)

    fills = found.every(Fill)
    entries, exits = fills[0::2], fills[1::2]
    assert {one.role for one in entries} == {"entry"}
    assert {one.role for one in exits} == {"exit"}
    assert len(exits) == 66
    opened = {bar.ts: place for place, bar in enumerate(bars)}
    for row, entry, leave in zip(published, entries, exits, strict=True):
        assert entry.qty * (1 if entry.side == "buy" else -1) == int(row["Size"])
        assert (opened[entry.ts], opened[leave.ts]) == (int(row["EntryBar"]), int(row["ExitBar"]))
        assert (float(entry.price), float(leave.price)) == (float(row["EntryPrice"]), float(row["ExitPrice"]))
        # The published PnL was summed in binary floats; ours is exact, so they agree to 1e-9 and not to the bit.
        assert float(leave.realized) == pytest.approx(float(row["PnL"]), abs=1e-9)
    assert found.state.cash == Decimal("51422.99")
    assert found.state.books["sma"].position == 0


def test_backtraders_long_only_sma_gives_its_published_fills() -> None:
    bars = list(candles(read("backtrader/2006-day-001.txt")))
    closes = [Decimal(repr(bar.close)) for bar in bars]
    targets: list[float | None] = [None] * len(bars)
    before = Decimal(0)
    for place in range(len(bars)):
        average = mean(closes, place, 15)
        if average is None:
            continue
        gap = closes[place] - average
        if before < 0 < gap:
            targets[place] = 1.0
        elif before > 0 > gap:
            targets[place] = 0.0
        before = gap or before
    found = account(Sizing(method="quantity", value=Decimal(1)))
    play(found, bars, targets, flatten=False)

    buys = "3643.35 3801.03 3872.37 3863.57 3845.32 3656.43 3542.65 3639.65 3799.86 3840.20 4047.63 4052.55"
    sells = "3763.95 3811.85 3822.35 3822.57 3829.82 3598.58 3545.92 3766.80 3782.15 3979.73 4045.05"
    for side, prices in (("buy", buys), ("sell", sells)):
        assert [one.price for one in found.every(Fill) if one.side == side] == [Decimal(p) for p in prices.split()]
    assert found.state.cash == Decimal("6164.16")
    with localcontext(EXACT):
        assert equity_of(found.decider.rules, found.state) == Decimal("10284.10")
