"""Timeframes: their names and their lengths in microseconds."""

from __future__ import annotations

from functools import cache

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LONGEST = 10_000 * DAY  # nobody waits longer for a bar, and times that are multiples of it stay in 64 bits
_NAME_MAX = 20
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


@cache
def micros(timeframe: str) -> int:
    """Length of a timeframe such as `1m`, `15m`, `1h` or `1d`, in microseconds.

    Raises ValueError for anything else; a month has no fixed length and is not a timeframe.
    """
    if len(timeframe) > _NAME_MAX:
        raise ValueError(f"{timeframe[:_NAME_MAX]!r}... is not a timeframe")
    count, unit = timeframe[:-1], timeframe[-1:]
    if unit not in _UNITS or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{timeframe!r} is not a timeframe: write a count and one of s, m, h, d, w, as in '15m'")
    length = int(count) * _UNITS[unit]
    if length > LONGEST:
        raise ValueError(f"{timeframe!r} is longer than {LONGEST // DAY} days")
    return length


@cache
def name(length: int) -> str:
    """The shortest name of a length in microseconds: 3_600_000_000 is `1h`."""
    for unit, size in reversed(_UNITS.items()):
        if length >= size and length % size == 0:
            return f"{length // size}{unit}"
    raise ValueError(f"{length} µs is not a whole number of seconds, so it has no timeframe")
