"""A strategy that hangs when told to, as one with a mistake in it would."""

from __future__ import annotations

import os

from actors.strategies import Position, Strategy, Target
from events.market import Candle


class Stuck(Strategy):
    """Long whenever it may be, with a far stop; `resting`: by limit orders that are never met. It hangs in an endless
    loop while the file `flag` is there."""

    def __init__(self, flag: str = "", resting: bool = False) -> None:
        self.flag, self.resting, self.seen = flag, resting, 0

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        while self.flag and os.path.exists(self.flag):
            pass
        self.seen += 1
        if self.resting:
            return Target(1.0, order="limit", limit=round(candle.close / 2)) if self.seen % 2 else None
        return Target(1.0, stop=round(candle.close / 2, 2))
