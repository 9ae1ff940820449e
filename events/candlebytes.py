"""The canonical bytes of a message that is one candle: words that name the series, then a record of fixed width."""

from __future__ import annotations

import struct
from functools import lru_cache

import msgspec

from . import subjects
from .decision import digest_of
from .market import Candle

MARK = 1
"""The first byte, which no JSON begins with. The second says what the bytes end with: see below."""
OUTSIDE, CAUSED, PASSED_ON = range(3)
"""No cause; a cause's id; or no id, because the cause is the message in which the feed says this very candle. So a
candle that is passed on can be hashed without the id of what said it."""
NO_COUNT = -(2**63)
RECORD = struct.Struct("<qq5dq")
"""Time of the message, ts, open, high, low, close, volume, count (NO_COUNT: unknown)."""


@lru_cache(maxsize=65_536)
def head(actor: str, venue: str, symbol: str, timeframe: str, ends: int) -> bytes:
    """24 bytes: the mark, and a hash of the names."""
    names = bytes.fromhex(digest_of(msgspec.json.encode((actor, venue, symbol, timeframe))))
    return (MARK + 256 * ends).to_bytes(8, "little") + names


def candle_bytes(actor: str, by: str, ts: int, c: Candle) -> bytes:
    """`by` is an id of 32 hex digits, or empty. Raises ValueError for another one, and struct.error for numbers that
    do not fit."""
    count = NO_COUNT if c.count is None else c.count
    record = RECORD.pack(ts, c.ts, c.open, c.high, c.low, c.close, c.volume, count)
    names = (c.venue, c.symbol, c.timeframe)
    if not by:
        return head(actor, *names, OUTSIDE) + record
    if actor == subjects.market(c.venue, c.symbol):
        said = head(subjects.feed(c.venue, c.symbol), *names, OUTSIDE) + record
        if by == digest_of(said):
            return head(actor, *names, PASSED_ON) + record
    cause = bytes.fromhex(by)
    if cause.hex() != by or len(cause) != 16:
        raise ValueError(f"{by!r} is no id of 32 hex digits")
    return head(actor, *names, CAUSED) + record + cause
