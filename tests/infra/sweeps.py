"""Small sweeps: a made market, and strategies that fail in the ways in which strategies do."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from actors.plan import AccountPlan, BotPlan, Plan, Sizing
from actors.strategies import Position, Target
from actors.strategies.ema_cross import EmaCross
from events.market import Candle
from infra.backtest import data
from infra.sweep.grid import Grid, axis
from infra.sweep.periods import Period
from infra.sweep.study import Dataset, Slice, Study

MINUTE_MS = 60_000
START_MS = 1_704_067_200_000  # 2024-01-01
HALF = Sizing(value=Decimal("0.5"))


def market(path: Path, rows: int = 3_000, seed: int = 1) -> Path:
    """A random walk of 1-minute candles in whole cents, stamped with their opens, as CSV."""
    chance = np.random.default_rng(seed)
    close = 10_000 + np.cumsum(chance.integers(-20, 21, rows))
    before = np.concatenate(([10_000], close[:-1]))
    high, low = np.maximum(close, before) + 5, np.minimum(close, before) - 5
    lines = ["timestamp,open,high,low,close,volume"]
    for row, values in enumerate(zip(before, high, low, close, strict=True)):
        prices = ",".join(f"{value / 100:.2f}" for value in values)
        lines.append(f"{START_MS + row * MINUTE_MS},{prices},5000")
    path.write_text("\n".join(lines) + "\n")
    return path


class Fails(EmaCross):
    """A cross that raises on its 200th candle where `how` is raise, and ends its process where it is die."""

    def __init__(self, fast: int = 3, slow: int = 8, how: str = "") -> None:
        super().__init__(fast, slow)
        self.how, self.shown = how, 0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        self.shown += 1
        if self.shown == 200 and self.how == "raise":
            raise ZeroDivisionError("of all things")
        if self.shown == 200 and self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().on_candle(candle, position)

    on_columns = None  # type: ignore[assignment]


def study(
    files: Sequence[data.MarketFile],
    params: Sequence[str],
    *,
    strategy: str = "ema-cross",
    periods: Sequence[Period] = (Period(),),
    digest: bool = True,
    where: Sequence[str] = (),
) -> Study:
    """Every file alone, over every period."""
    slices = []
    for file in files:
        bot = BotPlan(name="one", venue=file.venue, symbol=file.symbol, strategy=strategy, sizing=HALF)
        plan = Plan(symbols=data.symbol_plans([file]), bots=(bot,), accounts=(AccountPlan(),))
        slices += [Slice(Dataset(plan, (file,)), period) for period in periods]
    return Study(tuple(slices), Grid([axis(one) for one in params], where=where), digest=digest)
