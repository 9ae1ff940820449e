"""Exponential moving averages that cross."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.indicators import ATR, EMA
from events.block import Columns, Floats
from events.market import Candle

from .base import Position, Strategy, Target
from .columns import Reasons, Wishes


class EmaCross(Strategy):
    """Long while the fast EMA of the close is above the slow one, else flat (or short where `short` is set).

    `stop_atr` and `target_atr` put the bracket that many ATR(14) away from the close of the decision; 0: none.
    """

    def __init__(
        self,
        fast: int = 10,
        slow: int = 20,
        short: bool = False,
        stop_atr: float = 0.0,
        target_atr: float = 0.0,
    ) -> None:
        if not 0 < fast < slow:
            raise ValueError(f"fast ({fast}) must be shorter than slow ({slow}), and both positive")
        if stop_atr < 0 or target_atr < 0:
            raise ValueError("stop_atr and target_atr are distances in ATR, or 0 for none")
        self.short = short
        self.stop_atr, self.target_atr = stop_atr, target_atr
        self.fast, self.slow, self.atr = EMA(fast), EMA(slow), ATR(14)
        self.above: bool | None = None

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        fast, slow = self.fast.update(candle.close), self.slow.update(candle.close)
        atr = self.atr.update(candle.high, candle.low, candle.close) if self.stop_atr or self.target_atr else 0.0
        if slow != slow or atr != atr:  # not warm yet
            return None
        before, self.above = self.above, fast > slow
        if before is None or before == self.above:
            return None
        side = 1 if self.above else -1
        if side < 0 and not self.short:
            return Target(0.0, reasons=("fast below slow",))
        return Target(
            float(side),
            stop=candle.close - side * self.stop_atr * atr if self.stop_atr else None,
            take_profit=candle.close + side * self.target_atr * atr if self.target_atr else None,
            reasons=(f"fast {'above' if side > 0 else 'below'} slow",),
        )

    def on_columns(self, candles: Columns) -> Wishes:
        fast, slow = self.fast.run(candles.close), self.slow.run(candles.close)
        brackets = bool(self.stop_atr or self.target_atr)
        atr = self.atr.run(candles.high, candles.low, candles.close) if brackets else None
        above = fast > slow
        first = _first_warm(slow, atr)
        at = np.flatnonzero(above[1:] != above[:-1]) + 1
        at = at[np.searchsorted(at, first, "right") :]
        if first < len(above):
            if self.above is not None and self.above != above[first]:
                at = np.concatenate(([first], at))
            self.above = bool(above[-1])
        target = np.full(len(above), np.nan)
        target[at] = np.where(above[at], 1.0, -1.0 if self.short else 0.0)
        stop = take_profit = None
        if atr is not None:
            away = np.where(above, 1.0, -1.0)
            enters = np.zeros(len(above), np.bool_)
            enters[at] = target[at] != 0
            stop = _level(enters, candles.close - away * self.stop_atr * atr) if self.stop_atr else None
            take_profit = _level(enters, candles.close + away * self.target_atr * atr) if self.target_atr else None
        return Wishes(
            target,
            stop=stop,
            take_profit=take_profit,
            reasons=Reasons(above.view(np.uint8), (("fast below slow",), ("fast above slow",))),
            rows=at,
        )


def _first_warm(slow: Floats, atr: Floats | None) -> int:
    """The first row on which all are ready; once they are, they stay so."""
    if len(slow) and slow[0] == slow[0] and (atr is None or atr[0] == atr[0]):
        return 0
    warm = slow == slow if atr is None else (slow == slow) & (atr == atr)
    return int(warm.argmax()) if warm.any() else len(warm)


def _level(where: NDArray[np.bool_], price: Floats) -> Floats:
    return np.where(where, price, np.nan)
