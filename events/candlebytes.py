"""The canonical bytes of a message that is one candle: a head that names the series, then a record of fixed width."""

from __future__ import annotations

import struct
from functools import lru_cache

from .market import Candle

NO_COUNT = -(2**63)
RECORD = struct.Struct("<qq5dq")
"""Time of the message, ts, open, high, low, close, volume, count (NO_COUNT: unknown); the id of the cause follows."""


@lru_cache(maxsize=65_536)
def head(actor: str, venue: str, symbol: str, timeframe: str) -> bytes:
    """Begins with a byte that no JSON begins with; every name with its length."""
    names = [name.encode() for name in (actor, venue, symbol, timeframe)]
    return b"\x01" + b"".join(len(name).to_bytes(4, "little") + name for name in names)


def candle_bytes(actor: str, by: str, ts: int, c: Candle) -> bytes:
    """Raises struct.error for numbers that do not fit."""
    count = NO_COUNT if c.count is None else c.count
    record = RECORD.pack(ts, c.ts, c.open, c.high, c.low, c.close, c.volume, count)
    return head(actor, c.venue, c.symbol, c.timeframe) + record + by.encode()
