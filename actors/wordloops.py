"""What `actors.stretchwords` makes of a stretch, in one compiled pass over its signals, fills and days."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from actors.kernels import compiled
from actors.loops import FLAGS, FLOATS, INTS, OUT_INTS
from events.decision import ID_FACTOR
from events.tradebytes import APPROVED, DAY, FILL, MARK, PLACED, SIGNAL, UNIT

_TUPLE: Any = types.Tuple
_SAME: Any = types.UniTuple
_TABLE: Any = types.Array(types.int64, 2, "C", readonly=True)
_TEXTS: Any = types.Array(types.int64, 3, "C", readonly=True)
_IDS: Any = types.Array(types.uint64, 2, "C", readonly=True)

_LOW, _HALF = np.uint64(0xFFFF_FFFF), np.uint64(32)
_FACTOR_HIGH, _FACTOR_LOW = np.uint64(ID_FACTOR >> 64), np.uint64(ID_FACTOR & (2**64 - 1))
_LL, _LH = _FACTOR_LOW & _LOW, _FACTOR_LOW >> _HALF
_HEAD, _SIGNAL, _APPROVED, _PLACED, _FILL, _DAY = 7, 12, 8, 9, 23, 6
"""Words; the head with the length before it."""
_NEVER = np.int64(2**62)
_8, _16, _32 = np.uint64(8), np.uint64(16), np.uint64(32)
_ODD_8, _ODD_16 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)


@compiled()
def _after(high: Any, low: Any, number: Any) -> Any:
    """As `events.numbers.ids_after`, of one id."""
    a, b = low & _LOW, low >> _HALF
    middle = b * _LL + (a * _LL >> _HALF)
    other = a * _LH + (middle & _LOW)
    top = b * _LH + (middle >> _HALF) + (other >> _HALF)
    top += high * _FACTOR_LOW + low * _FACTOR_HIGH + number[0]
    bottom = low * _FACTOR_LOW
    found = bottom + number[1]
    return top + np.uint64(found < bottom), found


@compiled()
def _turned(x: Any) -> Any:
    """The word whose bytes stand the other way round."""
    x = ((x & _ODD_8) << _8) | ((x >> _8) & _ODD_8)
    x = ((x & _ODD_16) << _16) | ((x >> _16) & _ODD_16)
    return np.int64((x << _32) | (x >> _32))


@compiled()
def _money(value: Any, unit: Any, inverse: Any, into: Any, at: Any) -> Any:
    """As `tradebytes.money`. The quotient is estimated and put right: that is sooner done than a division."""
    if unit == 1:
        into[at], into[at + 1] = value, 0
        return
    whole = np.int64(np.floor(value * inverse))
    rest = value - whole * unit
    while rest < 0:
        rest += unit
        whole -= 1
    while rest >= unit:
        rest -= unit
        whole += 1
    into[at], into[at + 1] = whole, rest * (UNIT // unit)


@compiled()
def _head(into: Any, at: Any, end: Any, facts: Any, name: Any, high: Any, low: Any, stamp: Any) -> Any:
    """Length and head of what stands before `end`."""
    into[at], into[at + 1] = 8 * (end - at - 1), MARK + 256 * facts
    into[at + 2], into[at + 3] = name[0], name[1]
    into[at + 4], into[at + 5] = _turned(high), _turned(low)
    into[at + 6] = stamp


@compiled()
def _signalled(into: Any, at: Any, reason: Any, stamp: Any, target: Any, price: Any, confidence: Any) -> Any:
    into[at], into[at + 1], into[at + 2], into[at + 3] = SIGNAL, reason[0], reason[1], stamp
    numbers = into[at + 4 : at + _SIGNAL].view(np.float64)
    numbers[0], numbers[1], numbers[2:7], numbers[7] = target, price, np.nan, confidence


@compiled()
def _placed(into: Any, at: Any, legs: Any, leg: Any, qty: Any, unit: Any, texts: Any, order: Any, by: Any) -> Any:
    """What the account says of one leg's order, and where that ends. `order`: approval's text, prefix, number, time;
    `by`: the signal's id."""
    _, exits, _, sides = legs
    name, prefix, number, stamp = order
    if not exits[leg]:
        into[at], into[at + 1], into[at + 2], into[at + 3] = APPROVED, name[0], name[1], stamp
        into[at + 4], into[at + 5] = _turned(by[0]), _turned(by[1])
        _money(qty, unit, 1.0 / unit, into, at + 6)
        at += _APPROVED
    text = texts[np.int64(exits[leg]), np.int64(sides[leg] > 0)]
    into[at], into[at + 1], into[at + 2] = PLACED, text[0], text[1]
    into[at + 3], into[at + 4], into[at + 5] = prefix, number, stamp
    _money(qty, unit, 1.0 / unit, into, at + 6)
    into[at + 8] = np.int64(exits[leg])
    return at + _PLACED


