"""The compiled loops. To import this is to load numba: `actors.kernels` does it where that pays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from actors.kernels import Floats, Ints, compiled

FLOATS: Any = types.Array(types.float64, 1, "C", readonly=True)
INTS: Any = types.Array(types.int64, 1, "C", readonly=True)
FLAGS: Any = types.Array(types.boolean, 1, "C", readonly=True)
OUT_FLOATS: Any = types.Array(types.float64, 1, "C")
OUT_INTS: Any = types.Array(types.int64, 1, "C")
OUT_FLAGS: Any = types.Array(types.boolean, 1, "C")
_OUT_TABLE: Any = types.Array(types.int64, 2, "C")
_NUMBERS: Any = types.UniTuple(types.int64, 13)  # type: ignore[no-untyped-call]

_WHOLE = 2.0**53
_PRICE_MIN = 1e-15  # `actors.symbol.rules.PRICE_MIN`


@compiled(FLOATS, types.float64, types.float64, OUT_FLOATS)
def ema(x: Floats, k: float, start: float, out: Floats) -> None:
    value = start
    for row in range(len(x)):
        value = (x[row] - value) * k + value
        out[row] = value


@compiled(INTS, *[FLOATS] * 5, types.int64, *[types.float64] * 3)
def steady(
    ts: Ints, o: Floats, h: Floats, l: Floats, c: Floats, v: Floats, step: int, price: float, volume: float, jump: float
) -> bool:
    for row in range(len(ts)):
        if not (
            l[row] <= o[row] <= h[row] <= price and _PRICE_MIN <= l[row] <= c[row] <= h[row] and 0.0 <= v[row] <= volume
        ):
            return False
        if row and (ts[row] - ts[row - 1] != step or not abs(c[row] - c[row - 1]) <= jump * c[row - 1]):
            return False
    return True


@compiled(FLOATS, types.int64)
def decimals(values: Floats, most: int) -> int:
    """As `actors.account.terms.decimals_of`; 0 for None."""
    for places in range(1, most + 1):
        unit, fine = 10.0**places, True
        for value in values:
            whole = np.rint(value * unit)
            if not whole < _WHOLE:
                return 0
            if whole / unit != value:
                fine = False
                break
        if fine:
            return places
    return 0


@compiled(FLOATS, INTS, FLAGS, INTS, _NUMBERS, _OUT_TABLE)
def legs(opens: Any, side: Any, exits: Any, qty: Any, numbers: Any, out: Any) -> None:
    """As `actors.account.plain` reckons price, fee, realized, position, average and cash, which are the rows of `out`.

    `numbers`: of an open, in `scales.raw` decimals; of slippage: a part of so many, wider by this, steps (0: none) and
    what the price is cut by; of notionals; of fees: the rate, times this, in so many parts (0: whole), and their unit;
    cash and cost before.
    """
    raw, part, one, widen, step, cut, unit, rate, times, parts, spare, cash, cost = numbers
    for leg in range(len(opens)):
        price = np.int64(np.rint(opens[leg] * raw))
        if step:
            if side[leg] > 0:
                price = -(-(price * (one + part) * widen) // step) * step // cut
            else:
                price = max(price * (one - part) * widen // step * step, step) // cut
        paid = qty[leg] * price
        fee, signed = paid * rate, side[leg] * paid * unit
        if parts:
            whole, rest = fee // parts, fee % parts
            fee = whole + (2 * rest > parts or (2 * rest == parts and whole % 2 == 1))
        else:
            fee *= times
        cash -= signed + fee * spare
        out[0, leg], out[1, leg], out[5, leg] = price, fee, cash
        if exits[leg]:
            out[2, leg], out[3, leg], out[4, leg], cost = -signed - cost, 0, 0, 0
        else:
            out[2, leg], out[3, leg], out[4, leg], cost = 0, side[leg] * qty[leg], price, signed
