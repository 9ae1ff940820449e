"""Candle rows, made as bytes of PostgreSQL's binary COPY format at once: they are nearly all of the volume.

Rows newer than all of their series before are `fresh`: nothing can conflict with them, so they need no upsert. The
others are `late`, and are written after the fresh ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

import numpy as np

from events.block import Columns, Ints
from events.market import Candle, CandleBackfilled, CandleRevised

from .state import Market, MarketKey, SeriesKey

NEVER = -(2**63)
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_FIELDS = 13
_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01, in µs since 1970
_MIN, _MAX = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999, as in `rows`
_SIZE = Struct(">i")
_NO_VALUE = -1  # in the place of a size

Bar = Candle | CandleBackfilled | CandleRevised


class Block(NamedTuple):
    """Rows of one series; `seq` and `known_at` of all, or of each."""

    columns: Columns
    seq: int | Ints
    known_at: int | Ints
    origin: bytes


class Series:
    """One series' rows of a batch. `first`, `last`: of all its rows in the batch; `added`: how many are fresh; `high`:
    the newest close time of the series so far, also of batches before."""

    def __init__(self, key: SeriesKey, high: int) -> None:
        self.prefix, self.high = _prefix(key), high
        self.place: MarketKey = key[:2]
        self.market: Market | None = None
        """The state of its market, where a view has looked it up."""
        self.fresh: dict[int, bytes] = {}
        self.blocks: list[bytes] = []
        self.late: dict[int, bytes] = {}
        self.first, self.last = -NEVER, NEVER
        self.added = self.seq = self.known_at = 0

    def row(self, bar: Bar, origin: bytes, seq: int, known_at: int) -> bytes:
        """A row of COPY; `origin`: as `cell` makes it."""
        prefix, count = self.prefix, bar.count
        pack = _row(len(prefix), len(origin), count is not None)
        values = (
            prefix, 8, bar.ts - _POSTGRES_EPOCH, 8, bar.open, 8, bar.high, 8, bar.low, 8, bar.close, 8, bar.volume
        )  # fmt: skip
        end = (origin, 8, seq, 8, known_at - _POSTGRES_EPOCH)
        return pack(*values, _NO_VALUE, *end) if count is None else pack(*values, 8, count, *end)

    def newer(self, bar: Bar, origin: bytes, seq: int, known_at: int) -> None:
        """A bar behind all others, of a time that is known to be possible."""
        ts = bar.ts
        self.fresh[ts] = self.row(bar, origin, seq, known_at)
        self.added += 1
        self.seq, self.known_at = seq, known_at
        self.high = ts
        if ts < self.first:
            self.first = ts
        if ts > self.last:
            self.last = ts


class Candles:
    """All candle rows of a batch, by series."""

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}

    def at(self, key: SeriesKey, known: Mapping[SeriesKey, int]) -> Series:
        """`known`: the newest close time of each series before this batch."""
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series(key, known.get(key, NEVER))
        return series

    def add(self, series: Series, bar: Bar, origin: bytes, seq: int, known_at: int) -> None:
        """A bar of a time that `checked` has let pass."""
        ts = bar.ts
        if ts > series.high:
            series.newer(bar, origin, seq, known_at)
            return
        row = series.row(bar, origin, seq, known_at)
        series.seq, series.known_at = seq, known_at
        series.first, series.last = min(series.first, ts), max(series.last, ts)
        if ts in series.fresh and ts not in series.late:
            series.fresh[ts] = row
        else:
            series.late[ts] = row

    def add_block(self, series: Series, block: Block) -> None:
        """Of a block that `sound` has let pass."""
        ts = block.columns.ts
        rows = _packed(series.prefix, block)
        size = len(rows) // len(ts)
        late = int(np.searchsorted(ts, series.high, side="right"))
        for place in range(late):
            series.late[int(ts[place])] = rows[place * size : place * size + size]
        series.first, series.last = min(series.first, int(ts[0])), max(series.last, int(ts[-1]))
        series.seq, series.known_at = _newest(block.seq), _newest(block.known_at)
        if late < len(ts):
            series.blocks.append(rows[late * size :] if late else rows)
            series.added += len(ts) - late
            series.high = int(ts[-1])

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


def sound(columns: Columns) -> None:
    """Raises ValueError where times cannot be read back or do not increase."""
    checked(int(columns.ts[0]))
    checked(int(columns.ts[-1]))
    if (np.diff(columns.ts) <= 0).any():
        raise ValueError("close times of a block are not strictly increasing")


def cell(value: str) -> bytes:
    """A field of type text: its size and its bytes."""
    data = value.encode()
    if b"\0" in data:
        raise ValueError("PostgreSQL text cannot hold a zero byte")
    return _SIZE.pack(len(data)) + data


@lru_cache(maxsize=1024)
def _row(prefix: int, origin: int, counted: bool) -> Callable[..., bytes]:
    """Packs a whole row at once, each value behind its size; a count that is missing has a size and no value."""
    return Struct(f">{prefix}siqidididididi{'q' if counted else ''}{origin}siqiq").pack


@lru_cache(maxsize=65_536)
def _prefix(key: SeriesKey) -> bytes:
    return _FIELDS.to_bytes(2, "big") + b"".join(map(cell, key))


def _newest(values: int | Ints) -> int:
    return values if isinstance(values, int) else int(values[-1])


def _packed(prefix: bytes, block: Block) -> bytes:
    """The rows of a block, built column by column: rows of one block have one length."""
    columns = block.columns
    counted = columns.count is not None
    layout: list[tuple[str, str]] = [("prefix", f"V{len(prefix)}")]
    for name in ("ts", "open", "high", "low", "close", "volume"):
        layout += [(f"{name}_size", ">i4"), (name, ">i8" if name == "ts" else ">f8")]
    layout += [("count_size", ">i4"), *([("count", ">i8")] if counted else []), ("origin", f"V{len(block.origin)}")]
    layout += [("seq_size", ">i4"), ("seq", ">i8"), ("known_at_size", ">i4"), ("known_at", ">i8")]
    rows = np.empty(len(columns), dtype=layout)
    rows["prefix"], rows["origin"] = np.void(prefix), np.void(block.origin)
    for name, _ in layout:
        if name.endswith("_size"):
            rows[name] = 8
        elif name in columns.__struct_fields__:
            rows[name] = getattr(columns, name)
    if not counted:
        rows["count_size"] = _NO_VALUE
    rows["ts"] -= _POSTGRES_EPOCH
    rows["seq"], rows["known_at"] = block.seq, block.known_at - _POSTGRES_EPOCH
    return rows.tobytes()
