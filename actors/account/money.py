"""Exact money: sums and products are never rounded, and the few places that round say so by name."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import lru_cache

ZERO = Decimal(0)
ONE = Decimal(1)
QUANTUM = Decimal("0.00000001")
"""Fees and the cost basis taken out by a partial close are rounded to this, half to even. Nothing else is."""

EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact])
"""The context of every decision: a sum or product that does not fit in 100 digits stops the actor."""

_ROUNDING = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
_AVERAGE = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])


def exact(value: float) -> Decimal:
    """The shortest decimal that reads back as this float: what the venue wrote."""
    return _read(value) if value else Decimal(repr(value))  # 0.0 and -0.0 are equal, but not written alike


@lru_cache(maxsize=4_096, typed=True)
def _read(value: float) -> Decimal:
    return Decimal(repr(value))


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` not above a non-negative `value`."""
    return value // step * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` not below a non-negative `value`."""
    floor = value // step * step
    return floor if floor == value else floor + step


def units(money: Decimal, price: Decimal, lot: Decimal) -> Decimal:
    """The largest multiple of `lot` that costs at most `money` at `price`; 0 where there is none."""
    return money // (price * lot) * lot if money > 0 else ZERO


def fee_of(notional: Decimal, rate: Decimal) -> Decimal:
    """Rounded to QUANTUM."""
    return (notional * rate).quantize(QUANTUM, context=_ROUNDING)


def share_of(cost: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """`cost` times `part / whole`, rounded to QUANTUM; all of it, exactly, where part is whole."""
    if part == whole:
        return cost
    return _ROUNDING.divide(cost * part, whole).quantize(QUANTUM, context=_ROUNDING)


def average_of(cost: Decimal, quantity: Decimal) -> Decimal:
    """For reading only: 28 significant digits; the cost basis is what is kept."""
    return _AVERAGE.divide(cost, quantity) if quantity else ZERO


def affordable(room: Decimal, price: Decimal, rate: Decimal, lot: Decimal) -> Decimal:
    """The most, in whole lots, whose cost at `price` together with its fee is at most `room`."""
    rate = max(rate, ZERO)
    quantity = units(room, price * (ONE + rate), lot)
    while quantity > 0 and (notional := quantity * price) + fee_of(notional, rate) > room:
        quantity -= lot
    return quantity
