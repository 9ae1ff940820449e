"""Loops over columns that numpy has no word for, with the very rounding of the streaming code.

Compiled code (`actors.loops`) is some twenty times as fast as a loop of Python's own, but numba takes about half a
second to load, so it is loaded when there is work enough for that: `warm` says so at once, else it shows with time.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENOUGH = 12_000_000
"""Rows that take Python about as long as numba takes to load."""

F = TypeVar("F", bound=Callable[..., Any])


class _Kernels:
    passed = 0
    loops: Any = None


def warm() -> None:
    """Loads the compiled forms now: there is much to do."""
    if _Kernels.loops is None:
        import_module("actors.wordloops")
        _Kernels.loops = import_module("actors.loops")


def is_warm() -> bool:
    return _Kernels.loops is not None


def loops() -> Any:
    """`actors.loops`; only where `is_warm`."""
    return _Kernels.loops


def compiled(*types: Any) -> Callable[[F], F]:
    """Compiles a function for arguments of these types, as it is read. Without fast-math: products and sums are rounded
    one by one, as Python does it. Kept on disk beside its file."""
    import numba

    njit: Any = numba.njit

    def make(loop: F) -> F:
        try:
            made: F = njit(types or None, cache=True)(loop)
        except RuntimeError:  # a folder that cannot be written to
            made = njit(types or None)(loop)
        return made

    return make


def ema(x: Floats, k: float, start: float, out: Floats) -> None:
    """out[i] = (x[i] - out[i-1]) * k + out[i-1], with out[-1] = `start`."""
    _Kernels.passed += len(x)
    if _Kernels.passed > ENOUGH:
        warm()
    if _Kernels.loops is not None:
        _Kernels.loops.ema(np.ascontiguousarray(x, np.float64), k, start, out)
        return
    value = start
    out[:] = [value := (one - value) * k + value for one in x.tolist()]


def steady(columns: tuple[Ints, Floats, Floats, Floats, Floats, Floats], step: int, limits: tuple[float, ...]) -> bool:
    """Whether every candle is sound, follows the one before after `step`, and its close is near that one's.

    `columns`: ts, open, high, low, close, volume. `limits`: the highest price and volume, and the largest jump of the
    close as a part of the close before. Only where `is_warm`.
    """
    found: bool = _Kernels.loops.steady(*map(np.ascontiguousarray, columns), step, *limits)
    return found


def decimals(values: Floats, most: int) -> int:
    """As `actors.account.terms.decimals_of`; 0 for None. Only where `is_warm`."""
    found: int = _Kernels.loops.decimals(np.ascontiguousarray(values), most)
    return found


def legs(opens: Floats, side: Ints, exits: NDArray[np.bool_], qty: Ints, numbers: tuple[int, ...]) -> NDArray[np.int64]:
    """(6, legs): see `actors.loops.legs`. Only where `is_warm`."""
    out = np.empty((6, len(opens)), np.int64)
    _Kernels.loops.legs(opens, side, exits, qty, numbers, out)
    return out
