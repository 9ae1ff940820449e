"""Candle blocks: columns of history packed into facts that fit a message, and back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .market import Candle, CandleBlock

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_PRICES = ("open", "high", "low", "close", "volume")
# 7 columns x 8 bytes x 4/3 (base64) x 4,000 = 300 kB: a symbol's answer repeats the block once more in every higher
# timeframe and stays below the bus's limit of 1 MB with seven of them.
ROWS_MAX = 4_000


class Columns(msgspec.Struct, frozen=True):
    """Candles as columns of equal length: `ts` close times in µs, strictly increasing; `count` None where unknown."""

    ts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    count: Ints | None = None

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Columns:
        ts, o, h, l, c, v = (getattr(self, name)[rows] for name in ("ts", *_PRICES))
        return Columns(ts, o, h, l, c, v, None if self.count is None else self.count[rows])

    def read_only(self) -> Columns:
        """The same rows, as arrays that cannot be written to."""
        found = self[:]
        for name in ("ts", *_PRICES, "count"):
            if (column := getattr(found, name)) is not None:
                column.flags.writeable = False
        return found


def pack(venue: str, symbol: str, timeframe: str, columns: Columns) -> Iterator[CandleBlock]:
    """Blocks of at most ROWS_MAX rows, in order."""
    count = columns.count if columns.count is not None else np.full(len(columns), -1, np.int64)
    for start in range(0, len(columns), ROWS_MAX):
        rows = slice(start, start + ROWS_MAX)
        ts = np.ascontiguousarray(columns.ts[rows], "<i8").tobytes()
        o, h, l, c, v = (np.ascontiguousarray(getattr(columns, n)[rows], "<f8").tobytes() for n in _PRICES)
        trades = np.ascontiguousarray(count[rows], "<i8").tobytes()
        yield CandleBlock(venue, symbol, timeframe, len(ts) // 8, ts, o, h, l, c, v, trades)


def unpack(block: CandleBlock) -> Columns:
    """Raises ValueError where a column's length is not `rows`."""
    for name in ("ts", *_PRICES, "count"):
        if len(getattr(block, name)) != 8 * block.rows:
            raise ValueError(f"column `{name}` holds {len(getattr(block, name))} bytes, not 8 x {block.rows} rows")
    o, h, l, c, v = (np.frombuffer(getattr(block, name), "<f8") for name in _PRICES)
    count = np.frombuffer(block.count, "<i8")
    return Columns(np.frombuffer(block.ts, "<i8"), o, h, l, c, v, None if (count < 0).any() else count)


def candles(venue: str, symbol: str, timeframe: str, columns: Columns) -> Iterator[Candle]:
    """The rows as facts, in order."""
    return iter(candle_list(venue, symbol, timeframe, columns))


def candle_list(venue: str, symbol: str, timeframe: str, columns: Columns) -> list[Candle]:
    """The rows as facts, in order, made without a loop of Python's own."""
    counts: Any = repeat(None) if columns.count is None else columns.count.tolist()
    names = (repeat(venue), repeat(symbol), repeat(timeframe))
    return list(map(Candle, *names, *(getattr(columns, name).tolist() for name in ("ts", *_PRICES)), counts))


def joined(first: Columns, second: Columns) -> Columns:
    """Rows after rows. Numbers of trades are unknown for all where they are for some."""
    names = ("ts", *_PRICES) if first.count is None or second.count is None else ("ts", *_PRICES, "count")
    return Columns(*(np.concatenate((getattr(first, name), getattr(second, name))) for name in names))
