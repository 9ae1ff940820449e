"""The engine: what it collects, how it ends, and that it costs nothing to import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from actors.account import equity_of
from actors.account.decider import AccountDecider
from actors.account.money import EXACT
from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Limits, Plan, Sizing, SymbolPlan
from actors.roster import BadPlan, deciders
from actors.strategies import Position, Strategy, Target
from events import subjects
from events.decision import Recorded
from events.feed import observed
from events.market import Candle, Trade
from events.timeframe import DAY, MINUTE
from infra.backtest.engine import backtest
from infra.backtest.figures import figures
from infra.backtest.report import bots_table, summary_table, write
from infra.session.market import Stamped, merged
from tests import data
from tests.infra import backtesting

START = 20_000 * DAY
WITHOUT_COSTS: dict[str, Any] = {
    "fees": Fees(maker=Decimal(0), taker=Decimal(0)),
    "fills": FillModel(slippage=Decimal(0), participation=None),
}


class Always(Strategy):
    """Long from the first candle on."""

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        return Target(1.0)


def bars(symbol: str, prices: list[float], *, first: int = 1) -> Iterator[Stamped]:
    actor = subjects.feed("sim", symbol)
    for place, price in enumerate(prices, first):
        ts = START + place * MINUTE
        candle = Candle("sim", symbol, "1m", ts, price, price + 1, price - 1, price + 0.5, 100.0)
        yield ts, actor, observed(actor, ts, candle)


def plan_of(*symbols: str, accounts: tuple[AccountPlan, ...] = (), **symbol: Any) -> Plan:
    accounts = accounts or (AccountPlan(cash=Decimal(10_000), **WITHOUT_COSTS),)
    bots = tuple(
        BotPlan(
            name=f"bot-{name}",
            venue="sim",
            symbol=name,
            account=accounts[place % len(accounts)].name,
            strategy=f"{__name__}:Always",
            sizing=Sizing(method="quantity", value=Decimal(10)),
        )
        for place, name in enumerate(symbols)
    )
    plans = tuple(SymbolPlan(venue="sim", symbol=name, **symbol) for name in symbols)
    return Plan(symbols=plans, bots=bots, accounts=accounts)


def test_equity_is_cash_and_positions_at_the_close_of_each_bar() -> None:
    result = backtest(plan_of("A"), bars("A", [100.0, 102.0, 104.0]))
    curve = result.curves["main"]
    assert curve.ts.tolist() == [START + place * MINUTE for place in (1, 2, 3)]
    # Signalled on the first close, bought at the second open: 10 at 102, then worth 102.5 and 104.5.
    assert curve.equity.tolist() == [10_000.0, 10_005.0, 10_025.0]
    assert curve.held.tolist() == [False, True, True]
    assert curve.gross.tolist() == [0.0, 1025.0, 1045.0]
    assert [one.unrealized for one in result.holdings] == [Decimal("25.0")]


def test_several_symbols_of_one_minute_make_one_point() -> None:
    stream = merged([bars("A", [100.0, 102.0, 104.0]), bars("B", [50.0, 50.0], first=2)])
    result = backtest(plan_of("A", "B"), stream)
    assert result.curves["main"].ts.tolist() == [START + place * MINUTE for place in (1, 2, 3)]
    assert result.curves["main"].equity[-1] == pytest.approx(10_000 + 10 * 2.5 + 10 * 0.5)


@pytest.mark.parametrize("close_last", [None, "open"])
def test_the_last_bar(close_last: Any) -> None:
    result = backtest(plan_of("A"), bars("A", [100.0, 102.0, 104.0, 106.0]), close_last=close_last)
    roles = [(one.role, str(one.price)) for one in result.fills]
    if close_last is None:
        assert roles == [("entry", "102.0")]
        assert len(result.holdings) == 1
    else:
        assert roles == [("entry", "102.0"), ("exit", "106.0")]
        assert result.holdings == ()
        assert result.curves["main"].equity[-1] == 10_040.0
        assert result.refusals == ()


def test_the_last_bar_closes_every_symbol_that_still_has_one() -> None:
    stream = merged([bars("A", [100.0] * 5), bars("B", [50.0] * 5), bars("C", [70.0] * 3)])
    result = backtest(plan_of("A", "B", "C"), stream, close_last="open")
    assert [(one.symbol, one.ts) for one in result.fills if one.role == "exit"] == [
        ("A", START + 5 * MINUTE), ("B", START + 5 * MINUTE)
    ]  # fmt: skip
    assert [one.symbol for one in result.holdings] == ["C"]


def test_one_bar_and_no_bar() -> None:
    for prices in ([], [100.0]):
        for close_last in (None, "open"):
            result = backtest(plan_of("A"), bars("A", prices), close_last=close_last)  # type: ignore[arg-type]
            assert len(result.curves["main"]) == len(prices)
            assert result.fills == ()


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(ValueError, match="write 'open'"):
        backtest(plan_of("A"), bars("A", []), close_last="close")  # type: ignore[arg-type]


def test_a_plan_that_contradicts_itself_is_refused() -> None:
    plan = plan_of("A")
    with pytest.raises(BadPlan, match="not among"):
        backtest(Plan(symbols=(), bots=plan.bots, accounts=plan.accounts), [])


def test_what_the_data_are_like_is_counted() -> None:
    actor = subjects.feed("sim", "A")
    whole = list(bars("A", [100.0] * 6))
    bad = Candle("sim", "A", "1m", START + 7 * MINUTE, 100.0, 90.0, 99.0, 100.0, 1.0)
    stream = [*whole[:2], whole[1], *whole[4:], (bad.ts, actor, observed(actor, bad.ts, bad))]
    (market,) = backtest(plan_of("A"), stream).markets
    assert (market.bars, market.gaps, market.missing) == (4, 1, 2)
    assert (market.flags, market.quarantined) == ({"duplicate": 1}, {"high-low": 1})


def test_trades_make_bars_and_fills_between_them() -> None:
    actor = subjects.feed("sim", "A")

    def trades() -> Iterator[Stamped]:
        for place in range(12):
            ts = START + place * 20_000_000
            yield ts, actor, observed(actor, ts, Trade("sim", "A", ts, 100.0 + place, 1.0, "", str(place)))

    result = backtest(plan_of("A", source="trades"), trades())
    assert result.markets[0].bars >= 2
    assert [str(one.price) for one in result.fills] == ["107.0"]
    assert result.curves["main"].equity[-1] == 10_000 + 10 * (108.0 - 107.0)


def test_accounts_have_curves_of_their_own() -> None:
    accounts = tuple(
        AccountPlan(name=name, currency=currency, cash=Decimal(5_000), **WITHOUT_COSTS)
        for name, currency in (("one", "USD"), ("two", "EUR"))
    )
    stream = merged([bars("A", [100.0, 110.0, 120.0]), bars("B", [100.0, 90.0, 80.0])])
    found = figures(result := backtest(plan_of("A", "B", accounts=accounts), stream))
    assert found.portfolio is None  # dollars and euros
    assert (found.accounts["one"].equity.final, found.accounts["two"].equity.final) == (5_105.0, 4_905.0)
    assert summary_table(result).row_count > 10


def test_refused_signals_are_counted() -> None:
    account = AccountPlan(cash=Decimal(10_000), limits=Limits(position_fraction=Decimal("0.01")), **WITHOUT_COSTS)
    result = backtest(plan_of("A", accounts=(account,)), bars("A", [100.0] * 4))
    kpis = figures(result).accounts["main"]
    assert (kpis.signals, kpis.refused, kpis.trades.trades) == (len(result.signals), len(result.refusals), 0)


def test_sinks_see_the_whole_tape_and_progress_is_told() -> None:
    seen: list[Recorded] = []
    told: list[int] = []
    result = backtest(plan_of("A"), bars("A", [100.0] * 2_500), sinks=[seen.append], progress=told.append)
    assert [one.seq for one in seen] == list(range(1, result.entries + 1))
    assert told == [1_000, 2_000, 2_500]


def test_final_equity_is_that_of_the_account_to_the_last_digit() -> None:
    """On real data, with fees, slippage, brackets and partial fills: the curve ends where the account's state does."""
    data.path(backtesting.FOLDER)
    plan = backtesting.plan(data.ROOT)
    result = backtest(plan, backtesting.stream(data.ROOT))
    lockstep = Lockstep(deciders(plan), lambda entry: None)
    for _, actor, message in backtesting.stream(data.ROOT):
        lockstep.feed(actor, message)
    (seat,) = [seat for seat in lockstep.seats if isinstance(seat.decider, AccountDecider)]
    with localcontext(EXACT):
        assert float(equity_of(seat.decider.rules, seat.state)) == result.curves["main"].equity[-1]
    found = figures(result)
    booked = sum((one.pnl for one in (*found.trips, *found.open_trips)), Decimal(0))
    floating = sum((one.unrealized for one in result.holdings), Decimal(0))
    # Averages of partial fills are rounded to 28 digits on the way.
    assert float(Decimal(100_000) + booked + floating) == pytest.approx(result.curves["main"].equity[-1], abs=1e-6)


def test_a_report_without_trades_and_without_bars(tmp_path: Path) -> None:
    for prices in ([], [100.0]):
        result = backtest(plan_of("A"), bars("A", prices))
        write(result, tmp_path)
        assert (tmp_path / "trades.csv").read_text().count("\n") == 1
        assert (tmp_path / "equity.png").read_bytes().startswith(b"\x89PNG")
        assert bots_table(result).row_count == 1


def test_importing_is_light() -> None:
    program = (
        "import sys, infra.backtest.engine, infra.backtest.data, infra.backtest.report; "
        "print([name for name in ('matplotlib', 'pandas', 'pyarrow', 'nats', 'ray', 'rich') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
