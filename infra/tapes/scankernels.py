"""The compiled half of `scan` and of a file's pages: loops over bytes, for which numpy has no words.

Importing it loads numba, which takes about a second, and the first time on a machine some ten seconds more.
Without fast-math, so that floats round as Python's. Errors are values here: a place of -1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from . import scan

# Said once more, for what is compiled is kept by the date of this file alone.
TEXT, INT, FLOAT, INT_OR_NULL, PAIRS = range(5)
ENTITIES = (b"feed.", b"market.")
UNKNOWN = -(2**63)
_SAID = (scan.TEXT, scan.INT, scan.FLOAT, scan.INT_OR_NULL, scan.PAIRS, *scan.ENTITIES, scan.UNKNOWN)
if (TEXT, INT, FLOAT, INT_OR_NULL, PAIRS, *ENTITIES, UNKNOWN) != _SAID:
    raise ImportError(f"scan.py says {_SAID}: say it here, too")

_TEXT_MAX = 200  # characters, as `projections` takes them into a key
_ID_MAX = 64
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999 in µs
_DIGITS_MAX = 18  # of an int64
_FLOAT_DIGITS_MAX = 40  # with an exponent of two digits far below the largest float; whatever has more is the codec's
_EXACT = 2**53
_POWERS = np.array([10.0**n for n in range(23)])  # exact, as is the quotient of two exact numbers rounded once

_ID = np.frombuffer(b'{"id":"', np.uint8)
_CAUSE = np.frombuffer(b'","cause":', np.uint8)
_BY = np.frombuffer(b',"by":"', np.uint8)
_TS = np.frombuffer(b'","ts":', np.uint8)
_FACTS = np.frombuffer(b',"facts":[', np.uint8)
_FEED, _MARKET = (np.frombuffer(name, np.uint8) for name in ENTITIES)
_NULL = np.frombuffer(b"null", np.uint8)
_OPEN, _CLOSE, _COMMA, _BRACE, _QUOTE, _ESCAPE = (ord(c) for c in '[],}"\\')


def _tables() -> Any:
    """Of CRC-32 as zlib has it: eight bytes at a time."""
    table = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table[0, byte] = value
    for row in range(1, 8):
        for byte in range(256):
            before = int(table[row - 1, byte])
            table[row, byte] = before >> 8 ^ int(table[0, before & 255])
    return table


_CRC = _tables()
F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    """Kept on disk beside this file, where that folder can be written to."""
    compiled: Any = numba.njit
    try:
        made: F = compiled(cache=True, error_model="numpy")(function)
    except RuntimeError:
        made = compiled(error_model="numpy")(function)
    return made


@_compiled
def _crc(buf: Any, at: int, end: int) -> Any:
    table = _CRC
    crc = np.uint32(0xFFFFFFFF)
    while at + 8 <= end:
        low = crc ^ (
            np.uint32(buf[at])
            | np.uint32(buf[at + 1]) << np.uint32(8)
            | np.uint32(buf[at + 2]) << np.uint32(16)
            | np.uint32(buf[at + 3]) << np.uint32(24)
        )
        crc = (
            table[7, low & np.uint32(255)]
            ^ table[6, low >> np.uint32(8) & np.uint32(255)]
            ^ table[5, low >> np.uint32(16) & np.uint32(255)]
            ^ table[4, low >> np.uint32(24)]
            ^ table[3, buf[at + 4]]
            ^ table[2, buf[at + 5]]
            ^ table[1, buf[at + 6]]
            ^ table[0, buf[at + 7]]
        )
        at += 8
    while at < end:
        crc = table[0, (crc ^ np.uint32(buf[at])) & np.uint32(255)] ^ crc >> np.uint32(8)
        at += 1
    return crc ^ np.uint32(0xFFFFFFFF)


@_compiled
def _little(buf: Any, at: int, size: int) -> Any:
    value = np.uint64(0)
    for place in range(size):
        value |= np.uint64(buf[at + place]) << np.uint64(8 * place)
    return np.int64(value)


@_compiled
def frames(buf: Any, mark: Any, head: int, seq: int, until: int, out: Any) -> tuple[int, int]:
    """Records of a file tape, from the beginning on, up to the first that is not whole and sound.

    `out`, a row each: epoch, known_at, where path, data and the next record begin, and what the path begins with (1
    and 2: a feed and a market). Returns rows and bytes.
    """
    size, at, row = len(buf), 0, 0
    while seq <= until and at + head <= size and row < len(out):
        path = at + head
        data = path + _little(buf, at + 4, 2)
        end = data + _little(buf, at + 8, 4)
        if not _same(buf, at, size, mark, 0, len(mark)) or _little(buf, at + 16, 8) != seq or end > size:
            break
        if _little(buf, at + head - 4, 4) != np.int64(_crc(buf, at, at + head - 4)):
            break
        if _little(buf, at + 12, 4) != np.int64(_crc(buf, path, end)):
            break
        out[row, 0], out[row, 1] = _little(buf, at + 24, 8), _little(buf, at + 32, 8)
        out[row, 2], out[row, 3], out[row, 4], out[row, 5] = path, data, end, 0
        if _same(buf, path, data, _FEED, 0, len(_FEED)):
            out[row, 5] = 1
        elif _same(buf, path, data, _MARKET, 0, len(_MARKET)):
            out[row, 5] = 2
        at, seq, row = end, seq + 1, row + 1
    return row, at


@_compiled
def _same(buf: Any, at: int, end: int, text: Any, begin: int, stop: int) -> bool:
    if at + stop - begin > end:
        return False
    different = np.uint8(0)
    here, there = np.uint64(at), np.uint64(begin)  # unsigned places are not looked at for a sign
    for place in range(np.uint64(stop - begin)):  # to the end: that goes by vectors
        different |= buf[here + place] ^ text[there + place]
    return bool(different == 0)


@_compiled
def _text(buf: Any, at: int, end: int, longest: int) -> int:
    """Where a text's quote is: of printable ASCII without escapes."""
    last = min(end, at + longest + 1)
    while at < last:
        byte = buf[np.uint64(at)]
        if byte == _QUOTE:
            return at
        if byte < 32 or byte > 126 or byte == _ESCAPE:
            return -1
        at += 1
    return -1


