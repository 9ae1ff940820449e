"""The backtest engine at the common work: EMA cross, long or flat, 1 unit, next open, fee 0.1 %, no slippage.

`python -m scripts.bench.engine PATH MARKET [--flat] [--fast N] [--slow N]` plays it once and prints one JSON object:
rows, trades, pnl, digest, and the seconds of import, load (file to columns), engine (columns to result).
PATH: `event` asks the strategy candle by candle, `column` block by block; both over columns. `message` plays one
message a candle through the loop that live lock-step has. With the market `eth-trades` every message is a trade, and
the 1-minute candles are made from them.
"""

from __future__ import annotations

import time

_EXEC = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from decimal import Decimal  # noqa: E402
from typing import Any  # noqa: E402

from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Plan, Sizing  # noqa: E402
from infra.backtest import data  # noqa: E402
from infra.backtest.engine import backtest, play  # noqa: E402
from infra.backtest.result import Result  # noqa: E402
from scripts.bench.market import MARKETS, TRADES, TRADES_SPEC  # noqa: E402

PATHS = ("column", "event", "message")
SPECS = {**{name: one.spec for name, one in MARKETS.items()}, TRADES: TRADES_SPEC}
CASH = 1_000_000
FEE = Decimal("0.001")


def account() -> AccountPlan:
    fees, fills = Fees(maker=FEE, taker=FEE), FillModel(slippage=Decimal(0), participation=None)
    return AccountPlan(currency="USD", cash=Decimal(CASH), fees=fees, fills=fills)


def plan(files: list[data.MarketFile], fast: int = 10, slow: int = 20) -> Plan:
    """The shipped cross, on every file."""
    one = Sizing(method="quantity", value=Decimal(1))
    params = {"fast": fast, "slow": slow}
    bots = tuple(
        BotPlan(name=f"cross-{file.symbol}", venue=file.venue, symbol=file.symbol, params=params, sizing=one)
        for file in files
    )
    return Plan(symbols=data.symbol_plans(files), bots=bots, accounts=(account(),))


def played(made: Plan, file: data.MarketFile, path: str) -> Result:
    """The one place where the benchmark calls the engine."""
    if path == "message":
        return backtest(made, data.stream([file]))
    return play(made, data.windows([file]), columns=path == "column")


def outcome(result: Result) -> dict[str, Any]:
    """An open position counts at the last close."""
    fills: dict[str, int] = {}
    for fill in result.fills:
        fills[fill.side] = fills.get(fill.side, 0) + 1
    pnl = sum(float(curve.equity[-1]) - curve.start for curve in result.curves.values())
    return {
        "trades": fills.get("sell", 0),  # long or flat: every sale ends a trade
        "orders": len(result.orders),
        "pnl": round(pnl, 6),
        "entries": result.entries,
        "digest": result.digest,
    }


def measure(path: str, spec: str, flat: bool, fast: int, slow: int) -> dict[str, Any]:
    imported = time.perf_counter()
    file = data.load(spec, flat=flat)
    loaded = time.perf_counter()
    result = played(plan([file], fast, slow), file, path)
    ended = time.perf_counter()
    return {
        "rows": sum(one.bars for one in result.markets) if file.trades is None else len(file.trades.ts),
        **outcome(result),
        "import_s": imported - _EXEC,
        "load_s": loaded - imported,
        "engine_s": ended - loaded,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=PATHS)
    parser.add_argument("market", choices=sorted(SPECS))
    parser.add_argument("--flat", action="store_true", help="read piece by piece while it plays")
    parser.add_argument("--fast", type=int, default=10)
    parser.add_argument("--slow", type=int, default=20)
    args = parser.parse_args()
    found = measure(args.path, SPECS[args.market], args.flat, args.fast, args.slow)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
