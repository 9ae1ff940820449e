"""Whole columns of candles as messages: the ids and canonical bytes that single messages have, worked out at once."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from .block import Columns
from .candlebytes import NO_COUNT, RECORD, head

Bytes = NDArray[np.uint8]

ROWS = 16_384  # rows worked on at a time: what is in the making stays in the processor's cache
_HEX = np.frombuffer(b"".join(b"%02x" % value for value in range(256)), np.uint8).reshape(256, 2)


def records(columns: Columns) -> Bytes:
    """(rows, 64): the fixed part of each candle's bytes; its message is stamped as the candle is."""
    rows = np.empty((len(columns), RECORD.size // 8), np.int64)
    rows[:, 0] = rows[:, 1] = columns.ts
    floats = rows.view(np.float64)
    for place, name in enumerate(("open", "high", "low", "close", "volume"), 2):
        floats[:, place] = getattr(columns, name)
    rows[:, 7] = NO_COUNT if columns.count is None else columns.count
    return rows.astype("<i8", copy=False).view(np.uint8)


def feed_ids(feed: str, venue: str, symbol: str, timeframe: str, columns: Columns) -> Bytes:
    """(rows, 16): the ids of the messages in which a feed says these candles."""
    front = head(feed, venue, symbol, timeframe)
    parts = [b""]
    for start in range(0, len(columns), ROWS):
        rows = records(columns[slice(start, start + ROWS)])
        width = len(front) + rows.shape[1]
        whole = np.empty((len(rows), width), np.uint8)
        whole[:, : len(front)] = np.frombuffer(front, np.uint8)
        whole[:, len(front) :] = rows
        flat = whole.tobytes()
        parts += [blake2b(flat[at : at + width], digest_size=16).digest() for at in range(0, len(flat), width)]
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 16)


def canonical(market: str, venue: str, symbol: str, timeframe: str, columns: Columns, ids: Bytes) -> bytes:
    """What the digest hashes of a symbol's decisions that pass these candles on: each body after its length.

    `ids` of the feed's messages, as `feed_ids` has them.
    """
    parts = []
    front = head(market, venue, symbol, timeframe)
    width = len(front) + RECORD.size + 32
    for start in range(0, len(columns), ROWS):
        rows = records(columns[slice(start, start + ROWS)])
        whole = np.empty((len(rows), 8 + width), np.uint8)
        whole[:, :8] = np.frombuffer(width.to_bytes(8, "little"), np.uint8)
        whole[:, 8 : 8 + len(front)] = np.frombuffer(front, np.uint8)
        whole[:, 8 + len(front) : -32] = rows
        whole[:, -32:] = _HEX[ids[start : start + ROWS]].reshape(len(rows), 32)
        parts.append(whole.tobytes())
    return b"".join(parts)
