"""What a strategy is: from candles to the position wanted. Subclass it, and name it `module:Class` in the plan."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from events.market import Candle, Trade


class Target(msgspec.Struct, frozen=True):
    """The position wanted: `target` from -1 (full short) through 0 (flat) to +1 (full long); the account sizes it.

    `stop` and `take_profit` are prices, `trail` a distance. `order` says how to enter: `market`, `limit` at `limit`,
    `stop` at `trigger`, or `stop-limit` with both.
    """

    target: float
    stop: float | None = None
    take_profit: float | None = None
    trail: float | None = None
    order: str = "market"
    limit: float | None = None
    trigger: float | None = None
    confidence: float = 1.0
    reasons: tuple[str, ...] = ()


class Position(msgspec.Struct, frozen=True):
    """What the bot holds, as its account has reported: signed quantity and average entry price (0 when flat)."""

    qty: Decimal = Decimal(0)
    average: Decimal = Decimal(0)

    def __bool__(self) -> bool:
        return bool(self.qty)


FLAT = Position()


class Strategy:
    """Deterministic: what it answers follows from the candles and positions it was shown, in their order.

    `version` is raised by hand when the same candles would give other answers than before.
    """

    version: ClassVar[int] = 1

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        """Called once per complete candle of the bot's timeframe, in order. None: nothing new is wanted.

        One that has `on_trade` may do without.
        """
        if self.hears_trades():
            return None
        raise NotImplementedError(f"{type(self).__name__} must say what it wants in on_candle(candle, position)")

    def on_trade(self, trade: Trade, position: Position) -> Target | None:
        """Called once per trade, in order of time, where the symbol's bars are made of trades (`source = "trades"`).

        A trade that ends a bar comes before that bar. One that is older than a trade shown before, or comes again, is
        left out. A strategy that does not define this method hears no trades, and pays nothing for them.
        """
        raise NotImplementedError

    @classmethod
    def hears_trades(cls) -> bool:
        return cls.on_trade is not Strategy.on_trade

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _parts(other) == _parts(self)

    __hash__ = None  # type: ignore[assignment]


def _parts(thing: object) -> Any:
    """A strategy's memory as plain values, indicators by their own `state()`."""
    named = vars(thing)
    return {name: value.state() if hasattr(value, "state") else value for name, value in named.items()}
