"""Figures of merit by hand-made cases, by definition, and at their edges."""

from __future__ import annotations

from decimal import Decimal
from math import sqrt
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.timeframe import DAY, HOUR
from events.trading import Fill
from infra.backtest.kpis import cagr, combined, daily, drawdowns, equity_kpis, geometric, kelly, sqn, trade_kpis
from infra.backtest.result import Curve
from infra.backtest.trips import trips

MONDAY = 20_003 * DAY  # 2024-10-07


def curve(equity: list[float], *, step: int = DAY, start: float = 100.0, first: int = MONDAY) -> Curve:
    count = len(equity)
    ts = np.array([first + (place + 1) * step for place in range(count)], np.int64)
    values = np.array(equity, np.float64)
    return Curve("USD", start, ts, values, np.zeros(count), np.zeros(count, np.bool_))


def fill(side: str, qty: str, price: str, *, ts: int = 0, fee: str = "0", bot: str = "a", role: str = "exit") -> Fill:
    zero = Decimal(0)
    return Fill("f", "o", "main", bot, "v", "S", ts, side, role, Decimal(qty), Decimal(price), Decimal(fee), "taker",
                zero, zero, zero, zero, zero)  # fmt: skip


def test_returns_and_growth() -> None:
    kpis = equity_kpis(curve([100.0, 110.0, 99.0, 121.0]), continuous=True)
    assert (kpis.total_return, kpis.final, kpis.peak) == (pytest.approx(0.21), 121.0, 121.0)
    assert kpis.days == 3.0
    assert kpis.cagr == pytest.approx(1.21 ** (365.25 / 3) - 1)
    returns = np.array([0.1, -0.1, 121 / 99 - 1])
    assert kpis.volatility == pytest.approx(returns.std(ddof=1) * sqrt(365))
    assert kpis.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * sqrt(365))
    assert kpis.sortino == pytest.approx(returns.mean() / sqrt(0.01 / 3) * sqrt(365))
    assert kpis.max_drawdown == pytest.approx(-0.1)
    assert kpis.max_drawdown_days == 2.0
    assert kpis.calmar == pytest.approx((kpis.cagr or 0) / 0.1)


def test_intraday_points_become_days_that_end_at_midnight() -> None:
    """A bar that closes at 00:00 belongs to the day before; the first point is the base of the first return."""
    values = [100.0] * 23 + [110.0] + [50.0] * 23 + [121.0]
    returns, periods = daily(curve(values, step=HOUR), continuous=True)
    assert (returns.tolist(), periods) == ([pytest.approx(0.1), pytest.approx(0.1)], 365)


