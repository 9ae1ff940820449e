"""A whole file tape in large bites: what is as it should be is taken in one flat loop, all else by `records`."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from zlib import crc32

from events.decision import Recorded

from .records import HEAD_SIZE, RECORD_MARK
from .segments import SegmentLog

_HEAD = struct.Struct("<4sHHIIQQqI")
_SUMMED = HEAD_SIZE - 4  # the head's checksum is over what is before it
_BITE = 256 << 10  # bytes: some hundred messages, a few milliseconds

Known = Callable[[int, int, int, bytes, bytes], Recorded]
"""Of sequence, epoch, known_at, path and data."""


def pages(log: SegmentLog, after: int, known: Known) -> Iterator[list[Recorded]]:
    """All that is stored behind `after` now, in order.

    Raises as `SegmentLog.records`, which is asked wherever a bite does not begin with a whole and sound record.
    """
    until, cursor = log.end, log.cursor(after)
    while after < until and cursor.seq <= until:
        chunk = log.chunk(cursor, _BITE) if cursor.offset else b""  # a segment's own mark comes first
        page: list[Recorded] = []
        following, size = _sound(chunk, cursor.seq, until, after, known, page)
        if size:
            cursor.seq, cursor.offset = following, cursor.offset + size
        else:
            slowly = log.records(cursor, cursor.seq)
            page = [known(r.seq, r.epoch, r.known_at, r.path, r.data) for r in slowly if r.seq > after]
        if page:
            yield page


def _sound(chunk: bytes, seq: int, until: int, after: int, known: Known, page: list[Recorded]) -> tuple[int, int]:
    """Adds the entries up to the first that is not whole and sound; the sequence and the place that come next."""
    unpack, place, size = _HEAD.unpack_from, 0, len(chunk)
    while seq <= until and place + HEAD_SIZE <= size:
        mark, path_size, _, data_size, crc, at, epoch, known_at, head_crc = unpack(chunk, place)
        path = place + HEAD_SIZE
        data = path + path_size
        end = data + data_size
        if mark != RECORD_MARK or at != seq or end > size or crc32(chunk[place : place + _SUMMED]) != head_crc:
            break
        if crc32(chunk[path:end]) != crc:
            break
        if seq > after:
            page.append(known(seq, epoch, known_at, chunk[path:data], chunk[data:end]))
        place, seq = end, seq + 1
    return seq, place
