"""backtrader's close-over-SMA(15) on 2006's daily bars, with its published fills, and its futures-like sweep."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from actors.plan import Sizing

from .playing import play, reported

SPEC = "backtrader/2006-day-001.txt=eurex/STOXX50"
ONE = Sizing(method="quantity", value=Decimal(1))
BUYS = "3643.35 3801.03 3872.37 3863.57 3845.32 3656.43 3542.65 3639.65 3799.86 3840.20 4047.63 4052.55"
SELLS = "3763.95 3811.85 3822.35 3822.57 3829.82 3598.58 3545.92 3766.80 3782.15 3979.73 4045.05"
BUY_CLOSES = "3641.42 3798.46 3874.61 3860.00 3843.08 3648.33 3526.84 3632.93 3788.96 3841.31 4045.22 4052.89"
SELL_CLOSES = "3763.73 3811.45 3823.11 3821.97 3837.86 3604.33 3562.56 3772.21 3780.18 3974.62 4048.16"
SWEEP = (
    "14525.80 14525.80 15408.20 15408.20 14763.90 14763.90 14763.90 14763.90 14763.90 14763.90 14763.90 14763.90 "
    "14763.90 14763.90 13187.10 13187.10 13187.10 13684.40 13684.40 13684.40 13684.40 13684.40 13684.40 13656.10 "
    "13656.10 13656.10 13656.10 12988.10 12988.10 12988.10 12988.10 12988.10 12988.10 12988.10 12988.10 12988.10 "
    "12988.10 12988.10 12988.10 12988.10"
)
"""For periods 5, 6, ... 44: one buy at the first cross up, kept to the end; 10 units a point and a commission of 2."""


def test_fills_and_value_are_the_published_ones(tmp_path: Path) -> None:
    result, files = play(SPEC, "CloseCross", ONE, empty="omit")
    for side, prices in (("buy", BUYS), ("sell", SELLS)):
        assert [one.price for one in result.fills if one.side == side] == [Decimal(price) for price in prices.split()]
    assert result.fills[-1].cash == Decimal("6164.16")
    kpis = reported(result, files, tmp_path)
    assert (kpis["final"], kpis["trades"]) == (10_284.10, 11)
    assert [(one.qty, one.mark) for one in result.holdings] == [(Decimal(1), Decimal("4119.94"))]


def test_signals_come_on_the_published_closes() -> None:
    result, _ = play(SPEC, "CloseCross", ONE, empty="omit")
    for target, closes in ((1.0, BUY_CLOSES), (0.0, SELL_CLOSES)):
        found = [one.price for one in result.signals if one.target == target]
        assert found == [float(price) for price in closes.split()]


@pytest.mark.parametrize(("period", "value"), list(zip(range(5, 45), SWEEP.split(), strict=True)))
def test_one_run_of_the_published_sweep(period: int, value: str) -> None:
    """Each run is one of its own: nothing is kept from one to the next. Stock-like here, so the gain is times ten."""
    result, _ = play(SPEC, "BuyOnce", ONE, empty="omit", params={"period": period})
    (fill,) = result.fills
    gain = result.holdings[0].mark - fill.price
    assert Decimal(10_000) + 10 * gain - 2 == Decimal(value)
