"""The canonical bytes of a message that is one candle: words that name the series, then a record of fixed width."""

from __future__ import annotations

import struct
from functools import lru_cache

import msgspec

from .decision import digest_of
from .market import Candle

MARK = 1
"""The first byte, of which JSON has none. The second is 1 where a cause's id ends the bytes."""
NO_COUNT = -(2**63)
RECORD = struct.Struct("<qq5dq")
"""Time of the message, ts, open, high, low, close, volume, count (NO_COUNT: unknown)."""


@lru_cache(maxsize=65_536)
def head(actor: str, venue: str, symbol: str, timeframe: str, caused: bool) -> bytes:
    """24 bytes: the mark, and a hash of the names."""
    names = bytes.fromhex(digest_of(msgspec.json.encode((actor, venue, symbol, timeframe))))
    return (MARK + 256 * caused).to_bytes(8, "little") + names


def candle_bytes(actor: str, by: str, ts: int, c: Candle) -> bytes:
    """`by` is an id of 32 hex digits, or empty. Raises ValueError for another one, and struct.error for numbers that
    do not fit."""
    count = NO_COUNT if c.count is None else c.count
    cause = bytes.fromhex(by)
    if cause.hex() != by or len(cause) not in (0, 16):
        raise ValueError(f"{by!r} is no id of 32 hex digits")
    record = RECORD.pack(ts, c.ts, c.open, c.high, c.low, c.close, c.volume, count)
    return head(actor, c.venue, c.symbol, c.timeframe, bool(by)) + record + cause
