"""Compiled or not: the same words are hashed, and the same curves and figures come out, to the bit."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from actors import kernels
from actors.account.terms import decimals_of
from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Plan, Sizing, SymbolPlan
from events.block import Columns
from infra.backtest.engine import play
from infra.backtest.result import Curve, Result
from infra.backtest.shared import Shared, warm
from infra.backtest.sketch import max_drawdown
from infra.sweep.summary import summary
from tests.infra.test_backtest_parity import walk

ROWS = 6_000


def made(short: bool, slippage: str, fee: str, sizing: Sizing, cash: int) -> Plan:
    fees, fills = (
        Fees(maker=Decimal(fee), taker=Decimal(fee)),
        FillModel(slippage=Decimal(slippage), participation=None),
    )
    params = {"fast": 2, "slow": 5, "short": short}
    return Plan(
        symbols=(SymbolPlan(venue="v", symbol="S"),),
        bots=(BotPlan(name="b", venue="v", symbol="S", params=params, sizing=sizing),),
        accounts=(AccountPlan(cash=Decimal(cash), fees=fees, fills=fills),),
    )


def run(plan: Plan, rows: Columns, shared: Shared | None) -> Result:
    windows = [{"feed.v.S": rows[slice(at, at + 1_500)]} for at in range(0, ROWS, 1_500)]
    return play(plan, windows, shared=shared)


@pytest.mark.parametrize(
    ("short", "slippage", "fee", "size", "cash"),
    [
        (False, "0", "0.001", Sizing(method="quantity", value=Decimal(1)), 1_000_000),
        (True, "0.0005", "0.00075", Sizing(method="quantity", value=Decimal("0.03")), 100_000),
        (True, "0", "-0.0001", Sizing(method="fraction", value=Decimal("0.5")), 10_000),
        (False, "0", "0.001", Sizing(method="quantity", value=Decimal(7)), 1_500),  # the money does not always suffice
        (False, "0.001", "0", Sizing(method="quantity", value=Decimal(1)), 99_999),  # one more digit, or not
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_runs_come_to_the_same(
    short: bool, slippage: str, fee: str, size: Sizing, cash: int, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm()
    plan, rows, loops, found = made(short, slippage, fee, size, cash), walk(7, ROWS), kernels.loops(), []
    for one in (None, loops):
        monkeypatch.setattr(kernels._Kernels, "loops", one)
        monkeypatch.setattr(kernels._Kernels, "passed", 0)
        result = run(plan, rows, Shared() if many else None)
        found.append((result.digests, result.entries, result.holdings, summary(result), result.curves["main"]))
        assert len(result.fills) > 100
    (*slow, before), (*fast, after) = found
    assert slow == fast
    for name in ("ts", "equity", "gross", "held"):
        assert getattr(before, name).tobytes() == getattr(after, name).tobytes(), name


def test_the_deepest_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    warm()
    loops = kernels.loops()
    for seed in range(20):
        random = np.random.default_rng(seed)
        steps = random.normal(0, 10.0 ** random.integers(-9, 3), 3_000)
        equity = 1_000 + np.cumsum(steps * (random.random(3_000) < 0.2))
        none = np.empty(0)
        curve = Curve("USD", 1_000.0, np.arange(3_000), equity, none, np.empty(0, np.bool_))
        found = []
        for one in (None, loops):
            monkeypatch.setattr(kernels._Kernels, "loops", one)
            found.append(max_drawdown(curve))
        assert found[0] == found[1]


@pytest.mark.parametrize("quantity", [9 * 10**18, 10**19, 10**20])
def test_a_quantity_beyond_all_columns_is_refused_by_the_account(
    quantity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm()
    plan = made(False, "0", "0.001", Sizing(method="quantity", value=Decimal(quantity)), 100_000)
    rows, loops, found = walk(7, ROWS), kernels.loops(), []
    for one in (None, loops):
        monkeypatch.setattr(kernels._Kernels, "loops", one)
        result = run(plan, rows, Shared())
        assert len(result.refusals) > 100
        assert not result.fills
        found.append(result.digests)
    assert found[0] == found[1]


def test_decimals_of_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    warm()
    random, loops = np.random.default_rng(3), kernels.loops()
    near = 2.0**53 / 100
    columns = [np.empty(0), np.array([1 / 3]), np.array([5.0, np.nan]), np.array([np.inf]), np.array([near, 0.25])]
    for places in range(15):
        columns.append(np.round(random.random(50) * 10.0 ** random.integers(0, 6), places))
    columns += [np.append(one, [0.125, 1e3]) for one in columns]
    found = []
    for one in (None, loops):
        monkeypatch.setattr(kernels._Kernels, "loops", one)
        found.append([decimals_of(column) for column in columns])
    assert found[0] == found[1]
    assert {None, 1, 2, 7} <= {*found[0]}
