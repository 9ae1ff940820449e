"""Momentum: RSI and MACD agree, ATR sets the bracket."""

from __future__ import annotations

from actors.indicators import ATR, MACD, RSI
from events.market import Candle

from .base import Position, Strategy, Target


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
