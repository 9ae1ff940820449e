"""backtesting.py's SMA 10/30 flip on GOOG's daily bars, with the figures its authors publish, trade by trade.

Their figures are binary floats, printed as percentages with 6 to 11 decimals; that is the tolerance here.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.plan import Sizing
from infra.backtest.data import MarketFile
from infra.backtest.kpis import daily
from infra.backtest.result import Result
from tests.data import path

from .playing import DAY_US, play, reported

FOLDER = "backtesting.py"
Played = tuple[Result, list[MarketFile]]


@pytest.fixture(scope="module")
def played() -> Played:
    return play(
        f"{FOLDER}/GOOG.csv=nasdaq/GOOG", "SmaFlip", Sizing(method="all-in"), close_last="open", calendar="XNAS"
    )


@pytest.fixture(scope="module")
def kpis(played: Played, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return reported(*played, tmp_path_factory.mktemp("goog"))


@pytest.fixture(scope="module")
def folder(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("goog-report")
    reported(*played, where)
    return where


def rows(name: str) -> list[dict[str, str]]:
    with path(f"published/{FOLDER}/{name}").open(newline="") as lines:
        return list(csv.DictReader(lines))


def close_of(day: str) -> int:
    """A daily bar of day D closes at 00:00 UTC of D + 1."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000 + DAY_US


def test_the_data_are_whole(played: Played) -> None:
    (market,) = played[0].markets
    assert (market.bars, market.gaps, market.flags, market.quarantined) == (2148, 0, {}, {})
    assert (played[1][0].tick, played[1][0].lot) == (played[0].plan.symbols[0].tick, played[0].plan.symbols[0].lot)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("trades", 66),
        ("final", 51_422.99),
        ("peak", 75_787.44),
        ("total_return", 4.142299),
        ("win_rate", 0.46969697),
        ("best_trade", 0.53595952),
        ("worst_trade", -0.18398874),
        ("average_trade_geometric", 0.02531715975),
        ("average_trade", 0.03274807807),  # which they call expectancy
        ("profit_factor_returns", 2.167945974),  # theirs adds up returns of trades, not money
        ("max_drawdown", -0.4798012705),
        ("average_drawdown", -0.05925851582),
        ("max_drawdown_days", 584),
        ("longest_trade_days", 183),
        ("sqn", 1.076618736),
        ("kelly", 0.1518705127),
        ("exposure", 0.96741154562),
        ("cagr", 0.21160245706),
    ],
)
def test_a_published_figure(kpis: dict[str, Any], name: str, published: float) -> None:
    # Half a unit of the eighth decimal of a fraction, the sixth of a percentage: what is printed.
    assert kpis[name] == pytest.approx(published, rel=1e-9, abs=5e-9)


def test_durations_that_are_published_in_whole_days(kpis: dict[str, Any]) -> None:
    """41 and 46 days there, where averages are rounded up to whole days."""
    assert (np.ceil(kpis["average_drawdown_days"]), np.ceil(kpis["average_trade_days"])) == (41, 46)


def test_figures_of_another_convention_come_out_of_the_same_daily_returns(played: Played, kpis: dict[str, Any]) -> None:
    """Return, volatility, Sharpe, Sortino and Calmar a year are built on compounded returns there.

    Ours are the usual ones on arithmetic means (README), so they differ: Sharpe 0.798 and 0.581, volatility 29.5 %
    and 36.5 %. From our daily returns their formulas give their figures.
    """
    returns, periods = daily(played[0].curves["main"], continuous=False)
    growth = float(np.exp(np.log1p(returns).sum() / len(returns)))
    yearly = growth**periods - 1
    spread = np.sqrt((returns.var(ddof=1) + growth**2) ** periods - growth ** (2 * periods))
    downside = np.sqrt(np.mean(np.minimum(returns, 0) ** 2)) * np.sqrt(periods)
    assert periods == kpis["periods_per_year"] == 252
    assert yearly == pytest.approx(0.21191099249, rel=1e-8)
    assert spread == pytest.approx(0.36497160907, rel=1e-8)
    assert yearly / spread == pytest.approx(0.5806232244, rel=1e-8)
    assert yearly / downside == pytest.approx(1.0853434352, rel=1e-8)
    assert yearly / -kpis["max_drawdown"] == pytest.approx(0.441664092, rel=1e-8)
    assert kpis["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))


def test_every_trade_is_the_published_one(played: Played, folder: Path) -> None:
    published = rows("A_goog_smacross_10_30_trades.csv")
    bars = {close_of(row[""]): place for place, row in enumerate(rows("GOOG.csv"))}
    with (folder / "trades.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert len(found) == 66
    for theirs, ours in zip(published, found, strict=True):
        sign = 1 if ours["side"] == "long" else -1
        assert sign * int(ours["qty"]) == int(theirs["Size"])
        stamps = [int(datetime.fromisoformat(ours[name]).timestamp()) * 1_000_000 for name in ("opened", "closed")]
        assert [bars[ts] for ts in stamps] == [int(theirs["EntryBar"]), int(theirs["ExitBar"])]
        assert stamps == [close_of(theirs["EntryTime"]), close_of(theirs["ExitTime"])]
        prices = [float(ours[name]) for name in ("entry_price", "exit_price")]
        assert prices == [float(theirs["EntryPrice"]), float(theirs["ExitPrice"])]
        # Theirs are sums of binary floats, ours is exact: the same to the last digits of a float.
        assert float(ours["pnl"]) == pytest.approx(float(theirs["PnL"]), abs=1e-9)
        assert float(ours["return"]) == pytest.approx(float(theirs["ReturnPct"]), abs=1e-12)


def test_the_equity_of_every_day_is_the_published_one(played: Played) -> None:
    published = rows("A_goog_smacross_10_30_equity.csv")
    curve = played[0].curves["main"]
    assert curve.ts.tolist() == [close_of(row[""]) for row in published]
    # Theirs carry the noise of 66 float additions, about 4e-11.
    assert curve.equity.tolist() == pytest.approx([float(row["Equity"]) for row in published], abs=1e-9)
    assert curve.equity[-1] == 51_422.99


def test_the_last_position_is_closed_at_the_last_open(played: Played) -> None:
    result = played[0]
    last = result.fills[-1]
    assert (str(last.price), last.role, str(last.position), len(result.holdings)) == ("797.8", "exit", "0", 0)
    assert result.counts["trading-restricted"] == 1


def test_left_open_it_counts_at_the_last_close() -> None:
    result, _ = play(f"{FOLDER}/GOOG.csv=nasdaq/GOOG", "SmaFlip", Sizing(method="all-in"), calendar="XNAS")
    (holding,) = result.holdings
    assert (len(result.fills), str(holding.mark)) == (131, "806.19")
    assert result.curves["main"].equity[-1] == pytest.approx(51_422.99 + float(holding.qty) * (806.19 - 797.80))


def test_the_chart_is_a_png_and_the_report_is_whole(folder: Path) -> None:
    image = (folder / "equity.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert b"tIME" not in image
    assert b"Software" not in image
    names = {"kpis.json", "trades.csv", "config.json", "equity.png", "digest.txt", "assumptions.txt"}
    assert {one.name for one in folder.iterdir()} == names


def test_the_report_is_the_same_bytes_again(played: Played, folder: Path, tmp_path: Path) -> None:
    again = play(
        f"{FOLDER}/GOOG.csv=nasdaq/GOOG", "SmaFlip", Sizing(method="all-in"), close_last="open", calendar="XNAS"
    )
    reported(*again, tmp_path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {
        one.name: one.read_bytes() for one in folder.iterdir()
    }
