"""Loops over columns that numpy has no word for, with the very rounding of the streaming code.

Compiled code is some twenty times as fast as a loop of Python's own, but numba takes about half a second to load, so it
is loaded when there is work enough for that: `warm` says so at once, else it shows with time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PRICE_MIN = 1e-15  # `actors.symbol.rules.PRICE_MIN`
ENOUGH = 12_000_000
"""Rows that take Python about as long as numba takes to load."""


class _Kernels:
    passed = 0
    made: tuple[Any, ...] = ()


def warm() -> None:
    """Loads the compiled forms now: there is much to do."""
    if not _Kernels.made:
        _Kernels.made = _compiled()


def is_warm() -> bool:
    return bool(_Kernels.made)


def ema(x: Floats, k: float, start: float, out: Floats) -> None:
    """out[i] = (x[i] - out[i-1]) * k + out[i-1], with out[-1] = `start`."""
    _Kernels.passed += len(x)
    if _Kernels.passed > ENOUGH:
        warm()
    if _Kernels.made:
        _Kernels.made[0](np.ascontiguousarray(x), k, start, out)
        return
    value = start
    out[:] = [value := (one - value) * k + value for one in x.tolist()]


def steady(columns: tuple[Ints, Floats, Floats, Floats, Floats, Floats], step: int, limits: tuple[float, ...]) -> bool:
    """Whether every candle is sound, follows the one before after `step`, and its close is near that one's.

    `columns`: ts, open, high, low, close, volume. `limits`: the highest price and volume, and the largest jump of the
    close as a part of the close before. Only where `is_warm`.
    """
    found: bool = _Kernels.made[1](*columns, step, *limits)
    return found


def _ema(x: Floats, k: float, start: float, out: Floats) -> None:
    value = start
    for row in range(len(x)):
        value = (x[row] - value) * k + value
        out[row] = value


def _steady(
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


def _compiled() -> tuple[Any, ...]:
    """Without fast-math: products and sums are rounded one by one, as Python does it. Kept on disk beside this file."""
    import numba

    compiled: Any = numba.njit
    try:
        made = tuple(compiled(cache=True)(one) for one in (_ema, _steady))
    except RuntimeError:  # a folder that cannot be written to
        made = tuple(compiled(one) for one in (_ema, _steady))
    one = np.ones(1)
    made[0](one, 0.5, 0.0, one.copy())
    made[1](np.ones(1, np.int64), one, one, one, one, one, 1, 1.0, 1.0, 1.0)
    return made
