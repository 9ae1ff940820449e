"""Shipped strategies against an independent reading of their rules on real candles, and how strategies are found."""

from __future__ import annotations

import sys
from copy import deepcopy
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib

from actors.strategies import FLAT, SHIPPED, Position, Strategy, Target, UnknownStrategy, create, find
from events.block import candles
from tests.actors import real

ROWS = 5_000
LONG, SHORT = Position(Decimal(1), Decimal(100)), Position(Decimal(-1), Decimal(100))
Answer = tuple[int, float]
"""Row, target."""


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    columns = real.futures("BTC", "1m")[:ROWS]
    names = ("ts", "open", "high", "low", "close", "volume")
    return pd.DataFrame({name: getattr(columns, name) for name in names})


def shown(strategy: Strategy, market: pd.DataFrame, position: Position | None = FLAT) -> list[tuple[int, Target]]:
    """What it answers; `position` None: as if every answer were filled at once."""
    found, held = [], FLAT if position is None else position
    for row, candle in enumerate(candles("sim", "A", "1m", real.futures("BTC", "1m")[: len(market)])):
        target = strategy.on_candle(candle, held)
        if target is not None:
            found.append((row, target))
            if position is None:
                held = {1.0: LONG, 0.0: FLAT, -1.0: SHORT}[target.target]
    return found


def turns(line: np.ndarray[Any, Any], known: np.ndarray[Any, Any]) -> list[tuple[int, bool]]:
    """(row, upwards) where a line of yes and no changes, from the first row on where it is known."""
    rows = np.flatnonzero(known)
    return [(int(b), bool(line[b])) for a, b in pairwise(rows) if line[a] != line[b]]


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(("fast", "slow"), [(10, 20), (3, 50)])
def test_ema_cross_is_where_talibs_averages_cross(market: pd.DataFrame, fast: int, slow: int, short: bool) -> None:
    close = market["close"].to_numpy()
    quick, calm = talib.EMA(close, fast), talib.EMA(close, slow)
    down = -1.0 if short else 0.0
    expected = [(row, 1.0 if up else down) for row, up in turns(quick > calm, ~np.isnan(calm))]
    found = shown(create("ema-cross", {"fast": fast, "slow": slow, "short": short}), market)
    assert [(row, target.target) for row, target in found] == expected
    assert len(expected) > 50
    assert all(target.stop is target.take_profit is target.trail is None for _, target in found)


def test_ema_cross_puts_its_bracket_in_atr(market: pd.DataFrame) -> None:
    h, l, c = (market[name].to_numpy() for name in ("high", "low", "close"))
    atr = talib.ATR(h, l, c, 14)
    found = shown(create("ema-cross", {"short": True, "stop_atr": 2.0, "target_atr": 3.0}), market)
    for row, target in found:
        # Relative: TA-Lib sums in another order.
        assert target.stop == pytest.approx(c[row] - target.target * 2 * atr[row], rel=1e-12)
        assert target.take_profit == pytest.approx(c[row] + target.target * 3 * atr[row], rel=1e-12)
    assert {target.target for _, target in found} == {1.0, -1.0}


@pytest.mark.parametrize("position", [FLAT, LONG, SHORT], ids=["flat", "long", "short"])
@pytest.mark.parametrize(("short", "rsi_long"), [(True, 50.0), (False, 50.0), (True, 60.0)])
def test_momentum_is_where_talibs_histogram_turns_and_rsi_agrees(
    market: pd.DataFrame, position: Position, short: bool, rsi_long: float
) -> None:
    h, l, c = (market[name].to_numpy() for name in ("high", "low", "close"))
    rsi, atr = talib.RSI(c, 14), talib.ATR(h, l, c, 14)
    histogram = talib.MACD(c, 12, 26, 9)[2]
    expected: list[Answer] = []
    for row, up in turns(histogram > 0, ~np.isnan(histogram)):
        if up and rsi[row] > rsi_long:
            expected.append((row, 1.0))
        elif not up and rsi[row] < 100 - rsi_long and short:
            expected.append((row, -1.0))
        elif position:
            expected.append((row, 0.0))
    found = shown(create("momentum", {"short": short, "rsi_long": rsi_long}), market, position)
    assert [(row, target.target) for row, target in found] == expected
    assert len(expected) > 20
    for row, target in found:
        if target.target:
            assert target.stop == pytest.approx(c[row] - target.target * 2 * atr[row], rel=1e-12)
            assert target.take_profit == pytest.approx(c[row] + target.target * 4 * atr[row], rel=1e-12)
            assert target.confidence == pytest.approx(min(1, abs(rsi[row] - 50) / 50), rel=1e-9)


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(("entry", "leave"), [(20, 10), (55, 20)])
def test_breakout_is_where_the_close_leaves_the_channel_of_the_candles_before(
    market: pd.DataFrame, entry: int, leave: int, short: bool
) -> None:
    before = market.shift(1)
    top, bottom = before["high"].rolling(entry).max(), before["low"].rolling(entry).min()
    exit_top, exit_bottom = before["high"].rolling(leave).max(), before["low"].rolling(leave).min()
    atr = talib.ATR(*(market[name].to_numpy() for name in ("high", "low", "close")), 14)
    expected: list[Answer] = []
    held = 0
    for row, close in enumerate(market["close"]):
        if np.isnan(top[row]) or np.isnan(atr[row]):
            continue
        wish = held
        if close > top[row] and held <= 0:
            wish = 1
        elif close < bottom[row] and held >= 0 and short:
            wish = -1
        elif (held > 0 and close < exit_bottom[row]) or (held < 0 and close > exit_top[row]):
            wish = 0
        if wish != held:
            expected.append((row, float(wish)))
            held = wish
    found = shown(create("breakout", {"entry": entry, "exit": leave, "short": short}), market, position=None)
    assert [(row, target.target) for row, target in found] == expected
    assert len(expected) > 50
    for row, target in found:
        assert target.trail == (pytest.approx(3 * atr[row], rel=1e-12) if target.target else None)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_strategy_is_what_it_has_seen(market: pd.DataFrame, name: str) -> None:
    one, other = create(name, {}), create(name, {})
    assert one == other
    shown(one, market[:300])
    assert one != other
    copy = deepcopy(one)
    assert copy == one
    shown(other, market[:300])
    assert other == one
    rest = market[:40]
    assert shown(copy, rest) == shown(one, rest)
    assert copy == one != other  # a copy shares nothing with what it was taken from
    assert one != create(next(kind for kind in SHIPPED if kind != name), {})


