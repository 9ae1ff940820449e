"""Messages to columns in compiled code: some tenths of a microsecond a fact, where objects take some microseconds.

It knows one form of each fact, that in which the codec writes it, and takes a message only if every byte of it is as
expected: what it takes, the codec reads in the same way. All else is left to the codec.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Union, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from events.decision import Recorded
from events.fact import Fact, tag
from events.market import Book, Candle, FeedHeartbeat, Quote, Trade
from events.scanned import UNKNOWN as UNKNOWN
from events.scanned import Group, Scanned

ENOUGH, ENOUGH_TO_COMPILE = 50_000, 2_000_000
"""Messages whose decoding takes about as long as to load the compiled code, and as to compile it first."""

TEXT, INT, FLOAT, INT_OR_NULL, PAIRS = range(5)
"""Forms of values."""

ENTITIES = {b"feed.": 1, b"market.": 2}
"""By what an actor's name begins with; all others are 0."""
_NAMES = ("", "feed", "market")
_PLAIN: tuple[type[Fact], ...] = (Candle, Trade, Book, FeedHeartbeat, Quote)
"""The first is the one that a market may say; it alone has a timeframe and prices."""
_FORMS = {str: TEXT, int: INT, float: FLOAT, Union[int, None]: INT_OR_NULL,  # noqa: UP007
          tuple[tuple[float, float], ...]: PAIRS}  # fmt: skip
_GROUPS_MAX = 1 << 14
_BYTES_MIN = 50
"""A fact has at least so many."""

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


def worth_it(messages: int) -> bool:
    """Whether so many messages are read sooner as columns."""
    compiled = any((Path(__file__).parent / "__pycache__").glob("scankernels.facts-*.nbi"))
    return messages >= (ENOUGH if compiled else ENOUGH_TO_COMPILE)


def warm() -> None:
    """Loads the compiled code, and compiles it where that was never done."""
    from .scankernels import frames

    none, nowhere = np.zeros(0, np.int64), np.zeros((0, 6), np.int64)
    frames(np.frombuffer(b"", np.uint8), np.frombuffer(b"mark", np.uint8), 44, 1, 0, nowhere)
    scanned(b"", none, none, none, none, none, _nothing)


def _nothing(place: int) -> Recorded:
    raise IndexError(place)


class Script(NamedTuple):
    """How facts are written: between values stand literals, which lie one behind the other in `text`.

    `begins`: (types, values + 1), the place of each literal and of the end; `forms`: of values; `size`: how many.
    """

    text: Bytes
    begins: NDArray[np.int32]
    forms: NDArray[np.int32]
    size: NDArray[np.int32]


@cache
def script() -> Script:
    rows = [_literals(fact) for fact in _PLAIN]
    widest = max(len(forms) for _, forms in rows)
    begins = np.zeros((len(rows), widest + 2), np.int32)
    forms = np.zeros((len(rows), widest), np.int32)
    text = b""
    for row, (literals, kinds) in enumerate(rows):
        forms[row, : len(kinds)] = kinds
        for place, literal in enumerate(literals):
            begins[row, place] = len(text)
            text += literal
        begins[row, len(literals)] = len(text)
    return Script(np.frombuffer(text, np.uint8), begins, forms, np.array([len(f) for _, f in rows], np.int32))


def _literals(fact: type[Fact]) -> tuple[list[bytes], list[int]]:
    """What stands before each value, and behind the last one; and the values' forms."""
    literals, forms, before = [], [], f'{{"type":"{tag(fact)}"'
    hints = get_type_hints(fact)
    for name in fact.__struct_fields__:
        hint: Any = hints[name]
        form = _FORMS[Union[get_args(hint)] if type(None) in get_args(hint) else hint]  # noqa: UP007
        quote = '"' if form == TEXT else ""
        literals.append(f'{before},"{name}":{quote}'.encode())
        forms.append(form)
        before = quote
    return [*literals, f"{before}}}".encode()], forms


def scanned(
    data: bytes,
    begins: Places,
    ends: Places,
    entities: Places,
    seq: Places,
    known_at: Places,
    entry: Callable[[int], Recorded],
) -> Scanned:
    """Messages whose bodies lie in `data` from `begins` to `ends`. `entities`: as in ENTITIES."""
    from .scankernels import facts as fill  # it loads numba

    buffer = np.frombuffer(data, np.uint8)
    room = len(data) // _BYTES_MIN + 1
    facts = np.zeros(len(seq), np.int32)
    message, group = np.empty(room, np.int32), np.empty(room, np.int32)
    ts, count, prices = np.empty(room, np.int64), np.empty(room, np.int64), np.empty((room, 5))
    hard = np.empty((5 * room, 4), np.int64)
    groups = np.empty((_GROUPS_MAX, 6), np.int64)
    found, rounded, known = fill(
        buffer, begins, ends, entities, *script(), facts, message, group, ts, count, prices, hard, groups
    )
    for fact, place, begin, end in hard[:rounded].tolist():
        prices[fact, place] = float(data[begin:end])
    alone = {place: entry(place) for place in np.flatnonzero(facts == 0).tolist()}
    names = [_named(data, *row) for row in groups[:known].tolist()]
    message, group, ts, prices, count = message[:found], group[:found], ts[:found], prices[:found], count[:found]
    return Scanned(seq, known_at, facts, alone, entry, names, message, group, ts, prices, count)


def _named(data: bytes, entity: int, kind: int, *ends: int) -> Group:
    """`ends`: where the texts of venue, symbol and timeframe begin and end, as far as there are any."""
    venue, venue_end, symbol_end, end = ends
    symbol = venue_end + len('","symbol":"')
    timeframe = symbol_end + len('","timeframe":"')
    texts = (data[venue:venue_end], data[symbol:symbol_end], data[timeframe:end] if end > symbol_end else b"")
    return Group(_NAMES[entity], _PLAIN[kind], *(text.decode() for text in texts))
