"""The strategies of published backtests, as a user would write them."""

from __future__ import annotations

from actors.indicators import SMA
from actors.strategies import Position, Strategy, Target
from events.market import Candle


class SmaFlip(Strategy):
    """Always in the market after the first cross: long when the fast average crosses over the slow one, else short."""

    def __init__(self, fast: int = 10, slow: int = 30) -> None:
        self.fast, self.slow = SMA(fast), SMA(slow)
        self.gap = float("nan")

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        before, self.gap = self.gap, self.fast.update(candle.close) - self.slow.update(candle.close)
        if before < 0 < self.gap:
            return Target(1.0, reasons=("fast over slow",))
        if before > 0 > self.gap:
            return Target(-1.0, reasons=("fast under slow",))
        return None


class CloseCross(Strategy):
    """Long while the close is over its average; a bar exactly on it is no cross and is passed over."""

    def __init__(self, period: int = 15) -> None:
        self.average = SMA(period)
        self.side = 0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        gap = candle.close - self.average.update(candle.close)
        side = (gap > 0) - (gap < 0)  # 0 while the average is not there yet: it is NaN
        before, self.side = self.side, side or self.side
        if before and side == -before:
            return Target(1.0 if side > 0 else 0.0)
        return None


class BuyOnce(CloseCross):
    """Buys at the first cross up and keeps it."""

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        wish = super().on_candle(candle, position)
        return wish if wish is not None and wish.target > 0 and not position else None
