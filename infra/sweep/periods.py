"""Stretches of market time, as they are written and as calendars cut them. UTC, microseconds; start < ts <= end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec

from infra.sweep.errors import SweepError

PERIODS_MAX = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CALENDARS = ("yearly", "monthly", "weekly", "daily")


class Period(msgspec.Struct, frozen=True):
    """Candles with start < ts <= end are of it; None: no bound."""

    start: int | None = None
    end: int | None = None

    def holds(self, ts: int) -> bool:
        return (self.start is None or self.start < ts) and (self.end is None or ts <= self.end)

    def __str__(self) -> str:
        """As `period` reads it."""
        return "all" if self.start is None and self.end is None else f"{_written(self.start)}..{_written(self.end)}"


def period(text: str) -> Period:
    """`FROM..TO` in ISO 8601, UTC where no offset is said; one of them may be left out. Raises SweepError."""
    first, dots, last = text.partition("..")
    if not dots or not (first or last):
        raise SweepError(f"--period {text!r} is none: write FROM..TO, as in 2024-01-01..2024-06-01")
    start, end = (_read(text, one) if one else None for one in (first, last))
    if start is not None and end is not None and start >= end:
        raise SweepError(f"--period {text!r} ends before it begins")
    return Period(start, end)


def _read(text: str, said: str) -> int:
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise SweepError(f"--period {text!r}: {said!r} is no time: write 2024-01-31 or 2024-01-31T12:00") from None
    return (found.replace(tzinfo=found.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


def _written(ts: int | None) -> str:
    if ts is None:
        return ""
    found = (_EPOCH + timedelta(microseconds=ts)).replace(tzinfo=None)
    return found.date().isoformat() if found.time().isoformat() == "00:00:00" else found.isoformat()


def cut(how: str, first: int, last: int) -> list[Period]:
    """The stretches that hold rows from `first` to `last`: of a calendar, or N of equal length. Raises SweepError.

    A candle that closes at midnight belongs to the day that ends.
    """
    if how in CALENDARS:
        return list(_calendar(how, first, last))
    try:
        count = int(how)
    except ValueError:
        count = 0
    if not 0 < count <= PERIODS_MAX:
        raise SweepError(f"--periods {how!r} is neither {', '.join(CALENDARS)} nor a number of equal parts")
    start = first - 1
    bounds = [start + (last - start) * number // count for number in range(count + 1)]
    return [Period(a, b) for a, b in pairwise(bounds)]


def _calendar(how: str, first: int, last: int) -> Iterator[Period]:
    begin = _begin(how, _EPOCH + timedelta(microseconds=first - 1))
    for _ in range(PERIODS_MAX):
        after = _begin(how, begin + timedelta(days={"yearly": 366, "monthly": 31, "weekly": 7, "daily": 1}[how]))
        start, end = ((one - _EPOCH) // timedelta(microseconds=1) for one in (begin, after))
        if start >= last:
            return
        yield Period(start, end)
        begin = after
    raise SweepError(f"--periods {how} cuts the data into more than {PERIODS_MAX:,} parts")


def _begin(how: str, time: datetime) -> datetime:
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    match how:
        case "yearly":
            return day.replace(month=1, day=1)
        case "monthly":
            return day.replace(day=1)
        case "weekly":
            return day - timedelta(days=day.weekday())
        case _:
            return day
