"""A small market to trade: files with noise that makes bots trade often, and a configuration for it."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

from actors.plan import AccountPlan, BotPlan, Sizing, SymbolPlan
from events.timeframe import MINUTE
from infra.config import Config, SessionSettings
from infra.services.settings import ServiceSettings

VENUE = "sim"
SYMBOLS = ("AAA-USDT", "BBB-USDT")
START = 1_700_000_040_000_000  # the close of the first bar
BARS = 3_000
SPEED = "600"  # ten bars a second of each symbol: slow enough to interfere, and the files last for five minutes


def config(folder: Path, tape: str, nats_url: str, postgres_dsn: str, processes: int) -> Config:
    """A bot and an account for each symbol: what stops one has nothing to do with the other. '': servers of its own."""
    names = [symbol.partition("-")[0].lower() for symbol in SYMBOLS]
    return Config(
        tape=tape,
        data_dir=str(folder / "data"),
        services=ServiceSettings(nats_url=nats_url or None, postgres_dsn=postgres_dsn or None),
        session=SessionSettings(processes=processes, dashboard=False),
        symbols=tuple(SymbolPlan(venue=VENUE, symbol=symbol, timeframes=("5m",)) for symbol in SYMBOLS),
        bots=tuple(
            BotPlan(name=name, account=name, venue=VENUE, symbol=symbol, params={"fast": 2, "slow": 4},
                    sizing=Sizing(value=Decimal("0.1")))
            for name, symbol in zip(names, SYMBOLS, strict=True)
        ),
        accounts=tuple(AccountPlan(name=name) for name in names),
    )  # fmt: skip


def feeds(folder: Path, bars: int = BARS) -> list[str]:
    """Words for `tape run`: a file per symbol, in the form of Binance's klines."""
    words = []
    for symbol in SYMBOLS:
        path = folder / f"{symbol}-1m.csv"
        chance, price, lines = random.Random(symbol), 100.0, []
        for number in range(bars):
            close = round(price * (1 + chance.uniform(-0.004, 0.004)), 2)
            low, high = min(price, close), max(price, close)
            stamp = (START - MINUTE + number * MINUTE) // 1000
            lines.append(f"{stamp},{price},{high},{low},{close},{chance.randint(1, 99)},{stamp + 59_999},0,7,0,0,0")
            price = close
        path.write_text("\n".join(lines) + "\n")
        words += ["--feed", f"{path}={VENUE}/{symbol}@1m"]
    return words
