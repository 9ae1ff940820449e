"""The calendar interface and its two shapes: always open, and a table of open intervals."""

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

MONDAY = 4 * 86_400_000_000  # 1970-01-05, a Monday, in microseconds: the origin of weekly candles
_GRIDS_MAX = 64  # distinct (step, origin) pairs kept per calendar; a deployment has about ten timeframes


class Missing(msgspec.Struct, frozen=True, gc=False):
    """Expected candles that did not come: how many, and the first and last close among them (µs UTC)."""

    count: int
    first: int
    last: int


class CalendarBoundsError(ValueError):
    """A stamp lies outside the time for which a calendar has data."""


class Calendar(Protocol):
    """Stamps, steps and origins are integer microseconds; `step` > 0; candle closes are `origin + k * step`.

    A table's methods raise CalendarBoundsError where a candle asked about is not wholly inside its data.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything the answers depend on."""

    @property
    def continuous(self) -> bool:
        """Never closed: the close after a close `t` is `t + step`, no call needed."""

    def is_open(self, ts: int) -> bool:
        """Whether the market is open at the instant `ts`; the closing instant itself is closed."""

    def expects(self, close: int, step: int, origin: int = 0) -> bool:
        """Whether `close` is the close of an expected candle: on the grid, and overlapping open time."""

    def closes(self, start: int, end: int, step: int, origin: int = 0) -> int:
        """Number of expected candle closes `t` with `start < t <= end`; 0 if `end <= start`."""

    def next_close(self, ts: int, step: int, origin: int = 0) -> int:
        """First expected candle close after `ts`."""

    def gap(self, after: int, before: int, step: int, origin: int = 0) -> Missing | None:
        """Expected closes strictly between two stamps, None if there are none; closures are not counted."""

    def gaps(self, after: int, before: int, step: int, origin: int = 0) -> tuple[Missing, ...]:
        """The same closes, split at closures: within a part every grid point is expected."""


