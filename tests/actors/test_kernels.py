"""Compiled recurrences round as Python does."""

from __future__ import annotations

import numpy as np
import pytest

from actors import kernels
from actors.indicators import EMA
from actors.plan import SymbolPlan
from actors.symbol import SymbolDecider, columns
from tests.infra.test_backtest_parity import walk


@pytest.mark.parametrize("readonly", [False, True])
def test_compiled_and_interpreted_agree_to_the_bit(readonly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).normal(100, 7, 20_000) * 10.0 ** np.random.default_rng(2).integers(-5, 5, 20_000)
    x.flags.writeable = not readonly
    slow, fast = np.empty_like(x), np.empty_like(x)
    monkeypatch.setattr(kernels._Kernels, "loops", None)
    monkeypatch.setattr(kernels._Kernels, "passed", 0)
    kernels.ema(x, 0.1, 3.0, slow)
    assert not kernels.is_warm()
    kernels.warm()
    kernels.ema(x, 0.1, 3.0, fast)
    assert kernels.is_warm()
    assert (slow.view(np.int64) == fast.view(np.int64)).all()


def test_much_work_loads_the_compiled_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels._Kernels, "loops", None)
    monkeypatch.setattr(kernels._Kernels, "passed", kernels.ENOUGH)
    one = EMA(3)
    found = one.run(np.arange(10.0))
    assert kernels.is_warm()
    other = EMA(3)
    assert found.tolist()[2:] == [other.update(value) for value in np.arange(10.0).tolist()][2:]


@pytest.mark.parametrize("spoiled", ["", "ts", "open", "high", "low", "close", "volume", "jump"])
def test_steady_candles(spoiled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled or not: the same windows are seen to be ordinary."""
    decider = SymbolDecider(SymbolPlan(venue="v", symbol="S"))
    rows = walk(1, 500)
    if spoiled == "ts":
        rows.ts[200:] += 60_000_000
    elif spoiled == "jump":
        for name in ("open", "high", "low", "close"):
            getattr(rows, name)[300:] *= 3
    elif spoiled:
        getattr(rows, spoiled)[499] = np.nan
    found = []
    kernels.warm()
    for loops in (None, kernels.loops()):
        monkeypatch.setattr(kernels._Kernels, "loops", loops)
        state = decider.initial()
        state.last, state.close = int(rows.ts[0]) - 60_000_000, 100.0
        found.append(columns._all_plain(decider.rules, state, rows) is not None)
    assert found == [not spoiled] * 2