@_compiled
def _number(buf: Any, at: int, end: int) -> Any:
    """(where it ends, its digits as one number, how many, how many of them behind the point), without a sign."""
    begin, value, digits = at, np.int64(0), 0
    while at < end and 48 <= buf[np.uint64(at)] <= 57:
        value = value * 10 + np.int64(buf[np.uint64(at)] - 48)  # past 18 digits it is not used
        digits += 1
        at += 1
    if digits == 0 or (digits > 1 and buf[begin] == 48):
        return -1, 0, 0, 0
    if at >= end or buf[at] != 46:
        return at, value, digits, 0
    at, whole = at + 1, digits
    while at < end and 48 <= buf[np.uint64(at)] <= 57:
        value = value * 10 + np.int64(buf[np.uint64(at)] - 48)
        digits += 1
        at += 1
    if digits == whole:
        return -1, 0, 0, 0
    return at, value, digits, digits - whole


@_compiled
def _int(buf: Any, at: int, end: int) -> tuple[int, int]:
    negative = at < end and buf[at] == 45
    at, value, digits, behind = _number(buf, at + 1 if negative else at, end)
    if behind or digits > _DIGITS_MAX or (negative and value == 0):
        return -1, 0
    return at, -value if negative else value


@_compiled
def _float(buf: Any, at: int, end: int, powers: Any) -> tuple[int, float, bool]:
    """Where it ends, its value, and whether that still has to be rounded with more care."""
    negative = at < end and buf[at] == 45
    at, value, digits, behind = _number(buf, at + 1 if negative else at, end)
    if at < 0 or digits > _FLOAT_DIGITS_MAX:
        return -1, 0.0, False
    if at < end and (buf[at] == 101 or buf[at] == 69):  # an exponent, of two digits at most: within range
        at += 2 if at + 1 < end and (buf[at + 1] == 43 or buf[at + 1] == 45) else 1
        begin = at
        while at < end and at < begin + 2 and 48 <= buf[at] <= 57:
            at += 1
        return at if at > begin else -1, 0.0, True
    if negative and value == 0 and behind == 0:  # -0 is an integer to the codec, which has no sign
        return -1, 0.0, False
    if digits > _DIGITS_MAX or value >= _EXACT or behind >= len(powers):
        return at, 0.0, True
    found = np.float64(value) / powers[behind]
    return at, -found if negative else found, False


@_compiled
def _pairs(buf: Any, at: int, end: int, powers: Any) -> int:
    """Where [[number,number],...] ends."""
    if at + 2 > end or buf[at] != _OPEN:
        return -1
    at += 1
    if buf[at] == _CLOSE:
        return at + 1
    while True:
        if at >= end or buf[at] != _OPEN:
            return -1
        at = _float(buf, at + 1, end, powers)[0]
        if at < 0 or at >= end or buf[at] != _COMMA:
            return -1
        at = _float(buf, at + 1, end, powers)[0]
        if at < 0 or at + 1 >= end or buf[at] != _CLOSE:
            return -1
        if buf[at + 1] == _CLOSE:
            return at + 2
        if buf[at + 1] != _COMMA:
            return -1
        at += 2


@_compiled
def _head(buf: Any, at: int, end: int) -> int:
    """Where the facts of a message begin."""
    if not _same(buf, at, end, _ID, 0, len(_ID)):
        return -1
    begin = at + len(_ID)
    at = _text(buf, begin, end, _ID_MAX)
    if at <= begin or not _same(buf, at, end, _CAUSE, 0, len(_CAUSE)):
        return -1
    at, cause = _int(buf, at + len(_CAUSE), end)
    if at < 0 or cause < 0 or not _same(buf, at, end, _BY, 0, len(_BY)):
        return -1
    at = _text(buf, at + len(_BY), end, _ID_MAX)
    if at < 0 or not _same(buf, at, end, _TS, 0, len(_TS)):
        return -1
    at = _int(buf, at + len(_TS), end)[0]
    if at < 0 or not _same(buf, at, end, _FACTS, 0, len(_FACTS)):
        return -1
    return at + len(_FACTS)


