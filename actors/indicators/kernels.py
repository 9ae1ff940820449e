"""Recurrences over columns, with the very rounding of the streaming indicators.

Compiled code is some thirty times as fast as a loop of Python's own, but numba takes about half a second to load, so it
is loaded when there is work enough for that: `warm` says so at once, else it shows with time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ema = Callable[[Floats, float, float, Floats], None]

ENOUGH = 6_000_000
"""Rows that take Python about as long as numba takes to load."""


class _Kernels:
    passed = 0
    ema: Ema | None = None


def warm() -> None:
    """Loads the compiled forms now: there is much to do."""
    if _Kernels.ema is None:
        _Kernels.ema = _compiled()


def ema(x: Floats, k: float, start: float, out: Floats) -> None:
    """out[i] = (x[i] - out[i-1]) * k + out[i-1], with out[-1] = `start`."""
    _Kernels.passed += len(x)
    if _Kernels.passed > ENOUGH:
        warm()
    if _Kernels.ema is not None:
        return _Kernels.ema(np.ascontiguousarray(x), k, start, out)
    value = start
    out[:] = [value := (one - value) * k + value for one in x.tolist()]
    return None


def _ema(x: Floats, k: float, start: float, out: Floats) -> None:
    value = start
    for row in range(len(x)):
        value = (x[row] - value) * k + value
        out[row] = value


def _compiled() -> Ema:
    """Without fast-math: products and sums are rounded one by one, as Python does it. Kept on disk beside this file."""
    from numba import njit

    made: Any

    try:
        made = njit(cache=True)(_ema)
    except RuntimeError:  # a folder that cannot be written to
        made = njit(_ema)
    one = np.zeros(1)
    made(one, 0.5, 0.0, one.copy())
    found: Ema = made
    return found
