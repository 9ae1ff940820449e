"""Candle rows and their bytes in PostgreSQL's binary COPY format: they are nearly all of the volume.

Rows newer than all of their series before are `fresh`: nothing can conflict with them, so they need no upsert. The
others are `late`, and are written after the fresh ones.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

import numpy as np

from events.block import Columns

from .state import SeriesKey

NEVER = -(2**63)
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_FIELDS = 13
_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01, in µs since 1970
_MIN, _MAX = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999
_BARS = Struct(">iqidididididiq")
_BARS_WITHOUT_COUNT = Struct(">iqididididid")
_ORIGIN = Struct(">i")
_END = Struct(">iqiq")
_NULL = b"\xff\xff\xff\xff"


class Bar(NamedTuple):
    """Times in µs since 1970."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int | None
    origin: str
    seq: int
    known_at: int


class Block(NamedTuple):
    columns: Columns
    seq: int
    known_at: int


class Series:
    """One series' rows of a batch. `first`, `last`: of all its rows in the batch; `added`: how many are fresh."""

    def __init__(self) -> None:
        self.fresh: dict[int, Bar] = {}
        self.blocks: list[Block] = []
        self.late: dict[int, Bar] = {}
        self.first, self.last = -NEVER, NEVER
        self.added = self.seq = self.known_at = 0

    def seen(self, first: int, last: int, seq: int, known_at: int) -> None:
        self.first, self.last = min(self.first, first), max(self.last, last)
        self.seq, self.known_at = seq, known_at


class Candles:
    """All candle rows of a batch, by series."""

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}

    def add(self, key: SeriesKey, high: int, bar: Bar) -> int:
        """`high` is the newest close time of the series so far; returns what it is now."""
        ts = bar.ts
        checked(ts)
        series = self._series(key)
        series.seen(ts, ts, bar.seq, bar.known_at)
        if ts > high:
            series.fresh[ts] = bar
            series.added += 1
            return ts
        if ts in series.fresh and ts not in series.late:
            series.fresh[ts] = bar
        else:
            series.late[ts] = bar
        return high

    def add_block(self, key: SeriesKey, high: int, block: Block) -> int:
        ts = block.columns.ts
        if not len(ts):
            return high
        checked(int(ts[0]))
        checked(int(ts[-1]))
        if (np.diff(ts) <= 0).any():
            raise ValueError("close times of a block are not strictly increasing")
        series = self._series(key)
        series.seen(int(ts[0]), int(ts[-1]), block.seq, block.known_at)
        late = int(np.searchsorted(ts, high, side="right"))
        for bar in _bars(block._replace(columns=block.columns[:late])):
            series.late[bar.ts] = bar
        if late < len(ts):
            series.blocks.append(block._replace(columns=block.columns[late:]))
            series.added += len(ts) - late
            return int(ts[-1])
        return high

    def _series(self, key: SeriesKey) -> Series:
        found = self.series.get(key)
        if found is None:
            found = self.series[key] = Series()
        return found

    def fresh(self) -> list[bytes]:
        """Pieces of a binary COPY, without its header and trailer."""
        pieces: list[bytes] = []
        for key, series in self.series.items():
            prefix = _prefix(key)
            pieces += [_packed(prefix, block) for block in series.blocks]
            pieces += [_row(prefix, bar) for bar in series.fresh.values()]
        return pieces

    def late(self) -> list[bytes]:
        return [_row(_prefix(key), bar) for key, series in self.series.items() for bar in series.late.values()]


def checked(ts: int) -> None:
    if not _MIN <= ts <= _MAX:
        raise ValueError(f"the time {ts} µs is outside of the years 1 to 9999")


def _bars(block: Block) -> list[Bar]:
    columns = block.columns
    counts = columns.count.tolist() if columns.count is not None else [None] * len(columns)
    values = (getattr(columns, name).tolist() for name in ("ts", "open", "high", "low", "close", "volume"))
    return [Bar._make((*row, "history", block.seq, block.known_at)) for row in zip(*values, counts, strict=True)]


def _text(value: str) -> bytes:
    data = value.encode()
    if b"\0" in data:
        raise ValueError("PostgreSQL text cannot hold a zero byte")
    return _ORIGIN.pack(len(data)) + data


def _prefix(key: SeriesKey) -> bytes:
    return _FIELDS.to_bytes(2, "big") + b"".join(map(_text, key))


def _row(prefix: bytes, bar: Bar) -> bytes:
    ts, open_, high, low, close, volume, count, origin, seq, known_at = bar
    ts -= _POSTGRES_EPOCH
    if count is None:
        middle = _BARS_WITHOUT_COUNT.pack(8, ts, 8, open_, 8, high, 8, low, 8, close, 8, volume) + _NULL
    else:
        middle = _BARS.pack(8, ts, 8, open_, 8, high, 8, low, 8, close, 8, volume, 8, count)
    return prefix + middle + _text(origin) + _END.pack(8, seq, 8, known_at - _POSTGRES_EPOCH)


def _packed(prefix: bytes, block: Block) -> bytes:
    """The rows of a block, built column by column: rows of one block have one length."""
    columns = block.columns
    tail = _text("history") + _END.pack(8, block.seq, 8, block.known_at - _POSTGRES_EPOCH)
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
