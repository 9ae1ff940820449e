"""Compiled loops over equity curves. To import this is to load numba: only where `actors.kernels.is_warm`."""

from __future__ import annotations

from typing import Any

from numba import types

from actors.kernels import compiled
from actors.loops import FLOATS, INTS, OUT_FLAGS, OUT_FLOATS


@compiled(*[INTS] * 2, *[FLOATS] * 3, *[OUT_FLOATS] * 2, OUT_FLAGS)
def trace(times: Any, ts: Any, cash: Any, positions: Any, close: Any, equity: Any, gross: Any, held: Any) -> None:
    """Fills `equity`, `gross` and `held` of `result.Curve`.

    `times` of fills; `cash` and `positions` before the first and after each. `close` at each of `ts`.
    """
    rows, fills, fill, row = len(ts), len(times), 0, 0
    while row < rows:
        happened = False
        while fill < fills and times[fill] <= ts[row]:
            fill += 1
            happened = True
        stop = row + 1
        if fill == fills:
            stop = rows
        else:
            while stop < rows and ts[stop] < times[fill]:
                stop += 1
        money, position = cash[fill], positions[fill]
        for at in range(row, stop):
            value = position * close[at]
            gross[at] = abs(value)
            equity[at] = money + value
            held[at] = position != 0.0
        held[row] |= happened
        row = stop


@compiled(FLOATS, types.float64)
def fall(equity: Any, start: Any) -> float:
    """The lowest quotient of an equity and the highest before it, `start` among these; 1 where it never falls."""
    peak, lowest = start, 1.0
    near = peak * (1.0 + 1e-9)  # what is above is no new low: a division is dear
    for value in equity:
        if value > peak:
            peak = value
            near = peak * (lowest + 1e-9)
        elif value < near:
            lowest = min(lowest, value / peak)
            near = peak * (lowest + 1e-9)
    return lowest