def test_weekends_are_days_where_the_market_is_open_on_them() -> None:
    three_weeks = [100.0 + place for place in range(21)]
    assert [len(daily(curve(three_weeks), continuous=True)[0]), daily(curve(three_weeks), continuous=True)[1]] == [
        20,
        365,
    ]
    without = curve(three_weeks)
    weekday = (((without.ts - 1) // DAY) + 3) % 7
    assert weekday[0] == 0
    keep = weekday != 5
    stocks = Curve("USD", 100.0, without.ts[keep], without.equity[keep], without.gross[keep], without.held[keep])
    returns, periods = daily(stocks, continuous=True)  # a fortnight without a Saturday says otherwise
    assert periods == 252
    # Three weeks of five days; only the very last Sunday stays, for the run ends with it.
    assert len(returns) == 15


@pytest.mark.parametrize("values", [[], [100.0], [100.0, 100.0, 100.0]])
def test_flat_and_empty_curves_have_no_ratios(values: list[float]) -> None:
    kpis = equity_kpis(curve(values), continuous=True)
    assert (kpis.final, kpis.total_return) == (100.0, 0.0)
    assert (kpis.sharpe, kpis.sortino, kpis.calmar, kpis.average_drawdown) == (None, None, None, None)
    assert kpis.max_drawdown == (0.0 if values else None)


def test_losing_everything_and_more() -> None:
    kpis = equity_kpis(curve([100.0, 50.0, 0.0, -20.0]), continuous=True)
    assert (kpis.total_return, kpis.cagr, kpis.max_drawdown) == (-1.2, -1.0, -1.2)
    assert (kpis.sharpe, kpis.volatility) == (None, None)  # a return from nothing is no number
    assert kpis.leverage is None


def test_a_fall_below_the_starting_cash_is_a_drawdown_from_the_first_bar_on() -> None:
    found = drawdowns(curve([90.0, 80.0, 100.0, 95.0]))
    assert [(one.start, one.depth) for one in found] == [
        (MONDAY + DAY, pytest.approx(-0.2)), (MONDAY + 3 * DAY, pytest.approx(-0.05))
    ]  # fmt: skip
    assert drawdowns(curve([90.0]))[0].depth == pytest.approx(-0.1)


def test_growth_that_no_float_holds_and_spans_under_a_day_are_no_figures() -> None:
    assert cagr(1.0, 1e12, 1.0) is None
    assert cagr(100.0, 101.0, 0.5) is None
    assert cagr(100.0, 121.0, 730.5) == pytest.approx(0.1)


def test_accounts_add_up_where_their_currency_is_one() -> None:
    one, two = curve([100.0, 90.0]), curve([100.0, 130.0])
    whole = combined([one, two])
    assert whole is not None
    assert (whole.start, whole.equity.tolist()) == (200.0, [200.0, 220.0])
    assert combined([one, Curve("EUR", 1.0, two.ts, two.equity, two.gross, two.held)]) is None
    assert combined([]) is None


def test_no_trade_has_no_figures_but_counts() -> None:
    kpis = trade_kpis([])
    assert (kpis.trades, kpis.net_profit, kpis.fees) == (0, 0.0, 0.0)
    nothing = ("win_rate", "profit_factor", "expectancy", "average_win", "best_trade", "sqn", "kelly", "average_trade")
    assert [getattr(kpis, name) for name in nothing] == [None] * len(nothing)


def test_one_winning_trade() -> None:
    closed, left = trips([fill("buy", "2", "10", ts=DAY, fee="1"), fill("sell", "2", "12", ts=3 * DAY, fee="1")])
    kpis = trade_kpis(closed)
    assert left == []
    assert (kpis.trades, kpis.win_rate, kpis.net_profit, kpis.profit_factor, kpis.sqn) == (1, 1.0, 2.0, None, None)
    assert (kpis.best_trade, kpis.worst_trade, kpis.average_trade_days) == (0.1, 0.1, 2.0)


def test_figures_of_wins_and_losses() -> None:
    pnl = np.array([10.0, -5.0, 20.0, -10.0])
    assert sqn(pnl) == pytest.approx(2 * pnl.mean() / pnl.std(ddof=1))
    assert kelly(pnl) == pytest.approx(0.5 - 0.5 / 2)
    assert geometric(np.array([0.1, -0.1])) == pytest.approx(sqrt(0.99) - 1)
    assert geometric(np.array([0.5, -1.0])) == -1.0
    assert sqn(np.array([5.0, 5.0])) is None


def test_partial_fills_are_one_trip_and_a_short_gains_when_prices_fall() -> None:
    fills = [
        fill("sell", "1", "100", fee="0.1", role="entry"),
        fill("sell", "3", "104", fee="0.3", role="entry"),
        fill("buy", "1", "90", fee="0.1", role="take-profit"),
        fill("buy", "3", "95", ts=DAY, fee="0.3", role="stop-loss"),
    ]
    (trip,), left = trips(fills)
    assert left == []
    assert (trip.side, trip.qty, trip.entry, trip.exit, trip.entries, trip.exits) == (
        "short",
        4,
        103,
        Decimal("93.75"),
        2,
        2,
    )
    assert (trip.pnl, trip.fees, trip.reason) == (Decimal("36.2"), Decimal("0.8"), "stop-loss")
    assert trip.gain == pytest.approx(36.2 / 412)


def test_one_fill_that_crosses_zero_ends_a_trip_and_begins_the_next() -> None:
    fills = [fill("buy", "1", "10"), fill("sell", "3", "12", ts=5, fee="0.3"), fill("buy", "2", "11", ts=9)]
    (first, second), left = trips(fills)
    assert (first.side, first.pnl, first.fees) == ("long", Decimal("1.9"), Decimal("0.1"))
    assert (second.side, second.opened, second.qty, second.pnl) == ("short", 5, 2, Decimal("1.8"))
    assert left == []


def test_what_is_open_at_the_end_is_no_trade() -> None:
    closed, (trip,) = trips([fill("buy", "4", "10"), fill("sell", "1", "12", fee="0.5")])
    assert closed == []
    assert (trip.closed, trip.qty, trip.pnl) == (None, 4, Decimal("1.5"))


deals = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 50),
        st.integers(1, 1000),
        st.integers(0, 20),
        st.sampled_from("ab"),
    ),
    max_size=30,
)


@given(deals)
def test_money_is_conserved_however_fills_fall(found: list[tuple[str, int, int, int, str]]) -> None:
    """What trips gained is what cash gained, once everything is flat."""
    fills = [fill(side, str(qty), str(price), fee=f"{fee / 100:.2f}", bot=bot) for side, qty, price, fee, bot in found]
    held: dict[str, Decimal] = {}
    for one in fills:
        held[one.bot] = held.get(one.bot, Decimal(0)) + (one.qty if one.side == "buy" else -one.qty)
    for bot, qty in held.items():
        if qty:
            fills.append(fill("sell" if qty > 0 else "buy", str(abs(qty)), "7", bot=bot))
    closed, left = trips(fills)
    cash = sum((one.qty * one.price * (1 if one.side == "sell" else -1) - one.fee for one in fills), Decimal(0))
    assert left == []
    # Fees of a fill that crosses zero are shared to 28 digits.
    assert float(sum((one.pnl for one in closed), Decimal(0)) - cash) == pytest.approx(0, abs=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.sampled_from([HOUR, DAY]), st.booleans())
def test_no_curve_makes_an_exception_or_an_infinity(values: list[float], step: int, continuous: bool) -> None:
    kpis: dict[str, Any] = msgspec.to_builtins(equity_kpis(curve(values, step=step), continuous=continuous))
    assert all(np.isfinite(value) for value in kpis.values() if value is not None)
