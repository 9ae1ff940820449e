"""Recurrences over columns, with the very rounding of the streaming indicators."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ema(x: Floats, k: float, start: float, out: Floats) -> None:
    """out[i] = (x[i] - out[i-1]) * k + out[i-1], with out[-1] = `start`."""
    values = accumulate(x.tolist(), lambda value, one: (one - value) * k + value, initial=start)
    next(values)
    out[:] = np.fromiter(values, np.float64, len(x))
