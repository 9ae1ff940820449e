"""Strategies that want something at random of the candles they see, in both forms."""

from __future__ import annotations

import numpy as np

from actors.strategies import Position, Strategy, Target
from actors.strategies.columns import ANY, Wishes, held
from events.block import Columns, candles
from events.market import Candle

_STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)


class Dice(Strategy):
    """What it wants follows from a number mixed of the candle's time and `seed`: every answer stands for itself."""

    def __init__(
        self, seed: int, often: int = 5, order: str = "market", brackets: bool = True, fussy: bool = False
    ) -> None:
        self.seed, self.often, self.order, self.brackets, self.fussy = seed, often, order, brackets, fussy
        self.shown = 0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        self.shown += 1
        wish, when = self._wish(candle)
        return wish if when & held(position) else None

    def _wish(self, candle: Candle) -> tuple[Target | None, int]:
        number = (candle.ts // 60_000_000 * 2_654_435_761 + self.seed * 40_503) % 2**32
        number = (number ^ number >> 15) * 2_246_822_519 % 2**32
        number ^= number >> 13
        if number % self.often:
            return None, ANY
        target = _STEPS[number // 64 % 5]
        near, far = candle.close * (1 + number % 7 / 2000), candle.close * (1 - number % 5 / 2000)
        up = target > 0
        levels: dict[str, float | None] = {}
        if self.brackets and target:
            levels = {
                "stop": (far if up else near) if number // 512 % 2 else None,
                "take_profit": (near if up else far) if number // 1024 % 2 else None,
                "trail": candle.close * 0.001 if number // 2048 % 3 == 0 else None,
            }
        limit = far if up else near
        if self.order == "limit":
            levels["limit"] = limit
        elif self.order == "stop":
            levels["trigger"] = near if up else far
        when = (number // 4096 % 7 + 1) if self.fussy else ANY
        return Target(target, order=self.order, reasons=(f"dice {number}",), **levels), when


class DiceInColumns(Dice):
    """The same with a column form."""

    def on_columns(self, rows: Columns) -> Wishes:
        self.shown += len(rows)
        found = [self._wish(candle) for candle in candles("any", "any", "1m", rows)]
        wishes = [wish for wish, _ in found]

        def column(name: str) -> np.ndarray:
            values = [None if wish is None else getattr(wish, name) for wish in wishes]
            return np.array([np.nan if value is None else value for value in values], np.float64)

        return Wishes(
            column("target"),
            when=np.array([when for _, when in found], np.uint8) if self.fussy else None,
            stop=column("stop"),
            take_profit=column("take_profit"),
            trail=column("trail"),
            order=self.order,
            limit=column("limit") if self.order == "limit" else None,
            trigger=column("trigger") if self.order == "stop" else None,
            reasons=lambda row: wishes[row].reasons,
        )


class PlainDice(DiceInColumns):
    """Wants to be long, flat or short, at market and without a bracket."""

    def __init__(self, seed: int, often: int = 5) -> None:
        super().__init__(seed, often, brackets=False)

    def on_columns(self, rows: Columns) -> Wishes:
        wishes = super().on_columns(rows)
        return Wishes(np.where(np.abs(wishes.target) == 0.5, 0.0, wishes.target), reasons=wishes.reasons)

    def _wish(self, candle: Candle) -> tuple[Target | None, int]:
        wish, when = super()._wish(candle)
        if wish is None:
            return None, when
        return Target(0.0 if abs(wish.target) == 0.5 else wish.target, reasons=wish.reasons), when


class Watchful(Dice):
    """Plain most of the time, candle by candle only; remembers every position it was shown, as it was written."""

    def __init__(self, seed: int, often: int = 5, odd: int = 40) -> None:
        super().__init__(seed, often, brackets=False)
        self.odd, self.seen = odd, [""]

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        shown = f"{position.qty} at {position.average}"
        if shown != self.seen[-1]:
            self.seen.append(shown)
        wish = super().on_candle(candle, position)
        plain = wish is None or candle.ts // 60_000_000 % self.odd
        return Target(float(round(wish.target)), reasons=(shown,)) if wish is not None and plain else wish
