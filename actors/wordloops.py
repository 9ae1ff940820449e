"""What `actors.stretchwords` makes of a stretch, in one compiled pass over its signals, fills and days."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from actors.kernels import compiled
from actors.loops import FLAGS, FLOATS, INTS, OUT_FLOATS, OUT_INTS
from events.decision import ID_FACTOR
from events.tradebytes import APPROVED, DAY, FILL, MARK, PLACED, SIGNAL

_TABLE: Any = types.Array(types.int64, 2, "C", readonly=True)
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
def _after(high: Any, low: Any, number_high: Any, number_low: Any) -> Any:
    """As `events.numbers.ids_after`, of one id."""
    a, b = low & _LOW, low >> _HALF
    middle = b * _LL + (a * _LL >> _HALF)
    other = a * _LH + (middle & _LOW)
    top = b * _LH + (middle >> _HALF) + (other >> _HALF)
    top += high * _FACTOR_LOW + low * _FACTOR_HIGH + number_high
    bottom = low * _FACTOR_LOW
    found = bottom + number_low
    return top + np.uint64(found < bottom), found


@compiled()
def _turned(x: Any) -> Any:
    """The word whose bytes stand the other way round."""
    x = ((x & _ODD_8) << _8) | ((x >> _8) & _ODD_8)
    x = ((x & _ODD_16) << _16) | ((x >> _16) & _ODD_16)
    return np.int64((x << _32) | (x >> _32))


@compiled()
def _money(value: Any, unit: Any, inverse: Any, spare: Any, into: Any, at: Any) -> Any:
    """As `tradebytes.money`. The quotient is estimated and put right: that is sooner done than a division."""
    whole = np.int64(np.floor(value * inverse))
    rest = value - whole * unit
    while rest < 0:
        rest += unit
        whole -= 1
    while rest >= unit:
        rest -= unit
        whole += 1
    into[at], into[at + 1] = whole, rest * spare


@compiled()
def _head(into: Any, at: Any, end: Any, facts: Any, names: Any, name: Any, high: Any, low: Any, stamp: Any) -> Any:
    """Length and head of what stands before `end`."""
    into[at], into[at + 1] = 8 * (end - at - 1), MARK + 256 * facts
    into[at + 2], into[at + 3] = names[name, 0], names[name, 1]
    into[at + 4], into[at + 5] = _turned(high), _turned(low)
    into[at + 6] = stamp


@compiled()
def _text(into: Any, at: Any, kind: Any, texts: Any, text: Any) -> Any:
    into[at], into[at + 1], into[at + 2] = kind, texts[text, 0], texts[text, 1]


@compiled()
def _amounts(into: Any, at: Any, sums: Any, leg: Any, units: Any, inverses: Any, spares: Any) -> Any:
    """Of a fill; nothing is left open."""
    for place in range(7):
        _money(sums[leg, place], units[place], inverses[place], spares[place], into, at + 2 * place)
    into[at + 14], into[at + 15] = 0, 0


@compiled()
def _wish(into: Any, at: Any, target: Any, price: Any, confidence: Any) -> Any:
    into[at], into[at + 1] = target, price
    for level in range(2, 7):
        into[at + level] = np.nan
    into[at + 7] = confidence


@compiled()
def _approved(
    into: Any, at: Any, texts: Any, stamp: Any, high: Any, low: Any, qty: Any, unit: Any, inverse: Any, spare: Any
) -> Any:
    _text(into, at, APPROVED, texts, 2)
    into[at + 3], into[at + 4], into[at + 5] = stamp, _turned(high), _turned(low)
    _money(qty, unit, inverse, spare, into, at + 6)


@compiled()
def _ordered(
    into: Any, at: Any, texts: Any, text: Any, prefix: Any, number: Any, stamp: Any, exit: Any,
    qty: Any, unit: Any, inverse: Any, spare: Any,
) -> Any:  # fmt: skip
    _text(into, at, PLACED, texts, text)
    into[at + 3], into[at + 4], into[at + 5] = prefix, number, stamp
    _money(qty, unit, inverse, spare, into, at + 6)
    into[at + 8] = exit


@compiled()
def _next(rows: Any, place: Any) -> Any:
    return rows[place] if place < len(rows) else _NEVER


@compiled()
def _heard(ids: Any, place: Any, numbers: Any) -> Any:
    """The id of what the symbol's actor made of the feed's message."""
    high, low = np.uint64(_turned(ids[place, 0])), np.uint64(_turned(ids[place, 1]))
    return _after(high, low, numbers[0, 0], numbers[0, 1])


@compiled(
    *[INTS, INTS, _IDS, FLOATS, FLOATS, FLOATS, _TABLE],
    *[INTS, INTS, _IDS, INTS, FLAGS, INTS, _TABLE],
    *[INTS, INTS, _IDS, _TABLE, _TABLE],
    *[INTS, FLOATS, INTS],
    *[_IDS, _TABLE],
    *[OUT_INTS, OUT_FLOATS, OUT_INTS],
)
def stretch_words(
    said: Any, said_at: Any, said_ids: Any, close: Any, targets: Any, confidence: Any, reasons: Any,
    filled: Any, filled_at: Any, filled_ids: Any, signal: Any, exits: Any, sides: Any, sums: Any,
    days: Any, days_at: Any, days_ids: Any, day_texts: Any, equities: Any,
    units: Any, inverses: Any, spares: Any,
    numbers: Any, texts: Any, bot: Any, bot_numbers: Any, account: Any,
) -> Any:  # fmt: skip
    """Fills `bot` (which `bot_numbers` is as floats) and `account`; how many words of the latter.

    `said`, `filled`, `days`: rows of signals, of legs, and on which a day starts; with the time of each, and the id of
    the feed's message (two words, as their bytes stand). `sums`: what fill facts have; 10 to the power of their
    decimals, one over it, and what is left to 10**18. `numbers` of market, bot and account, by which ids follow.
    `texts`: of bot, account, approval; then of orders and of fills, 2 x exits + buys.
    """
    s, order, leg, day, at = 0, 0, 0, 0, 0
    prefix = np.int64(0)
    while s < len(said) or leg < len(filled) or day < len(days):
        row = min(_next(said, s), _next(filled, leg), _next(days, day))
        if _next(said, s) == row:
            ts, (high, low) = said_at[s], _heard(said_ids, s, numbers)
        elif _next(filled, leg) == row:
            ts, (high, low) = filled_at[leg], _heard(filled_ids, leg, numbers)
        else:
            ts, (high, low) = days_at[day], _heard(days_ids, day, numbers)
        begin, facts, number = at, 0, 0
        if _next(days, day) == row:
            at += _HEAD
            _text(account, at, DAY, day_texts, day)
            account[at + 3], account[at + 4], account[at + 5] = ts, equities[day, 0], equities[day, 1]
            at, day, facts = at + _DAY, day + 1, 1
        while _next(filled, leg) == row:
            at += 0 if facts else _HEAD
            facts, number = facts + 1, number + 1
            _text(account, at, FILL, texts, 7 + 2 * exits[leg] + (sides[leg] > 0))
            account[at + 3], account[at + 4], account[at + 5], account[at + 6] = prefix, number, 1, ts
            _amounts(account, at + 7, sums, leg, units, inverses, spares)
            at, leg = at + _FILL, leg + 1
        if facts:
            _head(account, begin, at, facts, texts, 1, high, low, ts)
        if _next(said, s) == row:
            start = s * (_HEAD + _SIGNAL)
            _head(bot, start, start + _HEAD + _SIGNAL, 1, texts, 0, high, low, ts)
            _text(bot, start + _HEAD, SIGNAL, reasons, s)
            bot[start + _HEAD + 3] = ts
            _wish(bot_numbers, start + _HEAD + 4, targets[s], close[s], confidence[s])
            high, low = _after(high, low, numbers[1, 0], numbers[1, 1])
            prefix = _turned(_after(high, low, numbers[2, 0], numbers[2, 1])[0])
            begin, facts, number = at, 0, 0
            at += _HEAD
            while order < len(filled) and signal[order] == s:
                number += 1
                qty, exit, text = sums[order, 0], exits[order], 3 + 2 * exits[order] + (sides[order] > 0)
                if not exit:
                    _approved(account, at, texts, ts, high, low, qty, units[0], inverses[0], spares[0])
                    at, facts = at + _APPROVED, facts + 1
                _ordered(account, at, texts, text, prefix, number, ts, exit, qty, units[0], inverses[0], spares[0])
                at, order, facts = at + _PLACED, order + 1, facts + 1
            _head(account, begin, at, facts, texts, 1, high, low, ts)
            s += 1
    return at