@pytest.mark.parametrize(("name", "params"), [("ema-cross", {"fast": 3}), ("breakout", {"trail_atr": 2.0})])
def test_other_parameters_make_another_strategy(name: str, params: dict[str, Any]) -> None:
    assert create(name, params) != create(name, {})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ema-cros", "the nearest is 'ema-cross'"),
        ("Breakout", "the nearest is 'breakout'"),
        ("zzz", "shipped are ema-cross, momentum, breakout; your own is written 'module:Class'"),
        ("no.such.module:X", "cannot be imported: No module named 'no'"),
        ("decimal:Decimals", "cannot be imported: module 'decimal' has no attribute 'Decimals'"),
        ("decimal:Decimal", "is no subclass of actors.strategies.Strategy"),
        ("decimal:getcontext", "is no subclass of actors.strategies.Strategy"),
        (":X", "cannot be imported: ValueError: Empty module name"),
    ],
)
def test_a_strategy_that_is_not_there_is_refused_with_what_to_write(name: str, said: str) -> None:
    with pytest.raises(UnknownStrategy) as found:
        find(name)
    assert said in str(found.value)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("ema-cross", {"fats": 3}, "unexpected keyword argument 'fats'"),
        ("ema-cross", {"fast": 20, "slow": 10}, r"fast (20) must be shorter than slow (10)"),
        ("ema-cross", {"fast": "3"}, "does not take {'fast': '3'}"),
        ("ema-cross", {"stop_atr": -1.0}, "distances in ATR"),
        ("momentum", {"stop_atr": 0}, "must be positive"),
        ("momentum", {"rsi": 0}, "must be an integer of at least"),
        ("breakout", {"entry": 5, "exit": 9}, "exit (9) must be within 1 and entry (5)"),
        ("breakout", {"entry": 5.5, "exit": 3}, "must be an integer"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(UnknownStrategy, match="does not take") as found:
        create(name, params)
    assert said in str(found.value)


OWN = """
from actors.strategies import Strategy, Target


class Dip(Strategy):
    def __init__(self, below: float = 1.0):
        self.below = below

    def on_candle(self, candle, position):
        return Target(1.0) if candle.close < self.below else None
"""


def test_a_strategy_of_ones_own_lies_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_strategy_dip.py").write_text(OWN)
    (tmp_path / "own_strategy_broken.py").write_text("def f(:\n")
    (tmp_path / "own_strategy_raising.py").write_text("raise KeyError('at import')\n")
    strategy = create("own_strategy_dip:Dip", {"below": 5.0})
    assert vars(strategy) == {"below": 5.0}
    assert strategy == create("own_strategy_dip:Dip", {"below": 5.0}) != create("own_strategy_dip:Dip", {})
    for broken, said in (("broken", "SyntaxError"), ("raising", "KeyError")):
        with pytest.raises(UnknownStrategy, match=rf"'own_strategy_{broken}:X' cannot be imported: .*{said}"):
            find(f"own_strategy_{broken}:X")


def test_a_strategy_that_says_nothing_says_so(market: pd.DataFrame) -> None:
    with pytest.raises(NotImplementedError, match="Strategy must say what it wants in on_candle"):
        shown(Strategy(), market[:1])
