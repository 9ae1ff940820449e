"""The compiled loops. To import this is to load numba: `actors.kernels` does it where that pays."""

from __future__ import annotations

from typing import Any

from numba import types

from actors.kernels import Floats, Ints, compiled

FLOATS: Any = types.Array(types.float64, 1, "C", readonly=True)
INTS: Any = types.Array(types.int64, 1, "C", readonly=True)
FLAGS: Any = types.Array(types.boolean, 1, "C", readonly=True)
OUT_FLOATS: Any = types.Array(types.float64, 1, "C")
OUT_INTS: Any = types.Array(types.int64, 1, "C")
OUT_FLAGS: Any = types.Array(types.boolean, 1, "C")

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
