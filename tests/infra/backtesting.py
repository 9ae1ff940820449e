"""Two days of two recorded futures markets, three shipped bots on each: what several backtest tests play.

Run as a program it prints the digest, so that a test can have it from another process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from actors.plan import BotPlan, Plan
from actors.strategies import SHIPPED
from events.timeframe import DAY
from infra.backtest import data
from infra.backtest.engine import backtest
from infra.session.market import Stamped

FOLDER = "crypto_klines/binance_usdm_futures_2025_freqtrade_feather"
SYMBOLS = ("BTC", "ETH")


def named(root: Path, coin: str) -> str:
    return f"{root / FOLDER / f'{coin}_USDT_USDT-1m-futures.feather'}=binance/{coin}-USDT"


@lru_cache(maxsize=4)
def files(root: Path) -> tuple[data.MarketFile, ...]:
    return tuple(data.load(named(root, coin)) for coin in SYMBOLS)


def plan(root: Path) -> Plan:
    symbols = data.symbol_plans(files(root), timeframes=("5m", "15m"))
    bots = tuple(
        BotPlan(name=f"{strategy}-{one.symbol}", venue=one.venue, symbol=one.symbol, timeframe="5m", strategy=strategy)
        for one in symbols
        for strategy in SHIPPED
    )
    return Plan(symbols=symbols, bots=bots)


def stream(root: Path, days: float = 2.0) -> Iterator[Stamped]:
    found = files(root)
    candles = found[0].candles
    assert candles is not None
    return data.stream(found, end=int(candles.ts[0]) + int(days * DAY))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    sys.stdout.write(f"{os.environ['PYTHONHASHSEED']} {backtest(plan(where), stream(where)).digest}\n")
