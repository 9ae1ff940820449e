"""Chance that depends on nothing but a key and a counter: any number of a sequence, without those before it.

Integer arithmetic modulo 2^64 and one exact scaling, so every platform and version gives the same bits.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP, _FIRST, _SECOND = (np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_UNIT = 2.0**-53


@lru_cache(maxsize=4_096)
def key(seed: int, *purpose: str | int) -> int:
    """64 bits that stand for a seed and a purpose."""
    return int.from_bytes(blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest(), "little")


def uniform(keys: int | NDArray[np.uint64], counters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Evenly spread over [0, 1), of the shape of both together: SplitMix64 (Steele, Lea, Flood 2014) at a counter."""
    start: Any = np.uint64(keys) if isinstance(keys, int) else keys
    z = (counters.astype(np.uint64) + np.uint64(1)) * _STEP + start
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    z ^= z >> np.uint64(31)
    found: NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64) * _UNIT
    return found


def whole(number: int, counter: int, choices: int) -> int:
    """One of `choices` whole numbers, from 0 on."""
    return int(uniform(number, np.array([counter], np.int64))[0] * choices)
