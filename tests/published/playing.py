"""The way a published backtest goes here: a file, an import, the actors of a plan, a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Plan, Sizing
from infra.backtest import data, report
from infra.backtest.engine import CloseLast, backtest
from infra.backtest.result import Result
from tests.data import path

DAY_US = 86_400_000_000


def play(
    spec: str, strategy: str, sizing: Sizing, *, close_last: CloseLast = None, params: dict[str, Any] | None = None,
    **symbol: Any,
) -> tuple[Result, list[data.MarketFile]]:  # fmt: skip
    """One bot with 10,000 on one daily file, `spec` below the published data: no fees, slippage or bound on size."""
    file = data.load(f"{path('published') / spec}")
    bot = BotPlan(
        name="bot", venue=file.venue, symbol=file.symbol, timeframe="1d",
        strategy=f"tests.published.strategies:{strategy}", params=params or {}, sizing=sizing,
    )  # fmt: skip
    account = AccountPlan(
        currency="USD", cash=Decimal(10_000), fees=Fees(maker=Decimal(0), taker=Decimal(0)),
        fills=FillModel(slippage=Decimal(0), participation=None),
    )  # fmt: skip
    plan = Plan(symbols=data.symbol_plans([file], **symbol), bots=(bot,), accounts=(account,))
    return backtest(plan, data.stream([file]), close_last=close_last), [file]


def reported(result: Result, files: Sequence[data.MarketFile], folder: Path) -> dict[str, Any]:
    """The figures as they stand in the report's kpis.json."""
    report.write(result, folder, files)
    found: dict[str, Any] = json.loads((folder / "kpis.json").read_text())["portfolio"]
    return found
