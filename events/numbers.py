"""Columns of ids (numbers below 2**128) as pairs of 64-bit columns, high half first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .decision import ID_FACTOR, number_of

Halves = NDArray[np.uint64]

_LOW = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)
_FACTOR = (np.uint64(ID_FACTOR >> 64), np.uint64(ID_FACTOR & (2**64 - 1)))


def halves(raw: NDArray[np.uint8]) -> tuple[Halves, Halves]:
    """From (rows, 16) bytes, as the hex of an id stands for."""
    words = np.ascontiguousarray(raw).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


def ids_after(actor: str, by: tuple[Halves, Halves]) -> tuple[Halves, Halves]:
    """As `decision.id_after`, for whole columns."""
    high, low = by
    number = number_of(actor)
    top = _high_of(low, _FACTOR[1]) + high * _FACTOR[1] + low * _FACTOR[0] + np.uint64(number >> 64)
    bottom = low * _FACTOR[1]
    found = bottom + np.uint64(number & (2**64 - 1))
    return top + (found < bottom), found


def words(by: tuple[Halves, Halves]) -> NDArray[np.int64]:
    """(rows, 2): as words whose bytes are the id's, first byte first."""
    return np.stack([one.astype(">u8").view("<i8") for one in by], axis=1)


def _high_of(a: Halves, b: np.uint64) -> Halves:
    """The upper half of the 128-bit products."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    middle = a_high * b_low + (a_low * b_low >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    found: Halves = a_high * b_high + (middle >> _HALF) + (other >> _HALF)
    return found
