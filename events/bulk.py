"""Whole columns of candles as messages: the ids and canonical bytes that single messages have, worked out at once."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from .block import Columns, Ints
from .candlebytes import CAUSED, NO_COUNT, OUTSIDE, PASSED_ON, RECORD, head

Bytes = NDArray[np.uint8]

ROWS = 16_384  # rows worked on at a time: what is in the making stays in the processor's cache
_HEAD, _RECORD, _ID = 3, RECORD.size // 8, 2  # words


def feed_ids(feed: str, venue: str, symbol: str, timeframe: str, columns: Columns) -> Bytes:
    """(rows, 16): the ids of the messages in which a feed says these candles."""
    front, parts = _words(head(feed, venue, symbol, timeframe, OUTSIDE)), [np.empty((0, 16), np.uint8)]
    for start in range(0, len(columns), ROWS):
        part = columns[slice(start, start + ROWS)]
        whole = np.empty((len(part), _HEAD + _RECORD), "<i8")
        whole[:, :_HEAD] = front
        _fill(whole[:, _HEAD:], part)
        parts.append(hashed(whole))
    return np.concatenate(parts)


def hashed(rows: Ints) -> Bytes:
    """(rows, 16): BLAKE2b of the bytes of each row."""
    parts, fresh = [], blake2b(digest_size=16).copy  # a copy is sooner there than a new one
    for body in np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}").ravel().tolist():
        one = fresh()
        one.update(body)
        parts.append(one.digest())
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 16)


def passed_on(market: str, venue: str, symbol: str, timeframe: str, columns: Columns) -> bytes:
    """What the digest hashes of a symbol's decisions that pass these candles on: each body after its length."""
    parts = []
    for start in range(0, len(columns), ROWS):
        part = columns[slice(start, start + ROWS)]
        whole = _bodies(head(market, venue, symbol, timeframe, PASSED_ON), part, 0)
        parts.append(whole.tobytes())
    return b"".join(parts)


def caused(market: str, venue: str, symbol: str, timeframe: str, columns: Columns, ids: Bytes, stamps: Ints) -> bytes:
    """The same of decisions that are one of these candles each and had other causes.

    `ids`: (rows, 16), of the messages that caused them, and `stamps` their times.
    """
    parts, causes = [], np.ascontiguousarray(ids).view("<i8")
    for start in range(0, len(columns), ROWS):
        some = slice(start, start + ROWS)
        whole = _bodies(head(market, venue, symbol, timeframe, CAUSED), columns[some], _ID)
        whole[:, -_ID:] = causes[some]
        whole[:, 1 + _HEAD] = stamps[some]
        parts.append(whole.tobytes())
    return b"".join(parts)


def _bodies(front: bytes, columns: Columns, more: int) -> Ints:
    """Length, head and record of each row, with room for `more` words."""
    whole = np.empty((len(columns), 1 + _HEAD + _RECORD + more), "<i8")
    whole[:, 0] = 8 * (_HEAD + _RECORD + more)
    whole[:, 1 : 1 + _HEAD] = _words(front)
    _fill(whole[:, 1 + _HEAD : 1 + _HEAD + _RECORD], columns)
    return whole


def _fill(rows: Ints, columns: Columns) -> None:
    """The words of each candle's record; its message is stamped as the candle is."""
    rows[:, 0] = rows[:, 1] = columns.ts
    for place, name in enumerate(("open", "high", "low", "close", "volume"), 2):
        rows[:, place] = np.asarray(getattr(columns, name), "<f8").view("<i8")
    rows[:, 7] = NO_COUNT if columns.count is None else columns.count


def _words(data: bytes) -> Ints:
    return np.frombuffer(data, "<i8")
