"""Columns of trades as messages: the ids that single messages have, worked out at once."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from .block import Floats, Ints
from .tickbytes import NUMBERED, RECORD, head, named

ROWS = 16_384  # rows worked on at a time: what is in the making stays in the processor's cache
SIDES = ("", "buy", "sell")
"""By 0, +1 and -1."""
_HEAD, _RECORD = 3, RECORD.size // 8  # words


def trade_ids(
    feed: str,
    venue: str,
    symbol: str,
    ts: Ints,
    price: Floats,
    qty: Floats,
    side: NDArray[np.int8],
    ids: Sequence[str],
) -> NDArray[np.uint8]:
    """(rows, 16): the ids of the messages in which a feed says these trades, one each. `side` as SIDES has it."""
    sides = np.asarray(side, np.int64) % len(SIDES)
    parts, width = [b""], 8 * (_HEAD + _RECORD)
    for start in range(0, len(ts), ROWS):
        some = slice(start, start + ROWS)
        flags, names = _names(ids[some])
        whole = np.empty((len(flags), _HEAD + _RECORD), "<i8")
        heads = [head(feed, venue, symbol, one, flag) for flag in (0, NUMBERED) for one in SIDES]
        whole[:, :_HEAD] = np.frombuffer(b"".join(heads), "<i8").reshape(-1, _HEAD)[
            sides[some] + np.where(flags == NUMBERED, len(SIDES), 0)
        ]
        whole[:, 3] = whole[:, 4] = ts[some]
        whole[:, 5] = np.asarray(price[some], "<f8").view("<i8")
        whole[:, 6] = np.asarray(qty[some], "<f8").view("<i8")
        whole[:, 7:] = names
        flat = memoryview(whole.tobytes())
        parts += [blake2b(flat[at : at + width], digest_size=16).digest() for at in range(0, len(flat), width)]
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 16)


def _names(ids: Sequence[str]) -> tuple[Ints, Ints]:
    """What `named` has of each id: (rows), (rows, 2) words."""
    texts = list(ids)
    try:
        numbers = list(map(int, texts))
        if list(map(str, numbers)) == texts and min(numbers) >= 0:
            names = np.zeros((len(texts), 2), "<i8")
            names[:, 0] = numbers
            return np.full(len(texts), NUMBERED), names
    except (ValueError, OverflowError):
        pass  # some are other texts, or longer numbers
    found = [named(text) for text in texts]
    return np.array([flag for flag, _ in found]), np.frombuffer(b"".join(b for _, b in found), "<i8").reshape(-1, 2)
