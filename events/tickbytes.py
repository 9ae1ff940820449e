"""The canonical bytes of a message that is one trade: words that name the series, then a record of fixed width."""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import blake2b

import msgspec

from .decision import digest_of
from .market import Trade

MARK = 3
"""The first byte, which no JSON begins with. The second is a sum of the flags below."""
CAUSED, NUMBERED = 1, 2
"""A cause's id ends the bytes; the trade's id is the plain text of a number, and stands here as that number."""
RECORD = struct.Struct("<qqdd16s")
"""Time of the message, ts, price, quantity, the trade's id: a number and 8 empty bytes, or the hash of a text."""
_NUMBER = struct.Struct("<q8x")


@lru_cache(maxsize=65_536)
def head(actor: str, venue: str, symbol: str, side: str, flags: int) -> bytes:
    """24 bytes: mark and flags, and a hash of the names."""
    names = bytes.fromhex(digest_of(msgspec.json.encode((actor, venue, symbol, side))))
    return (MARK + 256 * flags).to_bytes(8, "little") + names


def named(text: str) -> tuple[int, bytes]:
    """(NUMBERED or 0, 16 bytes) of a trade's id."""
    if text.isdecimal() and len(text) < 20:
        number = int(text)
        if number < 2**63 and str(number) == text:
            return NUMBERED, _NUMBER.pack(number)
    return 0, blake2b(text.encode(), digest_size=16).digest()


def trade_bytes(actor: str, by: str, ts: int, t: Trade) -> bytes:
    """`by` is an id of 32 hex digits, or empty. Raises ValueError for another one, and struct.error or OverflowError
    for numbers that do not fit."""
    numbered, name = named(t.id)
    record = RECORD.pack(ts, t.ts, t.price, t.qty, name)
    if not by:
        return head(actor, t.venue, t.symbol, t.side, numbered) + record
    cause = bytes.fromhex(by)
    if cause.hex() != by or len(cause) != 16:
        raise ValueError(f"{by!r} is no id of 32 hex digits")
    return head(actor, t.venue, t.symbol, t.side, numbered + CAUSED) + record + cause
