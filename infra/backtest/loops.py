"""Compiled loops over equity curves. To import this is to load numba: only where `actors.kernels.is_warm`."""

from __future__ import annotations

from typing import Any

import numpy as np
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


@compiled(*[INTS] * 2, *[FLOATS] * 3)
def largest(times: Any, ts: Any, cash: Any, positions: Any, close: Any) -> float:
    """Of the amounts, whatever their signs, that `trace` fills `equity` with."""
    fills, fill, found = len(times), 0, 0.0
    for row in range(len(ts)):
        while fill < fills and times[fill] <= ts[row]:
            fill += 1
        value = abs(cash[fill] + positions[fill] * close[row])
        if value > found:
            found = value
    return found


@compiled()
def _lower(value: Any, peak: Any, lowest: Any, near: Any) -> Any:
    """(peak, lowest quotient of a value and the peak before it, near) after one value more. What is above `near` is no
    new low: a division is dear."""
    if value > peak:
        return value, lowest, value * (lowest + 1e-9)
    if value < near:
        lowest = min(lowest, value / peak)
        return peak, lowest, peak * (lowest + 1e-9)
    return peak, lowest, near


@compiled()
def _written(value: Any, unit: Any) -> Any:
    return np.rint(value * unit) / unit if unit else value


@compiled(*[INTS] * 2, *[FLOATS] * 3, *[types.float64] * 2, INTS, OUT_FLOATS)
def sketch(
    times: Any, ts: Any, cash: Any, positions: Any, close: Any, start: Any, unit: Any, places: Any, picked: Any
) -> Any:
    """(rows held, `fall`, the last amount) of the curve that `trace` makes; `picked`: its equity at `places`.

    `unit`: amounts are written in whole parts of one over it; 0: as they are.
    """
    rows, fills, fill, row, place, held = len(ts), len(times), 0, 0, 0, 0
    peak, lowest, value = start, 1.0, start
    near = peak * (1.0 + 1e-9)
    while row < rows:
        happened = False
        while fill < fills and times[fill] <= ts[row]:
            fill += 1
            happened = True
        money, position, stop = cash[fill], positions[fill], rows
        if fill < fills:
            until, stop = times[fill], row + 1
            while stop < rows and ts[stop] < until:
                stop += 1
        held += stop - row if position else happened
        for at in range(row, stop if position else row + 1):  # without a position it stays what it is
            value = _written(money + position * close[at], unit)
            peak, lowest, near = _lower(value, peak, lowest, near)
        while place < len(places) and places[place] < stop:
            picked[place] = _written(money + position * close[places[place]], unit)
            place += 1
        row = stop
    return held, lowest, value


@compiled(FLOATS, types.float64)
def fall(equity: Any, start: Any) -> float:
    """The lowest quotient of an equity and the highest before it, `start` among these; 1 where it never falls."""
    peak, lowest = start, 1.0
    near = peak * (1.0 + 1e-9)
    for value in equity:
        peak, lowest, near = _lower(value, peak, lowest, near)
    return lowest
