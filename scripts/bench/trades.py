"""Trades event by event: a strategy of the bars made of them, one that hears each of them, and none.

`python -m scripts.bench.trades` prints one JSON object. Floors: the same strategy over ready-made facts in a bare loop,
with nothing of an engine. The common work (EMA cross, 2,806 fills) runs on the trades of the benchmark, which are only
four a bar; the others on these and, squeezed in time, on a hundred a bar.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from actors.plan import Plan
from actors.strategies import FLAT, Position, Strategy, Target
from events.market import Trade
from infra.backtest import data
from infra.backtest.tickfiles import Rows, windows
from infra.backtest.ticks import play_trades
from scripts.bench.engine import plan
from scripts.bench.market import TRADES_SPEC, ensure_trades

SQUEEZED = 25
ROUNDS = 3 if os.environ.get("TICKERTAPE_BENCH_QUICK") else 7


class Mean(Strategy):
    """As light as a strategy of trades can be."""

    def __init__(self) -> None:
        self.mean = 0.0

    def on_trade(self, trade: Trade, position: Position) -> Target | None:
        self.mean += (trade.price - self.mean) * 0.01
        return None


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def squeezed(file: data.MarketFile) -> data.MarketFile:
    rows = file.trades
    ts = rows.ts[0] + (rows.ts - rows.ts[0]) // SQUEEZED
    return msgspec.structs.replace(file, trades=Rows(ts, rows.price, rows.qty, rows.side, rows.id))


def with_strategy(made: Plan, strategy: str | None) -> Plan:
    bots = [] if strategy is None else [msgspec.structs.replace(made.bots[0], strategy=strategy, params={})]
    return msgspec.structs.replace(made, bots=tuple(bots))


def loop(trades: list[Trade]) -> None:
    on_trade = Mean().on_trade
    for trade in trades:
        on_trade(trade, FLAT)


def measured() -> dict[str, dict[str, Any]]:
    """Medians of interleaved rounds."""
    ensure_trades()
    file = data.load(TRADES_SPEC)
    rows, made = file.trades, plan([file])
    facts = [
        Trade("bench", "X", *numbers, "buy", name)
        for *numbers, name in zip(rows.ts.tolist(), rows.price.tolist(), rows.qty.tolist(), rows.id, strict=True)
    ]
    hears, none = with_strategy(made, f"{__name__ if __name__ != '__main__' else 'scripts.bench.trades'}:Mean"), None
    few, many = [file], [squeezed(file)]
    works: dict[str, tuple[str, Callable[[], object]]] = {
        "floor": ("", lambda: loop(facts)),
        "ema_cross": ("EMA 10/20 cross of 1-minute bars, four trades each, 2,806 fills",
                      lambda: play_trades(made, windows(few))),
        "ema_cross_without_digest": ("the same, digest left out",
                                     lambda: play_trades(made, windows(few), digest=False)),
        "ema_cross_100_a_bar": ("the same on a hundred trades a bar", lambda: play_trades(made, windows(many))),
        "on_trade_100_a_bar": ("a mean of every trade, nothing wanted", lambda: play_trades(hears, windows(many))),
        "no_bots_100_a_bar": ("bars and their digest alone",
                              lambda: play_trades(with_strategy(made, none), windows(many))),
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (_, work) in works.items():
            found[name].append(seconds(work))
    floors, count = found.pop("floor"), len(facts)
    return {
        name: {
            "value": round(count / statistics.median(taken)),
            "unit": "trades/s",
            "floor": round(count / statistics.median(floors)),
            "ratio": round(statistics.median(b / a for a, b in zip(taken, floors, strict=True)), 3),
            "note": works[name][0],
            **({"goal": {"better": "more", "value": 1e6}} if name in ("ema_cross", "on_trade_100_a_bar") else {}),
        }
        for name, taken in found.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(), indent=1) + "\n")