@compiled()
def _filled(into: Any, at: Any, sums: Any, leg: Any, units: Any, text: Any, order: Any) -> Any:
    """`order`: prefix, number, time."""
    prefix, number, stamp = order
    into[at], into[at + 1], into[at + 2] = FILL, text[0], text[1]
    into[at + 3], into[at + 4], into[at + 5], into[at + 6] = prefix, number, 1, stamp
    for place in range(7):
        _money(sums[place][leg], units[place], 1.0 / units[place], into, at + 7 + 2 * place)
    into[at + 21], into[at + 22] = 0, 0  # nothing is left open


@compiled(
    _TUPLE((INTS, FLOATS, _IDS)),
    _TUPLE((INTS, FLOATS, FLOATS, _TABLE)),
    _TUPLE((INTS, FLAGS, INTS, INTS)),
    _SAME(INTS, 7),
    INTS,
    _TUPLE((INTS, _TABLE, _TABLE)),
    _IDS,
    _TUPLE((_TABLE, _TEXTS, _TEXTS)),
    OUT_INTS,
    OUT_INTS,
)
def stretch_words(
    rows: Any, said: Any, legs: Any, sums: Any, units: Any, days: Any, numbers: Any, texts: Any, bot: Any, account: Any
) -> Any:
    """Fills `bot` and `account`; how many words of the latter.

    `rows`: times, closes, ids of the feed's messages (two words, as their bytes stand). `said`: rows, targets,
    confidence, texts. `legs`: signal, exits, row, side. `sums` of the legs as a fill has them, `units`: 10 to the power
    of their decimals. `days`: rows, texts, equities. `numbers` of market, bot and account, by which ids follow.
    `texts`: of bot, account and approval; of orders and of fills by exits and side.
    """
    (ts, close, ids), (said_rows, targets, confidence, reasons) = rows, said
    (signal, exits, leg_rows, sides), (day_rows, day_texts, equities) = legs, days
    names, order_texts, fill_texts = texts
    s, order, leg, day, at = 0, 0, 0, 0, 0
    prefix = np.int64(0)
    while s < len(said_rows) or leg < len(leg_rows) or day < len(day_rows):
        row = said_rows[s] if s < len(said_rows) else _NEVER
        row = min(row, leg_rows[leg] if leg < len(leg_rows) else _NEVER)
        row = min(row, day_rows[day] if day < len(day_rows) else _NEVER)
        stamp, feed = ts[row], ids[row]
        high, low = _after(np.uint64(_turned(feed[0])), np.uint64(_turned(feed[1])), numbers[0])
        begin, facts, number = at, 0, 0
        if day < len(day_rows) and day_rows[day] == row:
            at += _HEAD
            account[at], account[at + 1], account[at + 2] = DAY, day_texts[day, 0], day_texts[day, 1]
            account[at + 3], account[at + 4], account[at + 5] = stamp, equities[day, 0], equities[day, 1]
            at, day, facts = at + _DAY, day + 1, 1
        while leg < len(leg_rows) and leg_rows[leg] == row:
            at += 0 if facts else _HEAD
            facts, number = facts + 1, number + 1
            text = fill_texts[np.int64(exits[leg]), np.int64(sides[leg] > 0)]
            _filled(account, at, sums, leg, units, text, (prefix, number, stamp))
            at, leg = at + _FILL, leg + 1
        if facts:
            _head(account, begin, at, facts, names[1], high, low, stamp)
        if s < len(said_rows) and said_rows[s] == row:
            start = s * (_HEAD + _SIGNAL)
            _head(bot, start, start + _HEAD + _SIGNAL, 1, names[0], high, low, stamp)
            _signalled(bot, start + _HEAD, reasons[s], stamp, targets[s], close[row], confidence[s])
            high, low = _after(high, low, numbers[1])
            prefix = _turned(_after(high, low, numbers[2])[0])
            begin, first = at, order
            at += _HEAD
            while order < len(leg_rows) and signal[order] == s:
                known = (names[2], prefix, 1 + order - first, stamp)
                at = _placed(account, at, legs, order, sums[0][order], units[0], order_texts, known, (high, low))
                order += 1
            entries = np.int64(targets[s] != 0.0)
            _head(account, begin, at, order - first + entries, names[1], high, low, stamp)
            s += 1
    return at
