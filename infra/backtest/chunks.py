"""Market files piece by piece: candles of several instruments, cut at common times, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from events.block import Columns

ROWS = 131_072
_NAMES = ("ts", "open", "high", "low", "close", "volume")


class Source(Protocol):
    """Rows that are read when they are wanted. `first` and `last`: µs, of the rows."""

    @property
    def rows(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    def chunks(self, rows: int, *, start: int | None = None, end: int | None = None) -> Iterator[Any]:
        """At most `rows` rows each, in order, start < ts <= end."""
        ...


class InMemory:
    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.rows = len(columns)
        self.first, self.last = (int(columns.ts[0]), int(columns.ts[-1])) if self.rows else (0, 0)

    def chunks(self, rows: int, *, start: int | None = None, end: int | None = None) -> Iterator[Columns]:
        ts = self._columns.ts
        first = 0 if start is None else int(np.searchsorted(ts, start, "right"))
        last = len(ts) if end is None else int(np.searchsorted(ts, end, "right"))
        for at in range(first, last, rows):
            yield self._columns[slice(at, min(at + rows, last))]


class InParts:
    """A candle file that the importers read piece by piece, anew each time. `options` as for `read_parts`."""

    def __init__(self, path: Path, options: dict[str, Any], rows: int, first: int, last: int) -> None:
        self._path, self._options = path, options
        self.rows, self.first, self.last = rows, first, last

    def chunks(self, rows: int, *, start: int | None = None, end: int | None = None) -> Iterator[Columns]:
        from infra.importers import read_parts  # as in `data.load`

        for piece in read_parts(self._path, **self._options):
            if end is not None and int(piece.ts[0]) > end:
                return
            yield from InMemory(piece).chunks(rows, start=start, end=end)


class _Head:
    """One file at the place that has been reached: the rest of a chunk, and what follows it."""

    def __init__(self, feed: str, chunks: Iterator[Columns]) -> None:
        self.feed, self._chunks = feed, chunks
        self._rest: Columns | None = None
        self._ahead = next(chunks, None)
        self.turn()

    def turn(self) -> None:
        if self._rest is None or not len(self._rest):
            self._rest, self._ahead = self._ahead, next(self._chunks, None)

    @property
    def ended(self) -> bool:
        return self._rest is None or not len(self._rest)

    @property
    def reach(self) -> int | None:
        """Up to when all is at hand; None: to the end."""
        assert self._rest is not None
        return None if self._ahead is None else int(self._rest.ts[-1])

    def take(self, cut: int | None) -> Columns:
        assert self._rest is not None
        at = len(self._rest) if cut is None else int(np.searchsorted(self._rest.ts, cut, "right"))
        taken, self._rest = self._rest[slice(0, at)], self._rest[slice(at, None)]
        return taken


def windows(
    sources: Sequence[tuple[str, Source]], start: int | None, end: int | None, rows: int
) -> Iterator[dict[str, Columns]]:
    """Windows in order of time, feed by feed in the order of their names; see `infra.backtest.data.windows`."""
    heads = [_Head(feed, source.chunks(rows, start=start, end=end)) for feed, source in sources]
    while heads := [one for one in heads if not one.ended]:
        cut = min((one.reach for one in heads if one.reach is not None), default=None)
        taken: dict[str, list[Columns]] = {}
        for head in heads:
            if len(found := head.take(cut)):
                taken.setdefault(head.feed, []).append(found)
            head.turn()
        yield {feed: _united(taken[feed]) for feed in sorted(taken)}


def _united(parts: list[Columns]) -> Columns:
    """Rows of several files of one instrument by time, the files' order among equals; equal rows once."""
    if len(parts) == 1:
        return parts[0]
    counts = [one.count for one in parts if one.count is not None]
    if len(counts) not in (0, len(parts)):
        raise ValueError("some files of an instrument have numbers of trades and some have none: play them as messages")
    columns: list[NDArray[Any]] = [np.concatenate([getattr(one, name) for one in parts]) for name in _NAMES]
    if counts:
        columns.append(np.concatenate(counts))
    order = np.argsort(columns[0], kind="stable")
    columns = [column[order] for column in columns]
    again = np.concatenate(([False], columns[0][1:] == columns[0][:-1]))
    if again.any():
        keep = ~again
        shared = np.flatnonzero(again | np.append(again[1:], False))
        words = np.stack([column[shared].view(np.int64) for column in columns], axis=1)
        _, firsts = np.unique(words, axis=0, return_index=True)
        keep[shared] = False
        keep[shared[firsts]] = True
        columns = [column[keep] for column in columns]
    return Columns(*columns)
