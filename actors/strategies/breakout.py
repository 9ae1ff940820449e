"""Breakout of the Donchian channel."""

from __future__ import annotations

import numpy as np

from actors.indicators import ATR, Highest, Lowest
from events.block import Columns, Floats
from events.market import Candle

from .base import Position, Strategy, Target
from .columns import FLAT, LONG, SHORT, Wishes


class Breakout(Strategy):
    """Long when the close leaves the highest high of the last `entry` candles, out below the lowest low of `exit`.

    A trailing stop follows at `trail_atr` ATR(14); `short` allows the mirror image.
    """

    def __init__(self, entry: int = 20, exit: int = 10, trail_atr: float = 3.0, short: bool = False) -> None:
        if not 0 < exit <= entry or trail_atr <= 0:
            raise ValueError(f"exit ({exit}) must be within 1 and entry ({entry}), and trail_atr positive")
        self.top, self.bottom = Highest(entry), Lowest(entry)
        self.exit_top, self.exit_bottom = Highest(exit), Lowest(exit)
        self.atr, self.trail_atr, self.short = ATR(14), trail_atr, short

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        top, bottom = self.top.value, self.bottom.value  # of the candles before this one
        exit_top, exit_bottom = self.exit_top.value, self.exit_bottom.value
        self.top.update(candle.high)
        self.bottom.update(candle.low)
        self.exit_top.update(candle.high)
        self.exit_bottom.update(candle.low)
        atr = self.atr.update(candle.high, candle.low, candle.close)
        if top != top or atr != atr:
            return None
        if candle.close > top and position.qty <= 0:
            return Target(1.0, trail=self.trail_atr * atr, reasons=(f"close above {top}",))
        if candle.close < bottom and position.qty >= 0 and self.short:
            return Target(-1.0, trail=self.trail_atr * atr, reasons=(f"close below {bottom}",))
        if (position.qty > 0 and candle.close < exit_bottom) or (position.qty < 0 and candle.close > exit_top):
            return Target(0.0, reasons=("close beyond the exit channel",))
        return None

    def on_columns(self, candles: Columns) -> Wishes:
        high, low, close = candles.high, candles.low, candles.close
        top, bottom = _before(self.top, high), _before(self.bottom, low)
        exit_top, exit_bottom = _before(self.exit_top, high), _before(self.exit_bottom, low)
        atr = self.atr.run(high, low, close)
        warm = (top == top) & (atr == atr)
        up = warm & (close > top)
        down = warm & (close < bottom) & self.short
        # Where a row could speak for several positions, the one for the other side comes first, as in `on_candle`.
        leave_long = warm & ~up & ~down & (close < exit_bottom)
        leave_short = warm & ~up & ~down & (close > exit_top)
        target = np.select([up, down, leave_long | leave_short], [1.0, -1.0, 0.0], np.nan)
        when = np.select([up, down], [SHORT | FLAT, LONG | FLAT], LONG * leave_long + SHORT * leave_short)

        def reasons(row: int) -> tuple[str, ...]:
            if up[row]:
                return (f"close above {float(top[row])}",)
            return (f"close below {float(bottom[row])}",) if down[row] else ("close beyond the exit channel",)

        trail = np.where(up | down, self.trail_atr * atr, np.nan)
        return Wishes(target, when=when.astype(np.uint8), trail=trail, reasons=reasons)


def _before(line: Highest | Lowest, values: Floats) -> Floats:
    """The line as it stands before each row."""
    found = np.empty(len(values))
    found[:1] = line.value
    found[1:] = line.run(values)[:-1]
    return found