@_compiled
def _fact(
    buf: Any, at: int, end: int, text: Any, begins: Any, forms: Any, size: int, powers: Any, row: int, ts: Any,
    count: Any, prices: Any, hard: Any, rounded: int, marks: Any,
) -> tuple[int, int]:  # fmt: skip
    """One fact of a known type. `marks`: where its first value begins, and its texts up to the third end."""
    price = 0
    marks[1] = marks[2] = marks[3] = 0
    for value in range(size):
        if not _same(buf, at, end, text, begins[value], begins[value + 1]):
            return -1, 0
        at += begins[value + 1] - begins[value]
        form = forms[value]
        if form == TEXT:
            if value == 0:
                marks[0] = at
            at = _text(buf, at, end, _TEXT_MAX)
            if value < 3:
                marks[value + 1] = at
        elif form == FLOAT:
            begin = at
            at, number, doubtful = _float(buf, at, end, powers)
            if price < 5:
                prices[row, price] = number
                if doubtful:
                    hard[rounded, 0], hard[rounded, 1], hard[rounded, 2], hard[rounded, 3] = row, price, begin, at
                    rounded += 1
                price += 1
        elif form == PAIRS:
            at = _pairs(buf, at, end, powers)
        elif form == INT_OR_NULL and _same(buf, at, end, _NULL, 0, 4):
            count[row] = UNKNOWN
            at += 4
        else:
            at, whole = _int(buf, at, end)
            if form == INT:
                ts[row] = whole
                if not _FIRST <= whole <= _LAST:
                    return -1, 0
            else:
                count[row] = whole
        if at < 0:
            return -1, 0
    if not _same(buf, at, end, text, begins[size], begins[size + 1]):
        return -1, 0
    return at + begins[size + 1] - begins[size], rounded


@_compiled
def _grouped(buf: Any, entity: int, kind: int, marks: Any, slots: Any, groups: Any, known: int) -> int:
    """The number of a fact's group, `known` for a new one, -1 where there are too many."""
    begin, end = marks[0], max(marks[2], marks[3])
    code = np.uint64(14695981039346656037) ^ np.uint64(16 * entity + kind)
    for at in range(np.uint64(begin), np.uint64(end)):
        code = (code ^ np.uint64(buf[at])) * np.uint64(1099511628211)
    slot = np.int64((code ^ code >> np.uint64(32)) % np.uint64(len(slots)))
    while slots[slot] >= 0:
        found = slots[slot]
        if (
            groups[found, 0] == entity
            and groups[found, 1] == kind
            and groups[found, 5] - groups[found, 2] == end - begin
            and _same(buf, begin, len(buf), buf, groups[found, 2], groups[found, 5])
        ):
            return int(found)
        slot = (slot + 1) % len(slots)
    if known == len(groups):
        return -1
    slots[slot] = known
    groups[known, 0], groups[known, 1], groups[known, 2] = entity, kind, begin
    groups[known, 3], groups[known, 4], groups[known, 5] = marks[1], marks[2], end
    return known


@_compiled
def facts(
    buf: Any, starts: Any, ends: Any, entities: Any, text: Any, begins: Any, forms: Any, sizes: Any, held: Any,
    message: Any, group: Any, ts: Any, count: Any, prices: Any, hard: Any, groups: Any,
) -> tuple[int, int, int]:  # fmt: skip
    """Fills the columns; how many facts, numbers to be rounded with more care, and groups there are."""
    powers = _POWERS
    slots = np.full(2 * len(groups), -1, np.int32)
    marks, first = np.zeros(4, np.int64), np.zeros(4, np.int64)
    total = rounded = known = 0
    for place in range(len(starts)):
        entity, end = entities[place], ends[place]
        at = _head(buf, starts[place], end) if entity else -1
        row, care = total, rounded
        while at >= 0:
            kind = 0
            while kind < (len(sizes) if entity == 1 else 1):
                if _same(buf, at, end, text, begins[kind, 0], begins[kind, 1]):
                    break
                kind += 1
            else:
                at = -1
                break
            at, care = _fact(
                buf, at, end, text, begins[kind], forms[kind], sizes[kind], powers, row, ts, count, prices, hard, care,
                marks,
            )  # fmt: skip
            if at < 0:
                break
            if row == total:
                first[:] = marks
            elif marks[2] - marks[0] != first[2] - first[0] or not _same(buf, marks[0], end, buf, first[0], first[2]):
                at = -1
                break
            found = _grouped(buf, entity, kind, marks, slots, groups, known)
            if found < 0:
                at = -1
                break
            known = max(known, found + 1)
            message[row], group[row] = place, found
            row += 1
            if at < end and buf[at] == _COMMA:
                at += 1
                continue
            if at + 2 == end and buf[at] == _CLOSE and buf[at + 1] == _BRACE:
                held[place] = row - total
                total, rounded = row, care
            break
    return total, rounded, known
