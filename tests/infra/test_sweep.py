"""Grids, conditions, periods, figures, lines, ranking and map of a sweep."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Plan, Sizing
from infra.backtest import data, kpis
from infra.backtest.engine import play
from infra.backtest.figures import figures
from infra.backtest.result import Curve
from infra.backtest.sketch import few, max_drawdown
from infra.sweep import heat
from infra.sweep.errors import SweepError
from infra.sweep.grid import Grid, axis
from infra.sweep.lines import Line, Results
from infra.sweep.periods import Period, cut, period
from infra.sweep.ranking import ranked
from infra.sweep.summary import FIGURES, summary, trade_results
from infra.sweep.where import condition
from tests.infra.sweeps import market


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=5..8", (5, 6, 7, 8)),
        ("slow=20..25:2", (20, 22, 24)),
        ("x=0.1..0.3:0.1", (0.1, 0.2, 0.3)),
        ("x=-1..1", (-1, 0, 1)),
        ("x=1..2:0.5", (1.0, 1.5, 2.0)),
        ("short=true,false", (True, False)),
        ("n=3,1..3,9", (3, 1, 2, 9)),
        ("side=long,1", ("long", 1)),
        ("x=1,1.0,true", (1, 1.0, True)),
    ],
)
def test_axes_as_they_are_written(text: str, values: tuple[Any, ...]) -> None:
    found = axis(text)
    assert found.name == text.partition("=")[0]
    assert [(type(one), one) for one in found.values] == [(type(one), one) for one in values]


@pytest.mark.parametrize("text", ["fast", "=3", "fast=", "x=8..5", "x=1..5:0", "x=1..b", "x=0..1:1e-9", "x=1..inf"])
def test_axes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SweepError, match="--param"):
        axis(text)


def test_a_grid_numbers_combinations_counts_what_is_left_out_and_why() -> None:
    grid = Grid(
        [axis("fast=1..4"), axis("slow=2..4")],
        where=["fast != 4"],
        accepts=lambda params: None if params["fast"] < params["slow"] else f"not {params}",
    )
    assert [tuple(grid.at(number).values()) for number in range(4)] == [(1, 2), (1, 3), (1, 4), (2, 2)]
    assert [tuple(grid.at(number).values()) for number in grid.kept] == [
        (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)
    ]  # fmt: skip
    assert (grid.excluded, grid.refused, grid.reason) == (3, 3, "not {'fast': 2, 'slow': 2}")
    assert Grid([]).at(0) == {}
    assert len(Grid([]).kept) == 1


def test_grids_too_large_and_axes_given_twice_are_refused() -> None:
    with pytest.raises(SweepError, match="larger steps"):
        Grid([axis("a=1..2000"), axis("b=1..2000")])
    with pytest.raises(SweepError, match="twice"):
        Grid([axis("a=1"), axis("a=2")])


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("fast < slow", True),
        ("slow < fast", False),
        ("1 < fast < slow <= 20", True),
        ("fast * 2 + 1 == 11 and not short", True),
        ("slow % 7 == 6 or fast / 0 > 1", True),
        ("fast / 0 > 1", False),
        ("short == false", True),
        ("name == 'a' and slow // 3 != -6", True),
        ("name < fast", False),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    params = {"fast": 5, "slow": 20, "short": False, "name": "a"}
    assert condition(text, list(params))(params) is holds


@pytest.mark.parametrize("text", ["", "fast <", "quick < 3", "fast.real", "print(1)", "[fast]", "fast if 1 else 2",
                                  "fast ** 9", "fast := 3", "lambda: 1", "fast is 3"])  # fmt: skip
def test_conditions_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SweepError, match="--where"):
        Grid([axis("fast=1..3")], where=[text])


def test_periods_are_read_and_written() -> None:
    found = period("2024-01-01..2024-06-01")
    assert (found.start, found.end) == (1_704_067_200_000_000, 1_717_200_000_000_000)
    for text in ("2024-01-01..2024-06-01", "..2024-06-01", "2024-01-01T12:30:00..", "2024-01-01T00:00:00.000001.."):
        assert str(period(text)) == text
    assert period("2024-01-01T02:00+02:00..").start == period("2024-01-01..").start
    assert str(Period()) == "all"
    assert not found.holds(1_704_067_200_000_000)
    assert found.holds(1_717_200_000_000_000)
    for text in ("2024-01-01", "..", "2024-06-01..2024-01-01", "monday..tuesday"):
        with pytest.raises(SweepError, match="--period"):
            period(text)


def test_calendars_cut_where_days_end() -> None:
    first, last = period("2023-12-31T23:59..2024-03-01").start, period("2024-01-01..2024-03-01").end
    assert first is not None
    assert last is not None
    months = ["2023-12-01..2024-01-01", "2024-01-01..2024-02-01", "2024-02-01..2024-03-01"]
    assert [str(one) for one in cut("monthly", first, last)] == months
    assert [str(one) for one in cut("yearly", first, last)] == ["2023-01-01..2024-01-01", "2024-01-01..2025-01-01"]
    assert len(cut("daily", first, last)) == 61
    assert str(cut("weekly", first, last)[0]) == "2023-12-25..2024-01-01"
    for wrong in ("hourly", "0", "-1", "100000"):
        with pytest.raises(SweepError, match="--periods"):
            cut(wrong, first, last)


@given(st.integers(1, 10**15), st.integers(0, 10**9), st.sampled_from(["1", "7", "9", "daily", "weekly", "monthly"]))
def test_every_row_is_of_one_period(first: int, length: int, how: str) -> None:
    last = first + length
    found = cut(how, first, last)
    for ts in (first, last, (first + last) // 2):
        assert sum(one.holds(ts) for one in found) == 1


@given(st.lists(st.floats(-50, 200), min_size=1, max_size=3_000), st.floats(1, 100), st.booleans())
def test_the_deepest_fall_is_the_one_that_every_point_shows(values: list[float], start: float, tiled: bool) -> None:
    equity = np.array(values * (4 if tiled else 1))
    none = np.zeros(len(equity))
    curve = Curve("USD", start, np.arange(len(equity)) * 60_000_000, equity, none, none.astype(bool))
    peaks = np.maximum(np.maximum.accumulate(equity), start)
    assert max_drawdown(curve) == min(0.0, float((equity / peaks - 1).min()))


def test_figures_are_those_of_a_report(tmp_path: Path) -> None:
    file = data.load(f"{market(tmp_path / 'walk.csv', 5_000)}=sim/AAA@1m")
    seen = []
    cases = (
        (True, "0.0005", Sizing(value=Decimal("0.5"))), (False, "0", Sizing(value=Decimal("0.9"))),
        (True, "-0.0001", Sizing(value=Decimal("0.03"))), (True, "0.0005", Sizing(method="quantity", value=Decimal(3))),
    )  # fmt: skip
    for short, fee, sizing in cases:
        account = AccountPlan(fees=Fees(maker=Decimal(fee), taker=Decimal(fee)), fills=FillModel(slippage=Decimal(0)))
        params = {"fast": 3, "slow": 8, "short": short, "stop_atr": 0.0 if sizing.method == "quantity" else 2.0}
        bot = BotPlan(name="one", venue="sim", symbol="AAA", params=params, sizing=sizing)
        result = play(Plan(symbols=data.symbol_plans([file]), bots=(bot,), accounts=(account,)), data.windows([file]))
        found, whole = summary(result), figures(result).portfolio
        assert whole is not None
        assert found.bars == 5_000
        assert found.trades == whole.trades.trades > 100
        seen.append(found.trades)
        for name in set(FIGURES) - {"bars", "trades"}:
            expected = getattr(whole.equity if hasattr(whole.equity, name) else whole.trades, name)
            # Sums of floats against decimals rounded once. No losing day, no Sortino ratio.
            near = None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-9)
            assert getattr(found, name) == near, name
        exact = sorted(float(one.pnl) for one in figures(result).trips)
        assert sorted(trade_results(result.fills)[0].tolist()) == pytest.approx(exact, rel=1e-7, abs=1e-8)
    assert len(set(seen)) > 1


def test_a_run_without_trades_has_what_it_determines(tmp_path: Path) -> None:
    file = data.load(f"{market(tmp_path / 'walk.csv', 30)}=sim/AAA@1m")
    bot = BotPlan(name="one", venue="sim", symbol="AAA", params={"fast": 50, "slow": 90})
    result = play(Plan(symbols=data.symbol_plans([file]), bots=(bot,)), data.windows([file]))
    found = summary(result)
    assert (found.bars, found.trades, found.net_profit, found.total_return, found.max_drawdown) == (30, 0, 0, 0, 0)
    assert (found.sharpe, found.win_rate, found.profit_factor, found.fees, found.final) == (None, None, None, 0, 1e5)
    nothing = play(Plan(symbols=data.symbol_plans([file]), bots=(bot,)), [])
    assert summary(nothing).max_drawdown is None


@given(st.lists(st.integers(1, 40 * 48), unique=True, max_size=60), st.booleans())
def test_daily_returns_need_the_last_points_of_days_alone(halves: list[int], continuous: bool) -> None:
    ts = np.array(sorted(halves), np.int64) * 1_800_000_000
    equity = np.linspace(100, 120, len(ts)) + np.arange(len(ts)) % 2
    curve = Curve("USD", 100.0, ts, equity, equity * 0, equity > 0)
    returns, periods = kpis.daily(few(curve), continuous=continuous)
    expected, year = kpis.daily(curve, continuous=continuous)
    assert (returns.tolist(), periods) == (expected.tolist(), year)


def line(number: int, params: dict[str, Any], value: float | None, **more: Any) -> Line:
    figures: dict[str, float | None] = dict.fromkeys(FIGURES, 0.0) | {"sharpe": value, "net_profit": value}
    if "error" in more:
        figures = {}
    return Line(
        key=f"{number:016x}", **{"instrument": "a/B", "period": "all", "params": params, "figures": figures} | more
    )


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    values = [1, 1.5, True, None, "text", "1", "true", "a,b", 'say "x"', "two\nlines", "", {"a": [1]}, [], "é$"]
    said = [line(n, {"p": one, "q": n}, n / 3, digest="d" * 32, seconds=0.25) for n, one in enumerate(values)]
    said.append(line(99, {"p": 0, "q": 0}, None, error='Bad: "quoted", with a comma'))
    with Results(tmp_path, ["p", "q"]) as results:
        for one in said:
            results.add(one)
        found = list(results)
    assert [(type(one.params["p"]), one.params["p"]) for one in found[:-1]] == [(type(one), one) for one in values]
    assert [one.figures for one in found[:-1]] == [one.figures for one in said[:-1]]
    assert found[-1].error == said[-1].error
    assert set(found[-1].figures.values()) == {None}


def test_a_line_that_is_not_whole_is_cut_off_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    with Results(tmp_path, ["p"]) as results:
        results.add(line(1, {"p": 1}, None, error="no"))
        results.add(line(1, {"p": 1}, 5.0))
        results.add(line(2, {"p": 2}, 6.0, digest="x"))
    path = tmp_path / "results.csv"
    path.write_bytes(path.read_bytes() + b"0000000000000003,a/B,all,3,")
    with Results(tmp_path, ["p"]) as results:
        assert results.done(digest=False).tolist() == [1, 2]
        assert results.done(digest=True).tolist() == [2]
        results.add(line(3, {"p": 3}, 7.0))
        keys = np.array([1, 3], np.uint64)
        assert [(one.params["p"], one.figures["sharpe"], one.error) for one in results.of(keys)] == [
            (1, 5.0, ""),
            (3, 7.0, ""),
        ]
        with pytest.raises(SweepError, match="another sweep writes"):
            Results(tmp_path, ["p"])
    with pytest.raises(SweepError, match="another folder"):
        Results(tmp_path, ["other"])
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match="cannot be written"):
        Results(tmp_path / "file" / "below", ["p"])


@settings(max_examples=40)
@given(st.permutations(range(24)), st.integers(1, 30))
def test_ranks_do_not_depend_on_the_order_of_the_lines(order: list[int], count: int) -> None:
    said = [line(n, {"p": n}, [3.0, -1.0, math.nan, 3.0][n % 4] if n % 4 != 2 else None) for n in range(23)]
    said.append(line(23, {"p": 23}, None, error="broken"))
    found = ranked([said[n] for n in order], "sharpe", count)
    places = sorted((n for n in range(23) if n % 4 != 2), key=lambda n: (n % 4 == 1, n))
    assert [one.params["p"] for one in found.best] == places[:count]
    assert (found.runs, found.gained, found.median, found.errors) == (17, 11, 3.0, (("broken", 1),))


def test_the_least_fees_are_the_best() -> None:
    said = [line(n, {"p": n}, 0.0) for n in range(3)]
    for one, fee in zip(said, (3.0, 1.0, 2.0), strict=True):
        one.figures["fees"] = fee
    assert [one.params["p"] for one in ranked(said, "fees", 3).best] == [1, 2, 0]


def test_axes_of_the_map_are_those_with_most_values() -> None:
    assert heat.choose({"a": 2, "b": 9, "c": 4, "period": 1}) == ("b", "c")
    assert heat.choose({"a": 9, "b": 1, "c": 9}) == ("a", "c")
    assert heat.choose({"a": 9, "b": 1}) == ("a", None)
    assert heat.choose({"a": 1}) is None
    assert heat.choose({"a": 2, "b": 9}, ["a", "b"]) == ("a", "b")


def test_cells_are_the_median_or_the_best_of_their_runs_and_the_title_says_so(tmp_path: Path) -> None:
    said = [
        line(n, {"a": a, "b": b, "s": s}, value)
        for n, (a, b, s, value) in enumerate(
            [(10, "x", 1, 1.0), (10, "x", 2, 3.0), (10, "x", 3, -8.0), (9, "x", 1, 4.0), (9, "y", 1, None)]
        )
    ]
    found = heat.gathered(said, "sharpe", ("a", "b"), "median", ["a", "b", "s"])
    assert (found.xs, found.ys) == ((9, 10), ("x", "y"))
    assert found.cells.tolist() == [[4.0, 1.0], pytest.approx([math.nan, math.nan], nan_ok=True)]
    assert heat.title(found) == "sharpe over a and b: the median of up to 3 runs over s"
    best = heat.gathered(said, "sharpe", ("a", "b"), "best", ["a", "b", "s"])
    assert best.cells[0].tolist() == [4.0, 3.0]
    alone = heat.gathered(said[3:4], "sharpe", ("a", None), "best", ["a"])
    assert heat.title(alone) == "sharpe over a"
    for number, one in enumerate((found, best, alone, heat.gathered(said[4:], "sharpe", ("a", "b"), "best", []))):
        path = tmp_path / f"{number}.png"
        heat.write(path, one)
        first = path.read_bytes()
        assert first.startswith(b"\x89PNG")
        heat.write(path, one)
        assert path.read_bytes() == first
