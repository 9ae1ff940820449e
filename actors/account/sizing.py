"""How many units a signal asks for, and at which price it is reckoned."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from actors.plan import Sizing, SymbolPlan
from events.trading import Signal

from .money import ceil_to, exact, floor_to, units


class Entry(msgspec.Struct, frozen=True):
    """How to enter, on the tick. `price` is what size and limits are reckoned with before the fill."""

    side: str
    kind: str
    limit: Decimal | None
    trigger: Decimal | None
    price: Decimal


def entry_of(signal: Signal, symbol: SymbolPlan, mark: Decimal) -> Entry:
    """A limit buys down and sells up, a stop's trigger moves away. Reckoned with at the limit, the trigger, or the
    last price, whichever of them the order has first."""
    buys = signal.target > 0
    limit = trigger = None
    if signal.order in ("limit", "stop-limit") and signal.limit is not None:
        limit = (floor_to if buys else ceil_to)(exact(signal.limit), symbol.tick)
    if signal.order in ("stop", "stop-limit") and signal.trigger is not None:
        trigger = (ceil_to if buys else floor_to)(exact(signal.trigger), symbol.tick)
    price = limit if limit is not None else trigger if trigger is not None else mark
    return Entry("buy" if buys else "sell", signal.order, limit, trigger, price)


def size_of(
    sizing: Sizing, target: Decimal, price: Decimal, distance: Decimal | None, equity: Decimal, lot: Decimal
) -> Decimal:
    """Units in whole lots, rounded down, for `target` in (0, 1]. For `all-in` it is what the last price would give:
    the order itself is sized at its fill. `distance` is from the entry to the stop; `risk` needs it."""
    match sizing.method:
        case "quantity":
            return floor_to(sizing.value * target, lot)
        case "fraction":
            return units(sizing.value * target * equity, price, lot)
        case "risk":
            assert distance is not None, "sizing by risk without a stop"
            return units(sizing.value * target * equity, distance, lot)
        case "all-in":
            return units(target * equity, price, lot)
        case other:
            raise ValueError(f"{other!r} is no sizing method: use quantity, fraction, risk or all-in")