class Continuous:
    """Open at all times."""

    __slots__ = ()
    name = "24x7"
    fingerprint = hashlib.sha256(b"24x7").hexdigest()
    continuous = True

    def is_open(self, ts: int) -> bool:
        return True

    def expects(self, close: int, step: int, origin: int = 0) -> bool:
        return (close - origin) % step == 0

    def closes(self, start: int, end: int, step: int, origin: int = 0) -> int:
        return max(0, (end - origin) // step - (start - origin) // step)

    def next_close(self, ts: int, step: int, origin: int = 0) -> int:
        return ts + step - (ts - origin) % step

    def gap(self, after: int, before: int, step: int, origin: int = 0) -> Missing | None:
        first = after + step - (after - origin) % step
        if first >= before:
            return None
        last = before - 1 - (before - 1 - origin) % step
        return Missing((last - first) // step + 1, first, last)

    def gaps(self, after: int, before: int, step: int, origin: int = 0) -> tuple[Missing, ...]:
        gap = self.gap(after, before, step, origin)
        return () if gap is None else (gap,)


class _Grid(NamedTuple):
    """Expected closes of one grid: runs of indices `first..last`, `before` counts those of earlier runs."""

    first: "array[int]"
    last: "array[int]"
    before: "array[int]"


class Sessions:
    """A table of open intervals over fixed bounds. Lookups are O(log sessions).

    `intervals`: (open, close) pairs in µs UTC, in any order; empty ones are skipped, touching ones merged, and
    overlapping ones a ValueError.
    `bounds`: (from, to) in µs UTC: the time that the table speaks for.
    """

    continuous = False

    def __init__(self, name: str, intervals: Iterable[tuple[int, int]], bounds: tuple[int, int]) -> None:
        self.name = name
        self.bounds = bounds
        self._opens, self._closes = _merged(name, intervals)
        digest = hashlib.sha256(array("q", bounds).tobytes())
        digest.update(self._opens.tobytes())
        digest.update(self._closes.tobytes())
        self.fingerprint = digest.hexdigest()
        self._grids: dict[tuple[int, int], _Grid] = {}

    def is_open(self, ts: int) -> bool:
        self._check(ts, ts)
        index = bisect_right(self._opens, ts) - 1
        return index >= 0 and ts < self._closes[index]

    def expects(self, close: int, step: int, origin: int = 0) -> bool:
        self._check(close - step, close)
        first, last, _ = self._grid(step, origin)
        index, rest = divmod(close - origin, step)
        run = bisect_right(first, index) - 1
        return rest == 0 and run >= 0 and index <= last[run]

    def closes(self, start: int, end: int, step: int, origin: int = 0) -> int:
        if end <= start:
            return 0
        self._check(start + 1 - step, end)
        grid = self._grid(step, origin)
        return _count(grid, (end - origin) // step) - _count(grid, (start - origin) // step)

    def next_close(self, ts: int, step: int, origin: int = 0) -> int:
        first, last, _ = self._grid(step, origin)
        after = (ts - origin) // step + 1
        index = bisect_left(last, after)
        close = origin + max(after, first[index]) * step if index < len(last) else self.bounds[1] + 1
        self._check(ts + 1 - step, close)
        return close

    def gap(self, after: int, before: int, step: int, origin: int = 0) -> Missing | None:
        self._check(after + 1 - step, before - 1)
        grid = self._grid(step, origin)
        low, high = (after - origin) // step + 1, (before - 1 - origin) // step
        if low > high:  # the next candle came: nearly every call ends here
            return None
        run, final = bisect_left(grid.last, low), bisect_right(grid.first, high) - 1
        if run > final:
            return None
        first, last = max(low, grid.first[run]), min(high, grid.last[final])
        return Missing(_count(grid, last) - _count(grid, first - 1), origin + first * step, origin + last * step)

    def gaps(self, after: int, before: int, step: int, origin: int = 0) -> tuple[Missing, ...]:
        whole = self.gap(after, before, step, origin)
        if whole is None:
            return ()
        first, last, _ = self._grid(step, origin)
        low, high = (whole.first - origin) // step, (whole.last - origin) // step
        found = []
        for run in range(bisect_left(last, low), bisect_right(first, high)):
            start, end = max(low, first[run]), min(high, last[run])
            found.append(Missing(end - start + 1, origin + start * step, origin + end * step))
        return tuple(found)

    def _check(self, low: int, high: int) -> None:
        if low < self.bounds[0] or high > self.bounds[1]:
            known = " to ".join(_show(bound) for bound in self.bounds)
            asked = _show(low if low < self.bounds[0] else high)
            raise CalendarBoundsError(f"calendar {self.name} has data for {known}; asked about {asked}")

    def _grid(self, step: int, origin: int) -> _Grid:
        grid = self._grids.get((step, origin))
        if grid is None:
            if step <= 0:
                raise ValueError(f"a candle's step is a positive number of microseconds, not {step}")
            if len(self._grids) >= _GRIDS_MAX:
                self._grids.clear()
            grid = self._grids[step, origin] = _runs(self._opens, self._closes, step, origin)
        return grid


def _count(grid: _Grid, index: int) -> int:
    """Expected closes with grid index <= index."""
    run = bisect_right(grid.first, index) - 1
    if run < 0:
        return 0
    return grid.before[run] + min(index, grid.last[run]) - grid.first[run] + 1


def _runs(opens: Iterable[int], closes: Iterable[int], step: int, origin: int) -> _Grid:
    firsts, lasts, befores = array("q"), array("q"), array("q")
    total = 0
    for opened, closed in zip(opens, closes, strict=True):
        # The candle holding the opening instant, to the one holding the last instant before the close.
        first = (opened - origin) // step + 1
        last = (closed - 1 - origin) // step + 1
        if lasts and first <= lasts[-1] + 1:
            total += max(0, last - lasts[-1])
            lasts[-1] = max(last, lasts[-1])
            continue
        firsts.append(first)
        lasts.append(last)
        befores.append(total)
        total += last - first + 1
    return _Grid(firsts, lasts, befores)


def _merged(name: str, intervals: Iterable[tuple[int, int]]) -> "tuple[array[int], array[int]]":
    opens, closes = array("q"), array("q")
    for opened, closed in sorted(intervals):
        if closed <= opened:
            continue
        if closes and opened < closes[-1]:
            raise ValueError(f"calendar {name}: the session opening {_show(opened)} overlaps another")
        if closes and opened == closes[-1]:
            closes[-1] = closed
            continue
        opens.append(opened)
        closes.append(closed)
    return opens, closes


def _show(ts: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts)).isoformat()
    except OverflowError:
        return f"{ts} µs"
