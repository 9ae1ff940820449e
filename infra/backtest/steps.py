"""The tick and the lot of an instrument, read off its data."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

PLACES_MAX = 10
_ROWS = 32_768  # so that what is worked on stays in the processor's cache


def step_of(*columns: NDArray[np.float64]) -> Decimal | None:
    """The largest power of ten, 1 at most, that every value is a whole multiple of as it is written.

    None where the values have more than 10 decimals (they were computed, not quoted) or are all zero.
    """
    steps = Steps()
    steps.add(*columns)
    return steps.step


class Steps:
    """`step_of` of columns that come one after another."""

    def __init__(self) -> None:
        self._places: int | None = 0
        self._some = False

    def add(self, *columns: NDArray[np.float64]) -> None:
        for column in columns:
            for at in range(0, len(column), _ROWS):
                values = np.asarray(column[at : at + _ROWS], np.float64)
                if self._places is not None:
                    self._places = _places(values, self._places)
                self._some = self._some or bool((values[np.isfinite(values)] != 0).any())

    @property
    def step(self) -> Decimal | None:
        return Decimal(1).scaleb(-self._places) if self._some and self._places is not None else None


def _places(values: NDArray[np.float64], known: int) -> int | None:
    """Decimals of the values, `known` at least; not finite ones say nothing."""
    scaled = values * 10.0**known
    if not np.abs(scaled).max() < 2**53:  # or a NaN
        return _counted(values[np.isfinite(values)], known)
    # A quotient of two integers below 2**53 is the float nearest to that decimal, so this compares exactly.
    off = np.rint(scaled) / 10.0**known != values
    return _counted(values[off], known) if off.any() else known


def _counted(values: NDArray[np.float64], known: int) -> int | None:
    for places in range(PLACES_MAX + 1):
        if not values.size:
            return known
        scaled = np.rint(values * 10.0**places)
        if np.abs(scaled).max() >= 2**53:
            return None
        values = values[scaled / 10.0**places != values]
        if not values.size:
            return max(known, places)
    return None
