"""The tick and the lot of an instrument, read off its data."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

PLACES_MAX = 10


def step_of(*columns: NDArray[np.float64]) -> Decimal | None:
    """The largest power of ten, 1 at most, that every value is a whole multiple of as it is written.

    None where the values have more than 10 decimals (they were computed, not quoted) or are all zero.
    """
    values = np.concatenate([np.asarray(column, np.float64) for column in columns])
    values = np.unique(values[np.isfinite(values)])
    if not values.size or not values.any():
        return None
    for places in range(PLACES_MAX + 1):
        # A quotient of two integers below 2**53 is the float nearest to that decimal, so this compares exactly.
        scaled = np.rint(values * 10.0**places)
        if np.abs(scaled).max() >= 2**53:
            return None
        off = scaled / 10.0**places != values
        if not off.any():
            return Decimal(1).scaleb(-places)
        values = values[off]
    return None
