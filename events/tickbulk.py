"""Columns of trades as messages: the ids that single messages have, worked out at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .block import Floats, Ints
from .bulk import Bytes, hashed
from .tickbytes import NUMBERED, RECORD, head, named

ROWS = 16_384  # rows worked on at a time: what is in the making stays in the processor's cache
SIDES = ("", "buy", "sell")
"""By 0, +1 and -1."""
_HEAD, _RECORD = 3, RECORD.size // 8  # words
_POWERS = 10 ** np.arange(1, 19)


def trade_ids(
    feed: str,
    venue: str,
    symbol: str,
    ts: Ints,
    price: Floats,
    qty: Floats,
    side: NDArray[np.int8],
    ids: Sequence[str],
) -> Bytes:
    """(rows, 16): the ids of the messages in which a feed says these trades, one each. `side` as SIDES has it."""
    sides = np.asarray(side, np.int64) % len(SIDES)
    heads = [head(feed, venue, symbol, one, flag) for flag in (0, NUMBERED) for one in SIDES]
    fronts, parts = np.frombuffer(b"".join(heads), "<i8").reshape(-1, _HEAD), [np.empty((0, 16), np.uint8)]
    for start in range(0, len(ts), ROWS):
        some = slice(start, start + ROWS)
        flags, names = _names(ids[some])
        whole = np.empty((len(flags), _HEAD + _RECORD), "<i8")
        whole[:, :_HEAD] = fronts[sides[some] + np.where(flags == NUMBERED, len(SIDES), 0)]
        whole[:, 3] = whole[:, 4] = ts[some]
        whole[:, 5] = np.asarray(price[some], "<f8").view("<i8")
        whole[:, 6] = np.asarray(qty[some], "<f8").view("<i8")
        whole[:, 7:] = names
        parts.append(hashed(whole))
    return np.concatenate(parts)


def _names(ids: Sequence[str]) -> tuple[Ints, Ints]:
    """What `named` has of each id: (rows), (rows, 2) words."""
    texts = list(ids)
    numbers = _numbers(texts)
    if numbers is not None:
        return np.full(len(texts), NUMBERED), np.stack([numbers, np.zeros_like(numbers)], axis=1)
    found = [named(text) for text in texts]
    return np.array([flag for flag, _ in found]), np.frombuffer(b"".join(b for _, b in found), "<i8").reshape(-1, 2)


def _numbers(texts: list[str]) -> Ints | None:
    """Where every text is a plain number."""
    joined = "".join(texts)
    if not (joined.isascii() and joined.isdecimal()):
        return None
    try:
        numbers = np.array(list(map(int, texts)), np.int64)
    except (ValueError, OverflowError):
        return None  # one is empty, or beyond 63 bits
    # A text with zeros before its number is longer than it need be, and none is shorter.
    digits = len(numbers) + int(np.searchsorted(_POWERS, numbers, "right").sum())
    return numbers if digits == len(joined) else None
