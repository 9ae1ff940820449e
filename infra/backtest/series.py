"""Numbers over time: positions and cash that change now and then, and the closes of a market's bars."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from events.block import Columns, Floats, Ints
from infra.backtest.shared import Shared


class Steps:
    """A number that changes at certain times; 0 before the first."""

    def __init__(self) -> None:
        self._ts, self._values = array("q"), array("d", [0.0])

    def add(self, ts: int, value: float) -> None:
        self._ts.append(ts)
        self._values.append(value)

    def add_many(self, ts: Ints, values: Floats) -> None:
        self._ts.frombytes(ts.tobytes())
        self._values.frombytes(values.tobytes())

    @property
    def values(self) -> Floats:
        """0, and what it changed to each time."""
        return np.array(self._values)

    def over(self, ts: Ints) -> Levels:
        """What it is after everything that happened at each of `ts`, in order."""
        return Levels(self.values, np.searchsorted(ts, np.array(self._ts, np.int64)))


class Levels:
    """values[0] until row moves[0], values[1] until row moves[1], and so on."""

    def __init__(self, values: Floats, moves: Ints) -> None:
        # What is dated before its turn counts from its turn on.
        self._values, self._moves = values, np.maximum.accumulate(moves)

    def at(self, start: int, stop: int) -> Floats:
        """Of rows from `start` on, before `stop`."""
        first = int(np.searchsorted(self._moves, start, "right"))
        last = max(first, int(np.searchsorted(self._moves, stop)))
        bounds = np.concatenate(([start], self._moves[first:last], [stop]))
        return np.repeat(self._values[first : last + 1], np.diff(bounds))


class Marks:
    """The closes of a market's bars, as they come one by one and in columns."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared, self._windows = shared, list[tuple[Columns, bytes]]()
        self.first: float | None = None
        self._ones = (array("q"), array("d"))
        self._many: list[tuple[Ints, Floats]] = []
        self._whole: tuple[Ints, Floats] | None = None

    def add(self, ts: int, close: float) -> None:
        self._ones[0].append(ts)
        self._ones[1].append(close)

    def add_many(self, rows: Columns, some: NDArray[np.bool_] | None) -> None:
        """Rows of a window, all where `some` does not say which."""
        ts, close = (rows.ts, rows.close) if some is None else (rows.ts[some], rows.close[some])
        if self._shared is not None:
            self._windows.append((rows, b"" if some is None else some.tobytes()))
            self._many.append((ts, close))
        else:
            self._many.append((ts.copy(), close.copy()))

    def whole(self) -> tuple[Ints, Floats]:
        """(close times in order, closes)."""
        if self._whole is None:
            ones = np.array(self._ones[0], np.int64), np.array(self._ones[1])
            if self._shared is not None:
                self._whole = self._shared.series(self._windows, ones, self._joined)
            else:
                self._whole = self._joined(ones)
            self._many = []
        return self._whole

    def _joined(self, ones: tuple[Ints, Floats]) -> tuple[Ints, Floats]:
        """Bars of one time in the order in which they came, those that came alone last."""
        times, closes = ([one[place] for one in self._many] for place in (0, 1))
        self._many = []
        empty = np.empty(0, np.int64), np.empty(0)
        ts = np.concatenate(times or [empty[0]])
        times.clear()  # before the closes are copied: they are long
        close = np.concatenate(closes or [empty[1]])
        closes.clear()
        if (ts[1:] < ts[:-1]).any():
            order = np.argsort(ts, kind="stable")
            ts, close = ts[order], close[order]
        if not len(ones[0]):
            whole: tuple[Any, Any] = ts, close
            return whole
        order = np.argsort(ones[0], kind="stable")
        places = np.searchsorted(ts, ones[0][order], "right")
        found: tuple[Any, Any] = np.insert(ts, places, ones[0][order]), np.insert(close, places, ones[1][order])
        return found

    @property
    def last(self) -> float:
        found, newest = self.first or 0.0, -1
        parts: list[tuple[Any, Any]] = [*self._many, self._ones] if self._whole is None else [self._whole]
        for ts, close in parts:
            if len(ts) and ts[-1] >= newest:
                found, newest = float(close[-1]), int(ts[-1])
        return found

    def at(self, ts: Ints) -> Floats:
        """The newest close at each time; before the first bar, the price of the first fill."""
        times, closes = self.whole()
        if times is ts:
            return closes
        start = int(np.searchsorted(times, ts[0])) if len(ts) else 0
        if np.array_equal(times[start : start + len(ts)], ts):
            return closes[start : start + len(ts)]
        place = np.searchsorted(times, ts, "right") - 1
        found: Floats = np.where(place < 0, self.first or 0.0, closes[place] if len(closes) else 0.0)
        return found
