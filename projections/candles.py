"""Candle rows, made as bytes of PostgreSQL's binary COPY format at once: they are nearly all of the volume.

Rows newer than all of their series before are `fresh`: nothing can conflict with them, so they need no upsert. The
others are `late`, and are written after the fresh ones.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import NamedTuple

import numpy as np

from events.block import Columns
from events.market import Candle, CandleBackfilled, CandleRevised

from .state import SeriesKey

NEVER = -(2**63)
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_FIELDS = 13
_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01, in µs since 1970
_MIN, _MAX = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999, as in `rows`
_BAR = Struct(">iqidididididiq")
_BAR_WITHOUT_COUNT = Struct(">iqidididididi")
_SIZE = Struct(">i")
_END = Struct(">iqiq")
_NO_VALUE = -1  # in the place of a size
_NULL = _SIZE.pack(_NO_VALUE)

Bar = Candle | CandleBackfilled | CandleRevised


class Block(NamedTuple):
    columns: Columns
    seq: int
    known_at: int


class Series:
    """One series' rows of a batch. `first`, `last`: of all its rows in the batch; `added`: how many are fresh."""

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.fresh: dict[int, bytes] = {}
        self.blocks: list[bytes] = []
        self.late: dict[int, bytes] = {}
        self.first, self.last = -NEVER, NEVER
        self.added = self.seq = self.known_at = 0


class Candles:
    """All candle rows of a batch, by series."""

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}

    def add(self, key: SeriesKey, high: int, bar: Bar, origin: bytes, seq: int, known_at: int) -> int:
        """`high` is the newest close time of the series so far; returns what it is now. `origin`: as `cell` makes it.

        Raises ValueError for times that cannot be read back.
        """
        ts, count = bar.ts, bar.count
        if not _MIN <= ts <= _MAX:
            checked(ts)
        series = self.series.get(key) or self._series(key)
        values = (ts - _POSTGRES_EPOCH, 8, bar.open, 8, bar.high, 8, bar.low, 8, bar.close, 8, bar.volume)
        middle = _BAR_WITHOUT_COUNT.pack(8, *values, _NO_VALUE) if count is None else _BAR.pack(8, *values, 8, count)
        row = series.prefix + middle + origin + _END.pack(8, seq, 8, known_at - _POSTGRES_EPOCH)
        series.seq, series.known_at = seq, known_at
        if ts < series.first:
            series.first = ts
        if ts > series.last:
            series.last = ts
        if ts > high:
            series.fresh[ts] = row
            series.added += 1
            return ts
        if ts in series.fresh and ts not in series.late:
            series.fresh[ts] = row
        else:
            series.late[ts] = row
        return high

    def add_block(self, key: SeriesKey, high: int, block: Block) -> int:
        ts = block.columns.ts
        if not len(ts):
            return high
        first, last = int(ts[0]), int(ts[-1])
        checked(first)
        checked(last)
        if (np.diff(ts) <= 0).any():
            raise ValueError("close times of a block are not strictly increasing")
        series = self.series.get(key) or self._series(key)
        rows = _packed(series.prefix, block)
        size = len(rows) // len(ts)
        late = int(np.searchsorted(ts, high, side="right"))
        for place in range(late):
            series.late[int(ts[place])] = rows[place * size : place * size + size]
        series.first, series.last = min(series.first, first), max(series.last, last)
        series.seq, series.known_at = block.seq, block.known_at
        if late < len(ts):
            series.blocks.append(rows[late * size :] if late else rows)
            series.added += len(ts) - late
            return last
        return high

    def _series(self, key: SeriesKey) -> Series:
        made = self.series[key] = Series(_prefix(key))
        return made

    def fresh(self) -> list[bytes]:
        """Pieces of a binary COPY, without its header and trailer."""
        pieces: list[bytes] = []
        for series in self.series.values():
            pieces += series.blocks
            pieces += series.fresh.values()
        return pieces

    def late(self) -> list[bytes]:
        return [row for series in self.series.values() for row in series.late.values()]


def checked(ts: int) -> None:
    if not _MIN <= ts <= _MAX:
        raise ValueError(f"the time {ts} µs is outside of the years 1 to 9999")


def cell(value: str) -> bytes:
    """A field of type text: its size and its bytes."""
    data = value.encode()
    if b"\0" in data:
        raise ValueError("PostgreSQL text cannot hold a zero byte")
    return _SIZE.pack(len(data)) + data


@lru_cache(maxsize=65_536)
def _prefix(key: SeriesKey) -> bytes:
    return _FIELDS.to_bytes(2, "big") + b"".join(map(cell, key))


def _packed(prefix: bytes, block: Block) -> bytes:
    """The rows of a block, built column by column: rows of one block have one length."""
    columns = block.columns
    tail = cell("history") + _END.pack(8, block.seq, 8, block.known_at - _POSTGRES_EPOCH)
    counted = columns.count is not None
    names = ("ts", "open", "high", "low", "close", "volume", *(("count",) if counted else ()))
    layout: list[tuple[str, str]] = [("prefix", f"V{len(prefix)}")]
    for name in names:
        layout += [(f"{name}_size", ">i4"), (name, ">i8" if name in ("ts", "count") else ">f8")]
    tail = tail if counted else _NULL + tail
    layout.append(("tail", f"V{len(tail)}"))
    rows = np.empty(len(columns), dtype=layout)
    rows["prefix"], rows["tail"] = np.void(prefix), np.void(tail)
    for name in names:
        rows[f"{name}_size"] = 8
        rows[name] = getattr(columns, name)
    rows["ts"] -= _POSTGRES_EPOCH
    return rows.tobytes()
