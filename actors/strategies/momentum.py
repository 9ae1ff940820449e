"""Momentum: RSI and MACD agree, ATR sets the bracket."""

from __future__ import annotations

import numpy as np

from actors.indicators import ATR, MACD, RSI
from events.block import Columns
from events.market import Candle

from .base import Position, Strategy, Target
from .columns import ANY, LONG, SHORT, Wishes


class Momentum(Strategy):
    """Long when the MACD histogram turns positive with RSI above `rsi_long`, short in the mirror image; out when the
    histogram turns. Stop and target are `stop_atr` and `target_atr` ATR away from the close of the decision.
    """

    def __init__(
        self,
        rsi: int = 14,
        fast: int = 12,
        slow: int = 26,
        signal: int = 9,
        atr: int = 14,
        rsi_long: float = 50.0,
        stop_atr: float = 2.0,
        target_atr: float = 4.0,
        short: bool = True,
    ) -> None:
        if stop_atr <= 0 or target_atr <= 0:
            raise ValueError("stop_atr and target_atr are distances in ATR and must be positive")
        self.rsi, self.macd, self.atr = RSI(rsi), MACD(fast, slow, signal), ATR(atr)
        self.rsi_long, self.stop_atr, self.target_atr, self.short = rsi_long, stop_atr, target_atr, short
        self.rising: bool | None = None

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        rsi = self.rsi.update(candle.close)
        _, _, histogram = self.macd.update(candle.close)
        atr = self.atr.update(candle.high, candle.low, candle.close)
        if rsi != rsi or atr != atr or histogram != histogram:
            return None
        before, self.rising = self.rising, histogram > 0
        if before is None or before == self.rising:
            return None
        if self.rising and rsi > self.rsi_long:
            return self._enter(1, candle.close, atr, rsi)
        if not self.rising and rsi < 100 - self.rsi_long and self.short:
            return self._enter(-1, candle.close, atr, rsi)
        return Target(0.0, reasons=("MACD turned",)) if position else None

    def _enter(self, side: int, price: float, atr: float, rsi: float) -> Target:
        stop, take_profit = price - side * self.stop_atr * atr, price + side * self.target_atr * atr
        reasons = (f"MACD turned {'up' if side > 0 else 'down'}", f"RSI {rsi:.1f}")
        return Target(float(side), stop, take_profit, confidence=min(1.0, abs(rsi - 50) / 50), reasons=reasons)

    def on_columns(self, candles: Columns) -> Wishes:
        close = candles.close
        rsi = self.rsi.run(close)
        histogram = self.macd.run(close).reshape(-1, 3)[:, 2]
        atr = self.atr.run(candles.high, candles.low, close)
        warm = (rsi == rsi) & (atr == atr) & (histogram == histogram)
        rising = histogram > 0
        before = np.empty_like(rising)
        before[1:] = rising[:-1]
        first = int(warm.argmax()) if warm.any() else len(warm)  # once warm, always warm
        if first < len(warm):
            before[first] = rising[first] if self.rising is None else self.rising
            self.rising = bool(rising[-1])
        turned = warm & (rising != before)
        up = turned & rising & (rsi > self.rsi_long)
        down = turned & ~rising & (rsi < 100 - self.rsi_long) & self.short
        enters, side = up | down, np.where(rising, 1.0, -1.0)

        def reasons(row: int) -> tuple[str, ...]:
            if not enters[row]:
                return ("MACD turned",)
            return f"MACD turned {'up' if up[row] else 'down'}", f"RSI {float(rsi[row]):.1f}"

        return Wishes(
            np.where(enters, side, np.where(turned, 0.0, np.nan)),
            when=np.where(enters, ANY, LONG | SHORT).astype(np.uint8),
            stop=np.where(enters, close - side * self.stop_atr * atr, np.nan),
            take_profit=np.where(enters, close + side * self.target_atr * atr, np.nan),
            confidence=np.where(enters, np.minimum(1.0, np.abs(rsi - 50) / 50), 1.0),
            reasons=reasons,
        )
